"""The files of insert ids: read as they were written, or refused by name; removed once none counts."""

from __future__ import annotations

import itertools
import struct
import zlib
from typing import TYPE_CHECKING

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_fullstory.batch_import.storage.folder import Folder
from airflow_provider_fullstory.exceptions import FullStoryLedgerError
from airflow_provider_fullstory.syncs.insert_ids.files import (
    read_ids,
    remove_unnamed,
    write_ids,
)
from airflow_provider_fullstory.syncs.record import IdsFile, InsertIdsRecord

if TYPE_CHECKING:
    from collections.abc import Iterable


@pytest.fixture
def folder(memory: str) -> Folder:
    return Folder(ObjectStoragePath(memory))


def packed(*ids: int) -> bytes:
    return struct.pack(f">{len(ids)}Q", *ids)


#: The checksum of three ids.
CHECKSUM = zlib.crc32(packed(1, 2, 3))


def listed(blocks: Iterable[Iterable[int]]) -> list[int]:
    return list(itertools.chain.from_iterable(blocks))


def test_ids_are_read_as_they_were_written(folder: Folder) -> None:
    ids = [5, 0, 2**64 - 1, 5, 2**63]
    file = write_ids(folder, 7, [packed(*ids[:2]), packed(*ids[2:])])
    assert file == IdsFile("ids/import-7.ids", 5, zlib.crc32(packed(*ids)))
    assert listed(read_ids(folder, file)) == ids
    assert listed(read_ids(folder, file, block_ids=2)) == ids


def test_without_ids_no_file_is_written(folder: Folder) -> None:
    assert write_ids(folder, 7, []).count == write_ids(folder, 8, [b""]).count == 0
    assert folder.names("ids") == []


def test_a_file_may_be_empty(folder: Folder) -> None:
    folder.write("ids/sorted-1.ids", b"")
    assert listed(read_ids(folder, IdsFile("ids/sorted-1.ids", 0, 0))) == []


@pytest.mark.parametrize(
    ("content", "how"),
    [
        (packed(1, 2), "it holds 16 bytes instead of 24"),
        (packed(1, 2, 3)[:-1], "it holds 23 bytes instead of 24"),
        (packed(1, 2, 3) + b"\0", "it holds at least 25 bytes instead of 24"),
        (packed(1, 2, 3, 4), "it holds at least 32 bytes instead of 24"),
        (packed(1, 3, 2), f"its checksum is {zlib.crc32(packed(1, 3, 2))} instead of {CHECKSUM}"),
        (b"", "it holds 0 bytes instead of 24"),
    ],
)
def test_a_damaged_file_is_refused_by_name(folder: Folder, content: bytes, how: str) -> None:
    folder.write("ids/sorted-1.ids", content)
    with pytest.raises(
        FullStoryLedgerError, match=rf"ids/sorted-1\.ids is damaged: {how}\. Nothing was sent"
    ):
        listed(read_ids(folder, IdsFile("ids/sorted-1.ids", 3, CHECKSUM)))


def test_a_missing_file_is_refused_by_name(folder: Folder) -> None:
    with pytest.raises(FullStoryLedgerError, match=r"ids/import-1\.ids is damaged: it is missing"):
        listed(read_ids(folder, IdsFile("ids/import-1.ids", 3)))


def test_a_file_whose_checksum_is_not_known_is_read(folder: Folder) -> None:
    folder.write("ids/import-1.ids", packed(1, 2, 3))
    assert listed(read_ids(folder, IdsFile("ids/import-1.ids", 3))) == [1, 2, 3]


@pytest.mark.parametrize("bit", [0, 100, 2**17 * 64 - 1])
def test_a_single_wrong_bit_is_refused(folder: Folder, bit: int) -> None:
    file = write_ids(folder, 1, [packed(*range(2**17))])
    content = bytearray(folder.read(file.name) or b"")
    content[bit // 8] ^= 1 << bit % 8
    folder.write(file.name, bytes(content))
    with pytest.raises(FullStoryLedgerError, match=r"its checksum is .* with: fullstory-sync forget NAME"):
        listed(read_ids(folder, file))


def test_files_that_the_new_record_does_not_name_are_removed(folder: Folder) -> None:
    old = InsertIdsRecord(
        ["id"],
        IdsFile("ids/sorted-1.ids", 1),
        [IdsFile("ids/import-2.ids", 1), IdsFile("ids/import-3.ids", 1)],
    )
    new = InsertIdsRecord(["id"], IdsFile("ids/sorted-4.ids", 2), [old.recent[1]])
    for name in [file.name for file in (*old.files, *new.files)]:
        folder.write(name, packed(1))
    folder.write("ids/import-5.ids", packed(7))
    folder.write("ids/sorted-2.ids", packed(8))
    for number in (1, 2, 4):
        folder.write(f"ids/sorted-{number}.index", b"index")
    left = ["import-3.ids", "import-5.ids", "sorted-4.ids", "sorted-4.index"]
    remove_unnamed(folder, old, new)
    assert folder.names("ids") == left
    remove_unnamed(folder, old, new)
    assert folder.names("ids") == left


def test_keyed_ids_are_read_as_they_were_written(folder: Folder) -> None:
    ids = [2**64 - 1, 1, 5, 7, 2**64 - 1, 2]
    file = write_ids(folder, 7, [packed(*ids[:4]), packed(*ids[4:])], 16)
    assert file == IdsFile("ids/import-7.ids", 3, zlib.crc32(packed(*ids)))
    assert listed(read_ids(folder, file, 16)) == ids
    assert listed(read_ids(folder, file, 16, block_ids=2)) == ids


@pytest.mark.parametrize(("written", "read"), [(16, 8), (8, 16)])
def test_ids_of_another_form_are_refused(folder: Folder, written: int, read: int) -> None:
    file = write_ids(folder, 7, [packed(1, 2, 3, 4)], written)
    with pytest.raises(FullStoryLedgerError, match=r"ids/import-7\.ids is damaged: it holds"):
        listed(read_ids(folder, file, read))
