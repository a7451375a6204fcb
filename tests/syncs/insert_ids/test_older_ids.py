"""The ids of older imports are opened by their index, and one that does not fit is never trusted."""

from __future__ import annotations

import itertools
import random
import struct
from array import array
from typing import TYPE_CHECKING

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_fullstory.batch_import.storage.folder import Folder
from airflow_provider_fullstory.exceptions import FullStoryLedgerError
from airflow_provider_fullstory.records.insert_ids import keyed_ids
from airflow_provider_fullstory.syncs.insert_ids import older_ids
from airflow_provider_fullstory.syncs.insert_ids.id_filter import IdFilter
from airflow_provider_fullstory.syncs.insert_ids.older_ids import OlderIds, open_older, write_older
from airflow_provider_fullstory.syncs.insert_ids.scratch import Scratch
from airflow_provider_fullstory.syncs.insert_ids.sorted_ids import part_bits_of, write_sorted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_fullstory.syncs.record import IdsFile

CHANCE = random.Random(1)
IDS = sorted({CHANCE.getrandbits(64) for _ in range(1_000)})
OTHERS = sorted({CHANCE.getrandbits(64) for _ in range(1_000)})
FILTER_BITS = 12


@pytest.fixture
def folder(memory: str, monkeypatch: pytest.MonkeyPatch) -> Folder:
    monkeypatch.setattr(older_ids, "_FEWEST_INDEXED", 500)
    return Folder(ObjectStoragePath(memory))


def written(folder: Folder, number: int, ids: Iterable[int]) -> IdsFile:
    ids = array("Q", ids)
    id_filter = IdFilter(FILTER_BITS)
    id_filter.add(ids)
    with Scratch() as scratch:
        older = OlderIds(write_sorted(scratch, [ids], part_bits_of(len(ids))), id_filter)
        return write_older(folder, number, scratch, older)


def found(folder: Folder, file: IdsFile | None, filter_bits: int = FILTER_BITS) -> set[int]:
    """Return which of many ids are known, once it is certain that the filter fits them."""
    with Scratch() as scratch:
        older = open_older(folder, file, scratch, filter_bits)
        known = older.ids.among([*IDS, *OTHERS])
        passing, _ = IdFilter(0).add_others([*IDS, *OTHERS], older.filter)
        assert known <= set(passing)
        assert len(passing) < len(known) + len(OTHERS) // 2
        return known


def content_of(folder: Folder, name: str) -> bytes:
    content = folder.read(name)
    assert content is not None
    return content


def test_ids_are_found_by_the_index(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(folder, 3, IDS)
    assert folder.names("ids") == ["sorted-3.ids", "sorted-3.index"]
    # The filter comes from the index.
    monkeypatch.setattr(IdFilter, "add", None)
    assert found(folder, file) == set(IDS)


def test_few_ids_have_no_index(folder: Folder) -> None:
    file = written(folder, 3, IDS[:499])
    assert found(folder, file) == set(IDS[:499])
    assert folder.names("ids") == ["sorted-3.ids"]


def test_without_a_file_there_are_no_ids(folder: Folder) -> None:
    assert found(folder, None) == set()


@pytest.mark.parametrize("size", [0, 1, 20, 200, -1])
def test_a_short_index_is_made_anew(folder: Folder, size: int) -> None:
    file = written(folder, 3, IDS)
    index = content_of(folder, "ids/sorted-3.index")
    folder.write("ids/sorted-3.index", index[:size])
    assert found(folder, file) == set(IDS)
    assert folder.read("ids/sorted-3.index") == index


def test_a_missing_index_is_made_anew(folder: Folder) -> None:
    file = written(folder, 3, IDS)
    index = content_of(folder, "ids/sorted-3.index")
    folder.remove("ids/sorted-3.index")
    assert found(folder, file) == set(IDS)
    assert folder.read("ids/sorted-3.index") == index


@pytest.mark.parametrize("place", [0, 4, 5, 10, 16, 60, -1])
def test_an_index_with_a_wrong_bit_is_made_anew(folder: Folder, place: int) -> None:
    file = written(folder, 3, IDS)
    index = content_of(folder, "ids/sorted-3.index")
    wrong = bytearray(index)
    wrong[place] ^= 128
    folder.write("ids/sorted-3.index", bytes(wrong))
    assert found(folder, file) == set(IDS)
    assert folder.read("ids/sorted-3.index") == index


def test_an_index_of_as_many_other_ids_is_made_anew(folder: Folder) -> None:
    file = written(folder, 3, IDS)
    written(folder, 4, OTHERS)
    folder.write("ids/sorted-3.index", content_of(folder, "ids/sorted-4.index"))
    assert found(folder, file) == set(IDS)


def test_an_index_with_a_filter_of_another_size_is_made_anew(folder: Folder) -> None:
    file = written(folder, 3, IDS)
    assert found(folder, file, FILTER_BITS + 1) == set(IDS)


def test_an_index_of_another_layout_is_made_anew(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(folder, 3, IDS)
    index = content_of(folder, "ids/sorted-3.index")
    monkeypatch.setattr(older_ids, "_LAYOUT", 2)
    assert found(folder, file) == set(IDS)
    assert folder.read("ids/sorted-3.index") != index


def test_damaged_ids_are_refused_though_their_index_is_whole(folder: Folder) -> None:
    file = written(folder, 3, IDS)
    folder.write(file.name, struct.pack(">1000Q", *OTHERS))
    with pytest.raises(FullStoryLedgerError, match=r"ids/sorted-3\.ids is damaged: its checksum"):
        found(folder, file)


def test_keyed_ids_are_found_by_the_index_and_without_it(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = dict(zip(IDS, OTHERS, strict=True))
    numbers = array("Q", itertools.chain.from_iterable(contents.items()))
    id_filter = IdFilter(FILTER_BITS)
    with Scratch(16) as scratch:
        blocks = id_filter.added([numbers], 16)
        older = OlderIds(write_sorted(scratch, blocks, part_bits_of(len(contents))), id_filter)
        file = write_older(folder, 3, scratch, older)
    assert file.count == len(contents)
    known = set(keyed_ids(contents, contents.values()))
    index = content_of(folder, "ids/sorted-3.index")

    for _ in range(2):
        with Scratch(16) as scratch:
            older = open_older(folder, file, scratch, FILTER_BITS)
            assert older.ids.among([*known, *keyed_ids(IDS, IDS)]) == known
            assert all(content in older.filter for content in OTHERS)
        folder.remove("ids/sorted-3.index")
    with Scratch(16) as scratch:
        open_older(folder, file, scratch, FILTER_BITS)
    assert folder.read("ids/sorted-3.index") == index
