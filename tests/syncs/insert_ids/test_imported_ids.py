"""Records that a sync has imported are left out, and each other one is sent once."""

from __future__ import annotations

import dataclasses
import errno
import random
import struct
import tempfile
import zlib
from collections import Counter
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import msgspec
import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given, settings, strategies as st

from airflow_provider_fullstory.api.encoding import ENCODER
from airflow_provider_fullstory.api.events import Event
from airflow_provider_fullstory.batch_import.storage.folder import Folder
from airflow_provider_fullstory.exceptions import FullStoryDiskError, FullStoryLedgerError
from airflow_provider_fullstory.records.insert_ids import (
    NO_CONTENT,
    key_of,
    keyed_ids,
    packed as packed_ids,
)
from airflow_provider_fullstory.records.mapped_chunk import LeftOut, MappedChunk
from airflow_provider_fullstory.records.refusals import InvalidRecord
from airflow_provider_fullstory.records.rules import TOO_LARGE
from airflow_provider_fullstory.sources import CHUNK_ROWS
from airflow_provider_fullstory.syncs.insert_ids import imported_ids
from airflow_provider_fullstory.syncs.insert_ids.files import remove_unnamed, write_ids
from airflow_provider_fullstory.syncs.insert_ids.imported_ids import ImportedIds
from airflow_provider_fullstory.syncs.insert_ids.older_ids import write_older
from airflow_provider_fullstory.syncs.record import IdsFile, InsertIdsRecord
from tests.conftest import attached

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from airflow_provider_fullstory.syncs.insert_ids.id_filter import IdFilter
    from airflow_provider_fullstory.syncs.insert_ids.older_ids import OlderIds
    from airflow_provider_fullstory.syncs.insert_ids.scratch import Scratch

#: Ids that are close to each other, so that a filter of two bytes passes many that were not added.
CLOSE = st.one_of(
    st.integers(0, 30), st.integers(2**64 - 30, 2**64 - 1), st.integers(0, 15).map(lambda part: part << 60)
)


@pytest.fixture
def folder(memory: str) -> Folder:
    return Folder(ObjectStoragePath(memory))


def packed(ids: Iterable[int]) -> bytes:
    ids = list(ids)
    return struct.pack(f">{len(ids)}Q", *ids)


def written(folder: Folder, older: Iterable[int] = (), *recent: Iterable[int]) -> InsertIdsRecord:
    """Write ids as earlier imports have."""
    older = sorted(older)
    folder.write("ids/sorted-1.ids", packed(older))
    files = [write_ids(folder, number, [packed(ids)]) for number, ids in enumerate(recent, start=1) if ids]
    return InsertIdsRecord(["id"], IdsFile("ids/sorted-1.ids", len(older)) if older else None, files)


def chunks_of(ids: Sequence[int], rows: int = CHUNK_ROWS) -> list[MappedChunk]:
    """Return a record for each id, which is named like it."""
    return [
        MappedChunk(
            [Event(name=str(insert_id)) for insert_id in ids[start : start + rows]],
            range(start + 1, min(start + rows, len(ids)) + 1),
            [],
            insert_ids=ids[start : start + rows],
        )
        for start in range(0, len(ids), rows)
    ]


def sent(chunks: Iterable[MappedChunk], source: Sequence[int]) -> list[int]:
    """Return the ids of all records, once it is certain that each kept its id and its position."""
    ids: list[int] = []
    for chunk in chunks:
        assert len(chunk.records) == len(chunk.positions) == len(chunk.insert_ids) <= CHUNK_ROWS
        for record, position, insert_id in zip(chunk.records, chunk.positions, chunk.insert_ids, strict=True):
            assert isinstance(record, Event)
            assert record.name == str(insert_id)
            assert source[position - 1] == insert_id
        ids += chunk.insert_ids
    return ids


@settings(deadline=None)
@given(
    st.sets(CLOSE),
    st.lists(st.lists(CLOSE), max_size=3),
    st.lists(CLOSE),
    st.tuples(st.integers(1, 7), st.integers(1, 5), st.integers(1, 12)),
)
def test_exactly_the_new_ids_are_sent_once(
    older: set[int], recent: list[list[int]], source: list[int], limits: tuple[int, int, int]
) -> None:
    rows, most_held, filter_bits = limits
    folder = Folder(ObjectStoragePath(attached(MemoryFileSystem())))
    record = written(folder, older, *recent)
    with ImportedIds(folder, record, most_held=most_held, filter_bits=filter_bits) as imported:
        ids = sent(imported.new_only(chunks_of(source, rows)), source)
    assert sorted(ids) == sorted(set(source) - older.union(*recent))
    assert imported.skipped == len(source) - len(ids)


@pytest.mark.parametrize("most_held", [10, 20_000])
def test_many_random_ids_are_told_apart(folder: Folder, most_held: int) -> None:
    chance = random.Random(1)
    known = {chance.getrandbits(64) for _ in range(40_000)}
    fresh = [chance.getrandbits(64) for _ in range(10_000)]
    source = [*chance.sample(sorted(known), 5_000), *fresh, *chance.choices(fresh, k=3_000)]
    chance.shuffle(source)
    listed = sorted(known)
    record = written(folder, listed[::2], listed[1::4], listed[3::4])
    with ImportedIds(folder, record, most_held=most_held, filter_bits=14) as imported:
        assert sorted(sent(imported.new_only(chunks_of(source)), source)) == sorted(fresh)
    assert imported.skipped == 8_000


def test_a_source_that_is_read_again_gives_the_same_order(folder: Folder) -> None:
    record = written(folder, range(0, 300, 7), range(0, 300, 11))
    source = [random.Random(number).randrange(300) for number in range(1_000)]
    orders = []
    for _ in range(2):
        with ImportedIds(folder, record, most_held=50, filter_bits=3) as imported:
            orders.append([chunk.insert_ids for chunk in imported.new_only(chunks_of(source, 20))])
    assert orders[0] == orders[1]


def test_chunks_with_nothing_to_leave_out_pass_unchanged(folder: Folder) -> None:
    chance = random.Random(2)
    chunks = chunks_of([chance.getrandbits(64) for _ in range(2_000)])
    with ImportedIds(folder, InsertIdsRecord(["id"])) as imported:
        passed = list(imported.new_only(chunks))
    assert len(passed) == len(chunks)
    assert all(one is other for one, other in zip(passed, chunks, strict=True))


def test_what_cannot_be_sent_passes_at_once(folder: Folder) -> None:
    invalid = InvalidRecord(3, TOO_LARGE.refusal(size=1), {})
    chunk = MappedChunk([Event(name="1"), Event(name="1")], [1, 2], [invalid], insert_ids=[1, 1])
    with ImportedIds(folder, InsertIdsRecord(["id"])) as imported:
        passed = imported.new_only(iter([chunk]))
        first = next(passed)
        assert (first.records, first.invalid) == ([], [invalid])
        assert first.timestamps is chunk.timestamps
        assert [(one.positions, one.invalid) for one in passed] == [([1], [])]
        assert imported.skipped == 1


def test_records_that_are_held_back_come_in_chunks_of_the_usual_size(folder: Folder) -> None:
    source = [*range(1, 1_201), *range(1, 1_201)]
    with ImportedIds(folder, InsertIdsRecord(["id"]), filter_bits=0) as imported:
        assert sorted(sent(imported.new_only(chunks_of(source)), source)) == list(range(1, 1_201))
    assert imported.skipped == 1_200


def test_few_bytes_are_held_back(folder: Folder) -> None:
    source = [1, 1, 2, 2, 3, 3]
    size = len(ENCODER.encode_lines([Event(name="1")]))
    with ImportedIds(folder, InsertIdsRecord(["id"]), most_held_bytes=3 * size) as imported:
        passed = [chunk.insert_ids for chunk in imported.new_only(chunks_of(source, 2))]
    # Both records of a chunk are in doubt, so those of two chunks are too many.
    assert passed == [[], [], [1, 2], [], [3]]


@pytest.mark.parametrize("name", ["ids/sorted-1.ids", "ids/import-1.ids"])
def test_a_damaged_file_ends_the_import_before_it_begins(folder: Folder, name: str) -> None:
    record = written(folder, [1, 2], [3, 4])
    folder.write(name, packed([7]))
    with pytest.raises(FullStoryLedgerError, match=f"{name} is damaged"), ImportedIds(folder, record):
        pass


def test_a_full_disk_is_told(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with (
        pytest.raises(FullStoryDiskError, match=r"No space left on device\. .*free some space"),
        ImportedIds(folder, InsertIdsRecord(["id"])),
    ):
        pass


@pytest.fixture
def few_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imported_ids, "_FEW_IDS", 3)
    monkeypatch.setattr(imported_ids, "_FEW_FILES", 2)


@pytest.mark.parametrize(
    "recent", [[[4, 2**64 - 1, 0, 4]], [[4], [2**64 - 1], [0]]], ids=["many ids", "many files"]
)
@pytest.mark.usefixtures("few_ids")
def test_many_ids_are_written_as_one_file(folder: Folder, recent: list[list[int]]) -> None:
    old = written(folder, [2, 9], *recent)
    with ImportedIds(folder, old) as imported:
        list(imported.new_only(chunks_of([77])))
        new = imported.fold(old, 5)
    folded = packed([0, 2, 4, 9, 2**64 - 1])
    assert new == InsertIdsRecord(["id"], IdsFile("ids/sorted-5.ids", 5, zlib.crc32(folded)), [])
    remove_unnamed(folder, old, new)
    assert folder.names("ids") == ["sorted-5.ids"]
    assert folder.read("ids/sorted-5.ids") == folded
    with ImportedIds(folder, new) as imported:
        assert sent(imported.new_only(chunks_of([0, 1, 2, 4])), [0, 1, 2, 4]) == [1]


@pytest.mark.usefixtures("few_ids")
def test_few_ids_stay_where_they_are(folder: Folder) -> None:
    record = written(folder, [2, 9], [1], [3, 4])
    with ImportedIds(folder, record) as imported:
        assert imported.fold(record, 5) is None
    assert folder.names("ids") == ["import-1.ids", "import-2.ids", "sorted-1.ids"]


@pytest.mark.usefixtures("few_ids")
def test_few_ids_are_a_tenth_of_many(folder: Folder) -> None:
    record = written(folder, range(100), range(100, 110))
    with ImportedIds(folder, record) as imported:
        assert imported.fold(record, 5) is None
    record = written(folder, range(100), range(100, 111))
    with ImportedIds(folder, record) as imported:
        assert imported.fold(record, 5) is not None


@pytest.mark.usefixtures("few_ids")
def test_files_of_the_import_itself_are_not_lost_by_folding(folder: Folder) -> None:
    old = written(folder, [], [1, 2, 3, 4])
    with ImportedIds(folder, old) as imported:
        own = write_ids(folder, 2, [packed([5])])
        new = imported.fold(InsertIdsRecord(["id"], None, [*old.recent, own]), 2)
    assert new is not None
    assert new.sorted == IdsFile("ids/sorted-2.ids", 4, zlib.crc32(packed([1, 2, 3, 4])))
    assert new.recent == [own]


@pytest.mark.usefixtures("few_ids")
def test_what_someone_else_has_folded_is_not_folded_again(folder: Folder) -> None:
    old = written(folder, [], [1, 2, 3, 4])
    with ImportedIds(folder, old) as imported:
        assert imported.fold(InsertIdsRecord(["id"], IdsFile("ids/sorted-7.ids", 4), []), 2) is None


@pytest.mark.usefixtures("few_ids")
def test_a_file_that_the_record_names_is_not_written_again(folder: Folder) -> None:
    old = written(folder, [2, 9], [1, 3, 4, 5])
    with ImportedIds(folder, old) as imported:
        assert imported.fold(old, 1) is None
    assert folder.read("ids/sorted-1.ids") == packed([2, 9])


@pytest.mark.usefixtures("few_ids")
def test_a_crash_before_the_record_is_written_loses_nothing(folder: Folder) -> None:
    old = written(folder, [2, 9], [1, 3, 4, 5])
    with ImportedIds(folder, old) as imported:
        assert imported.fold(old, 5) is not None
    # The process ends here, and the next one finds the old record.
    with ImportedIds(folder, old) as imported:
        assert sent(imported.new_only(chunks_of([1, 2, 8])), [1, 2, 8]) == [8]
        new = imported.fold(old, 6)
    assert new is not None
    remove_unnamed(folder, old, new)
    assert folder.names("ids") == ["sorted-6.ids"]


def keyed(pairs: Iterable[tuple[int, int]]) -> list[int]:
    """Return keyed ids, whose few keys are far from each other."""
    pairs = list(pairs)
    return list(keyed_ids([key << 60 for key, _ in pairs], [content for _, content in pairs]))


#: A key and a content: few of both, so that contents come back.
PAIR = st.tuples(st.integers(0, 15), st.integers(1, 3))
#: What an import is given: the content of each key; and the keys whose change FullStory then has not, or may
#: have.
IMPORT = st.tuples(
    st.dictionaries(st.integers(0, 15), st.integers(1, 3)),
    st.sets(st.integers(0, 15), max_size=3),
    st.sets(st.integers(0, 15), max_size=3),
)


@settings(deadline=None)
@given(st.lists(IMPORT, max_size=8), st.tuples(st.integers(1, 7), st.integers(1, 5), st.integers(1, 12)))
def test_a_content_is_sent_unless_it_is_what_was_imported_last(
    imports: list[tuple[dict[int, int], set[int], set[int]]], limits: tuple[int, int, int]
) -> None:
    rows, most_held, filter_bits = limits
    folder = Folder(ObjectStoragePath(attached(MemoryFileSystem())))
    record = InsertIdsRecord(["*"], id_bytes=16)
    latest: dict[int, int] = {}
    for number, (contents, rejected, unknown) in enumerate(imports, start=1):
        source = keyed(contents.items())
        with (
            patch.object(imported_ids, "_FEW_IDS", 8),
            ImportedIds(folder, record, most_held=most_held, filter_bits=filter_bits) as imported,
        ):
            folded = imported.fold(record, number)
            ids = sent(imported.new_only(chunks_of(source, rows)), source)
        if folded is not None:
            remove_unnamed(folder, record, folded)
            record = folded
        changed = {key: content for key, content in contents.items() if latest.get(key) != content}
        assert sorted(ids) == sorted(keyed(changed.items()))
        assert imported.skipped == len(source) - len(ids)

        noted = {
            key: NO_CONTENT if key in unknown else content
            for key, content in changed.items()
            if key not in rejected
        }
        file = write_ids(folder, number, [packed_ids(keyed(noted.items()), 16)], 16)
        if file.count:
            record = msgspec.structs.replace(record, recent=[*record.recent, file])
        latest |= noted


@settings(deadline=None)
@given(
    st.dictionaries(st.integers(0, 15), st.integers(1, 3)),
    st.lists(PAIR),
    st.tuples(st.integers(1, 7), st.integers(1, 5), st.integers(1, 12)),
)
def test_a_key_that_comes_again_is_compared_with_what_was_sent(
    latest: dict[int, int], pairs: list[tuple[int, int]], limits: tuple[int, int, int]
) -> None:
    rows, most_held, filter_bits = limits
    folder = Folder(ObjectStoragePath(attached(MemoryFileSystem())))
    files = [write_ids(folder, 1, [packed_ids(keyed(latest.items()), 16)], 16)] if latest else []
    record = InsertIdsRecord(["*"], None, files, id_bytes=16)
    source = keyed(pairs)
    with ImportedIds(folder, record, most_held=most_held, filter_bits=filter_bits) as imported:
        ids = sent(imported.new_only(chunks_of(source, rows)), source)

    expected: list[int] = []
    for pair, one in zip(pairs, source, strict=True):
        key, content = pair
        if latest.get(key) != content:
            expected.append(one)
        latest[key] = content
    # Records of other keys may change places, those of one key may not.
    assert sorted(ids, key=key_of) == sorted(expected, key=key_of)
    assert imported.skipped == len(source) - len(ids)


@pytest.mark.usefixtures("few_ids")
def test_contents_that_were_replaced_leave_the_filter_when_they_are_folded(folder: Folder) -> None:
    old, new = keyed([(1, 5 << 56)]), keyed([(1, 6 << 56), (2, 7 << 56), (3, 7 << 56), (4, 7 << 56)])
    files = [write_ids(folder, number, [packed_ids(ids, 16)], 16) for number, ids in enumerate((old, new))]
    record = InsertIdsRecord(["*"], files[0], files[1:], id_bytes=16)
    filters: list[IdFilter] = []

    def noted(folder: Folder, number: int, scratch: Scratch, older: OlderIds) -> IdsFile:
        filters.append(older.filter)
        return write_older(folder, number, scratch, older)

    with patch.object(imported_ids, "write_older", noted), ImportedIds(folder, record) as imported:
        folded = imported.fold(record, 5)
    assert folded is not None
    assert (folded.sorted and folded.sorted.count, folded.recent, folded.id_bytes) == (4, [], 16)
    assert [content << 56 in filters[0] for content in (5, 6, 7)] == [False, True, True]


def test_properties_that_were_left_out_are_counted_although_a_record_is_skipped(folder: Folder) -> None:
    record = written(folder, [], [1])
    left_out = LeftOut(["it is too large"], dict)
    chunk = dataclasses.replace(chunks_of([1, 2])[0], dropped={1: left_out, 2: left_out})
    with ImportedIds(folder, record) as imported:
        [passed] = [one for one in imported.new_only([chunk]) if one.records]
    assert (passed.insert_ids, passed.dropped_reasons) == ([2], Counter({"it is too large": 2}))
