"""The files of insert ids in the folder of a sync. None ever changes: the record names those that count."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

from airflow_provider_fullstory.exceptions import FullStoryLedgerError
from airflow_provider_fullstory.syncs.insert_ids.scratch import (
    BLOCK_IDS,
    ID_BYTES,
    Scratch,
    from_bytes,
    to_bytes,
)
from airflow_provider_fullstory.syncs.record import IdsFile

if TYPE_CHECKING:
    from array import array
    from collections.abc import Iterable, Iterator

    from airflow_provider_fullstory.batch_import.storage.folder import Folder
    from airflow_provider_fullstory.syncs.record import InsertIdsRecord

_FOLDER: Final = "ids"
_SORTED: Final = "sorted-"


def write_ids(folder: Folder, number: int, pieces: Iterable[bytes], id_bytes: int = ID_BYTES) -> IdsFile:
    """
    Write the ids of an import, and return how the record of the sync names them.

    :param folder: The folder of the sync.
    :param number: The number of the import.
    :param pieces: The ids as files hold them. Among equal keys, the last one counts.
    :param id_bytes: The bytes of an id.
    """
    with Scratch(id_bytes) as scratch:
        for piece in pieces:
            scratch.write(piece)
        return _written(folder, f"{_FOLDER}/import-{number}.ids", scratch)


def write_sorted_ids(folder: Folder, number: int, ids: Scratch) -> IdsFile:
    """
    Write sorted ids, and return how the record of the sync names them.

    :param folder: The folder of the sync.
    :param number: What no other file of sorted ids is numbered, such as the number of the import.
    :param ids: The ids.
    """
    return _written(folder, sorted_name(number), ids)


def _written(folder: Folder, name: str, ids: Scratch) -> IdsFile:
    checksum = 0
    for block in ids.blocks():
        checksum = zlib.crc32(to_bytes(block), checksum)
    if ids.count:
        folder.write(name, ids.content())
    return IdsFile(name, ids.count, checksum)


def sorted_name(number: int) -> str:
    """
    Return the path of a file of sorted ids in the folder of a sync.

    :param number: Its number.
    """
    return f"{_FOLDER}/{_SORTED}{number}.ids"


def index_name(file: IdsFile) -> str:
    """
    Return the path of the index of a file of sorted ids.

    :param file: The file.
    """
    return f"{file.name.removesuffix('.ids')}.index"


def read_ids(
    folder: Folder, file: IdsFile, id_bytes: int = ID_BYTES, block_ids: int = BLOCK_IDS
) -> Iterator[array[int]]:
    """
    Yield the ids of a file, block by block.

    :param folder: The folder of the sync.
    :param file: The file.
    :param id_bytes: The bytes of an id.
    :param block_ids: How many ids a block has.
    :raises FullStoryLedgerError: If the file is damaged, which may be known only after the last block.
    """
    return map(from_bytes, read_content(folder, file, id_bytes, block_ids))


def read_content(
    folder: Folder, file: IdsFile, id_bytes: int = ID_BYTES, block_ids: int = BLOCK_IDS
) -> Iterator[bytes]:
    """
    Yield the ids of a file as they are there, block by block.

    :param folder: The folder of the sync.
    :param file: The file.
    :param id_bytes: The bytes of an id.
    :param block_ids: How many ids a block has.
    :raises FullStoryLedgerError: If the file is damaged, which may be known only after the last block.
    """
    content = folder.open(file.name)
    if content is None:
        raise _damaged(folder, file, "it is missing")
    size = checksum = 0
    expected = file.count * id_bytes
    with content:
        while block := content.read(block_ids * id_bytes):
            size += len(block)
            if size > expected or len(block) % id_bytes:
                break
            checksum = zlib.crc32(block, checksum)
            yield block
    if size != expected:
        more = "at least " if size > expected else ""
        raise _damaged(folder, file, f"it holds {more}{size:,} bytes instead of {expected:,}")
    if file.checksum not in (None, checksum):
        raise _damaged(folder, file, f"its checksum is {checksum} instead of {file.checksum}")


def remove_unnamed(folder: Folder, old: InsertIdsRecord, new: InsertIdsRecord) -> None:
    """
    Remove the files that count no more, once the new record is written.

    Also removes files of sorted ids, and their indexes, that no record ever named, because the process that
    wrote them ended.

    :param folder: The folder of the sync.
    :param old: The record before.
    :param new: The record that was written.
    """
    named = {file.name for file in new.files} | ({index_name(new.sorted)} if new.sorted else set())
    left = {f"{_FOLDER}/{name}" for name in folder.names(_FOLDER) if name.startswith(_SORTED)}
    for name in sorted((left | {file.name for file in old.files}) - named):
        folder.remove(name)


def _damaged(folder: Folder, file: IdsFile, how: str) -> FullStoryLedgerError:
    return FullStoryLedgerError(
        f"The file of insert ids {folder.location(file.name)} is damaged: {how}. Nothing was sent, since "
        "records that were imported would have been sent again. Restore the file from a backup. Or let the "
        "sync forget its insert ids, with: fullstory-sync forget NAME. Then records that the query selects "
        "again are sent again."
    )
