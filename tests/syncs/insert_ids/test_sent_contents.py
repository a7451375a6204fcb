"""Of what an import sends, the last content of each key is known; a key that comes again is doubtful."""

from __future__ import annotations

from contextlib import closing

from hypothesis import given, settings, strategies as st

from airflow_provider_fullstory.records.insert_ids import key_of, keyed_ids
from airflow_provider_fullstory.syncs.insert_ids.id_filter import IdFilter
from airflow_provider_fullstory.syncs.insert_ids.sent_contents import SentContents

IDS = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 3))).map(
    lambda pairs: keyed_ids([key << 61 for key, _ in pairs], [content for _, content in pairs])
)


@settings(deadline=None)
@given(st.lists(IDS), IDS, st.integers(1, 12))
def test_what_was_sent_last_is_found(sent: list[list[int]], asked: list[int], filter_bits: int) -> None:
    with closing(SentContents(filter_bits)) as contents:
        last: dict[int, int] = {}
        for ids in sent:
            contents.add(ids)
            last |= {key_of(one): one for one in ids}
        assert contents.among(asked) == {last[key] for key in map(key_of, asked) if key in last}


@given(st.lists(IDS))
def test_no_id_whose_key_came_before_is_certain(chunks: list[list[int]]) -> None:
    with closing(SentContents(12)) as contents:
        before: set[int] = set()
        for ids in chunks:
            doubtful = contents.doubtful(ids)
            keys = list(map(key_of, ids))
            for one, key in zip(ids, keys, strict=True):
                assert (one in doubtful) == (key in before or keys.count(key) > 1)
            before.update(keys)


def test_only_contents_that_may_have_been_imported_are_looked_up() -> None:
    one, other, third = keyed_ids([1 << 60, 2 << 60, 1 << 60], [5 << 60, 6 << 60, 7 << 60])
    known = IdFilter(12)
    known.add([5 << 60, 9 << 60])
    asked: list[int] = []

    def imported(ids: list[int]) -> set[int]:
        asked.extend(ids)
        return set(ids)

    with closing(SentContents(12)) as contents:
        assert contents.told_apart([one, other], known, imported) == ({one}, set())
        assert contents.told_apart([third], known, imported) == (set(), {third})
    assert asked == [one]
