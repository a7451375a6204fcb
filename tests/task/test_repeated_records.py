"""Of several records of one user, an import sends the first, wherever the others are."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from airflow_provider_fullstory.api.users import User
from airflow_provider_fullstory.records import rules
from airflow_provider_fullstory.records.kinds import EVENTS, USERS
from airflow_provider_fullstory.records.mapped_chunk import MappedChunk
from airflow_provider_fullstory.records.mapping import map_records
from airflow_provider_fullstory.records.options import MappingOptions
from airflow_provider_fullstory.records.refusals import InvalidRecord
from airflow_provider_fullstory.sources import CHUNK_ROWS
from airflow_provider_fullstory.task.repeated_records import without_repeated
from tests.records.test_mapping_any_rows import any_input

if TYPE_CHECKING:
    from collections.abc import Sequence

#: A filter of two bytes: almost every key may have come before.
TINY = {"filter_bits": 1}
TOO_LARGE = rules.TOO_LARGE.refusal(size=5)


def chunks_of(
    source: Sequence[dict[str, Any] | None], rows: int, *, has_ids: bool = True
) -> list[MappedChunk]:
    """Return chunks with a user for each item, whose insert id follows from its position; None is invalid."""
    numbered = list(enumerate(source, start=1))
    chunks = []
    for start in range(0, len(numbered), rows):
        some = numbered[start : start + rows]
        good = [(position, one) for position, one in some if one is not None]
        chunks.append(
            MappedChunk(
                [User(**one, display_name=f"row {position}") for position, one in good],
                [position for position, _ in good],
                [InvalidRecord(position, TOO_LARGE) for position, one in some if one is None],
                insert_ids=[1_000 + position for position, _ in good] if has_ids else (),
            )
        )
    return chunks


class Sifted:
    """What is sent, and what is refused, once it is certain that each kept its position and its insert id."""

    def __init__(self, source: Sequence[dict[str, Any] | None], rows: int, **limits: int) -> None:
        self.sent: list[int] = []
        self.refused: dict[int, str] = {}
        self.written: dict[int, Any] = {}
        for chunk in without_repeated(USERS, chunks_of(source, rows), **limits):
            assert len(chunk.records) == len(chunk.positions) == len(chunk.insert_ids) <= CHUNK_ROWS
            for record, position, insert_id in zip(
                chunk.records, chunk.positions, chunk.insert_ids, strict=True
            ):
                assert msgspec.to_builtins(record) == {
                    **(source[position - 1] or {}),
                    "display_name": f"row {position}",
                }
                assert insert_id == 1_000 + position
                self.sent.append(position)
            for invalid in chunk.invalid:
                assert invalid.position not in self.refused
                self.refused[invalid.position] = invalid.refusal.reason
                self.written[invalid.position] = invalid.record


def u(uid: str) -> dict[str, Any]:
    return {"uid": uid}


def repeated(field: str) -> str:
    return rules.GIVEN_BEFORE.refusal(field=field).reason


@pytest.mark.parametrize("rows", [10, 3, 1], ids=["in one chunk", "over chunks", "a chunk each"])
@pytest.mark.parametrize("limits", [{}, TINY, TINY | {"most_held": 1}], ids=["", "held", "held for a moment"])
def test_the_first_of_each_user_is_sent(rows: int, limits: dict[str, int]) -> None:
    source = [u("a"), u("b"), u("a"), u("c"), None, u("b"), u("a"), {"uid": "A"}, u("d")]

    sifted = Sifted(source, rows, **limits)

    assert sorted(sifted.sent) == [1, 2, 4, 8, 9]
    assert sifted.refused == dict.fromkeys([3, 6, 7], repeated("uid")) | {5: TOO_LARGE.reason}
    assert sifted.written[6] == {"uid": "b", "display_name": "row 6"}
    assert repeated("uid") == (
        "uid is that of an earlier record of this import, and FullStory does not say which of the two "
        "counts; let the source give one record for each"
    )


@pytest.mark.parametrize("limits", [{}, TINY], ids=["", "held"])
def test_a_user_is_known_by_its_id_too(limits: dict[str, int]) -> None:
    source = [
        {"id": "1"}, {"uid": "1"}, {"id": "1"}, {"id": "1", "uid": "other"}, {"id": "2", "uid": "1"},
        {"id": "2"},
    ]  # fmt: skip

    sifted = Sifted(source, 2, **limits)

    # What was refused is in FullStory under none of its ids.
    assert sorted(sifted.sent) == [1, 2, 6]
    assert sifted.refused == {3: repeated("id"), 4: repeated("id"), 5: repeated("uid")}


@pytest.mark.parametrize("rows", [9, 2, 1])
@pytest.mark.parametrize("limits", [{}, TINY], ids=["", "held"])
def test_a_record_with_both_ids_is_the_user_of_either(rows: int, limits: dict[str, int]) -> None:
    both = {"uid": "a", "id": "1"}
    assert Sifted([both, {"id": "1"}, u("a"), u("1")], rows, **limits).refused == {
        2: repeated("id"), 3: repeated("uid"),
    }  # fmt: skip
    assert Sifted([{"id": "1"}, both, u("a")], rows, **limits).refused == {2: repeated("id")}


@pytest.mark.parametrize("limits", [{}, TINY, TINY | {"most_held": 1}], ids=["", "held", "held for a moment"])
def test_of_a_user_who_comes_again_nothing_is_dropped(limits: dict[str, int]) -> None:
    source = [{"uid": uid, "bad-name": 1, "plan": "free"} for uid in "abab"]
    options = MappingOptions(USERS, drops_invalid_properties=True)

    chunks = list(without_repeated(USERS, map_records(source, options), **limits))

    dropped = sum((chunk.dropped_reasons for chunk in chunks), Counter())
    assert list(dropped.values()) == [2]
    refused = [one for chunk in chunks for one in chunk.invalid]
    assert [(one.position, one.refusal.reason, one.record) for one in refused] == [
        (
            position,
            repeated("uid"),
            {
                "uid": uid,
                "bad-name": 1,
                "properties": {"plan": "free"},
                "schema": {"properties": {"bad-name": "int"}},
            },
        )
        for position, uid in [(3, "a"), (4, "b")]
    ]


@pytest.mark.parametrize("limits", [{}, TINY], ids=["", "held"])
def test_anonymous_users_are_all_sent(limits: dict[str, int]) -> None:
    sifted = Sifted([{}, u("a"), {}, {}, u("a"), {}], 3, **limits)

    assert sorted(sifted.sent) == [1, 2, 3, 4, 6]
    assert sifted.refused == {5: repeated("uid")}


def test_without_repetition_chunks_are_as_they_were() -> None:
    chunks = chunks_of([u(f"u{number}") for number in range(1_000)], 100, has_ids=False)

    assert [chunk is one for chunk, one in zip(chunks, without_repeated(USERS, chunks), strict=False)] == (
        [True] * 10
    )


def test_records_without_insert_ids_get_none() -> None:
    chunks = chunks_of([u("a"), u("b"), u("a"), u("c")], 2, has_ids=False)

    sifted = list(without_repeated(USERS, chunks, **TINY))

    assert sum(len(chunk.records) for chunk in sifted) == 3
    assert {tuple(chunk.insert_ids) for chunk in sifted} == {()}


def test_events_of_one_user_are_all_sent() -> None:
    events = [{"name": "A", "user.uid": "u"}] * 3
    [chunk] = without_repeated(EVENTS, map_records(events, MappingOptions(EVENTS)))

    assert (len(chunk.records), chunk.invalid) == (3, [])


USER = st.one_of(
    st.none(),
    st.just({}),
    st.builds(u, st.sampled_from("abcde")),
    st.builds(lambda one: {"id": one}, st.sampled_from("abc")),
    st.builds(lambda uid, one: {"uid": uid, "id": one}, st.sampled_from("abcde"), st.sampled_from("abc")),
)


@any_input
@given(st.lists(USER, max_size=40), st.integers(1, 7), st.integers(1, 9), st.integers(1, 4))
def test_whatever_the_source_the_first_of_each_user_is_sent(
    source: list[dict[str, Any] | None], rows: int, most_held: int, filter_bits: int
) -> None:
    sifted = Sifted(source, rows, most_held=most_held, filter_bits=filter_bits)

    seen: set[Any] = set()
    expected = []
    for position, one in enumerate(source, start=1):
        if one is not None and seen.isdisjoint(one.items()):
            expected.append(position)
            seen.update(one.items())
    assert sorted(sifted.sent) == expected
    assert sorted([*sifted.sent, *sifted.refused]) == list(range(1, len(source) + 1))
