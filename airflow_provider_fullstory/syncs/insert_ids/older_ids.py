"""The ids of older imports: one sorted file, and beside it what finds an id in it."""

from __future__ import annotations

import logging
import struct
import zlib
from typing import TYPE_CHECKING, Final, NamedTuple

from airflow_provider_fullstory.syncs.insert_ids.files import (
    index_name,
    read_content,
    read_ids,
    write_sorted_ids,
)
from airflow_provider_fullstory.syncs.insert_ids.id_filter import IdFilter
from airflow_provider_fullstory.syncs.insert_ids.scratch import ID_BYTES, Scratch, from_bytes, to_bytes
from airflow_provider_fullstory.syncs.insert_ids.sorted_ids import SortedIds, part_bits_of, write_sorted

if TYPE_CHECKING:
    from array import array

    from airflow_provider_fullstory.batch_import.storage.folder import Folder
    from airflow_provider_fullstory.syncs.record import IdsFile

log = logging.getLogger(__name__)

#: The index of fewer ids is made faster than its file is read.
_FEWEST_INDEXED: Final = 2**20
#: Another layout has another number here, and is made anew.
_LAYOUT: Final = 1
_CHECKSUM: Final = struct.Struct(">I")
#: The layout, the bits of a part, the number of ids and their checksum.
_HEAD: Final = struct.Struct(">BBQI")


class OlderIds(NamedTuple):
    """
    Hold what finds an id.

    To make this from the ids takes seconds, and an import would spend them each time it begins.

    :param ids: The ids.
    :param filter: A filter to which they were added, of keyed ids the contents.
    """

    ids: SortedIds
    filter: IdFilter


def open_older(folder: Folder, file: IdsFile | None, scratch: Scratch, filter_bits: int) -> OlderIds:
    """
    Copy the ids of older imports to the worker's disk.

    :param folder: The folder of the sync.
    :param file: The file, None if there is none.
    :param scratch: Where they are written; it is empty.
    :param filter_bits: The size of the filter, as a power of two.
    :raises FullStoryLedgerError: If the file is damaged.
    """
    if file is None:
        return OlderIds(write_sorted(scratch, (), 0), IdFilter(filter_bits))
    index = _read_index(folder, file, filter_bits) if _is_indexed(file) else None
    if index is None:
        return _indexed(folder, file, scratch, IdFilter(filter_bits))
    starts, id_filter = index
    for content in read_content(folder, file, scratch.id_bytes):
        scratch.write(content)
    return OlderIds(SortedIds(scratch, starts), id_filter)


def _indexed(folder: Folder, file: IdsFile, scratch: Scratch, id_filter: IdFilter) -> OlderIds:
    """Copy the ids, and make their index, which the next import reads."""
    if _is_indexed(file):
        log.info("%s is missing, or does not fit: it is made anew.", folder.location(index_name(file)))
    blocks = id_filter.added(read_ids(folder, file, scratch.id_bytes), scratch.id_bytes)
    ids = write_sorted(scratch, blocks, part_bits_of(file.count))
    older = OlderIds(ids, id_filter)
    _write_index(folder, file, older)
    return older


def write_older(folder: Folder, number: int, scratch: Scratch, older: OlderIds) -> IdsFile:
    """
    Write the ids of older imports and their index, and return how the record of the sync names them.

    :param folder: The folder of the sync.
    :param number: What no other file of sorted ids is numbered, such as the number of the import.
    :param scratch: Where the ids are, and nothing else.
    :param older: The ids, and a filter to which they were added.
    """
    file = write_sorted_ids(folder, number, scratch)
    _write_index(folder, file, older)
    return file


def _is_indexed(file: IdsFile) -> bool:
    # Without a checksum it cannot be told whether an index fits.
    return file.count >= _FEWEST_INDEXED and file.checksum is not None


def _write_index(folder: Folder, file: IdsFile, older: OlderIds) -> None:
    if not _is_indexed(file):
        return
    starts = older.ids.starts
    part_bits = (len(starts) - 1).bit_length() - 1
    parts = (_HEAD.pack(_LAYOUT, part_bits, file.count, file.checksum), to_bytes(starts), older.filter.slots)
    checksum = 0
    for part in parts:
        checksum = zlib.crc32(part, checksum)
    folder.write(index_name(file), b"".join((_CHECKSUM.pack(checksum), *parts)))


def _read_index(folder: Folder, file: IdsFile, filter_bits: int) -> tuple[array[int], IdFilter] | None:
    """Return the index of a file, None if there is none that fits."""
    content = folder.read(index_name(file))
    if content is None or len(content) < _CHECKSUM.size + _HEAD.size:
        return None
    checked = memoryview(content)[_CHECKSUM.size :]
    if zlib.crc32(checked) != _CHECKSUM.unpack_from(content)[0]:
        return None
    layout, part_bits, count, checksum = _HEAD.unpack_from(checked)
    filter_start = _HEAD.size + (2**part_bits + 1) * ID_BYTES
    if (layout, count, checksum) != (_LAYOUT, file.count, file.checksum):
        return None
    if len(checked) != filter_start + 2**filter_bits:
        return None
    starts = from_bytes(bytes(checked[_HEAD.size : filter_start]))
    return starts, IdFilter(filter_bits, checked[filter_start:])
