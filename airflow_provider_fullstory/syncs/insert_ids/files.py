"""The files of insert ids in the folder of a sync. None ever changes: the record names those that count."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from airflow_provider_fullstory.exceptions import FullStoryLedgerError
from airflow_provider_fullstory.syncs.insert_ids.scratch import BLOCK_IDS, ID_BYTES, Scratch, from_bytes
from airflow_provider_fullstory.syncs.record import IdsFile

if TYPE_CHECKING:
    from array import array
    from collections.abc import Iterable, Iterator

    from airflow_provider_fullstory.batch_import.storage.folder import Folder
    from airflow_provider_fullstory.syncs.record import InsertIdsRecord

_FOLDER: Final = "ids"
_SORTED: Final = "sorted-"


def write_ids(folder: Folder, number: int, pieces: Iterable[bytes]) -> IdsFile:
    """
    Write the ids of an import, and return how the record of the sync names them.

    :param folder: The folder of the sync.
    :param number: The number of the import.
    :param pieces: The ids in any order, 8 bytes each, the highest first.
    """
    name = f"{_FOLDER}/import-{number}.ids"
    with Scratch() as scratch:
        for piece in pieces:
            scratch.append(from_bytes(piece))
        if scratch.count:
            folder.write(name, scratch.content())
        return IdsFile(name, scratch.count)


def write_sorted_ids(folder: Folder, number: int, ids: Scratch) -> IdsFile:
    """
    Write sorted ids, and return how the record of the sync names them.

    :param folder: The folder of the sync.
    :param number: What no other file of sorted ids is numbered, such as the number of the import.
    :param ids: The ids.
    """
    name = sorted_name(number)
    folder.write(name, ids.content())
    return IdsFile(name, ids.count)


def sorted_name(number: int) -> str:
    """
    Return the path of a file of sorted ids in the folder of a sync.

    :param number: Its number.
    """
    return f"{_FOLDER}/{_SORTED}{number}.ids"


def read_ids(folder: Folder, file: IdsFile, block_ids: int = BLOCK_IDS) -> Iterator[array[int]]:
    """
    Yield the ids of a file, block by block.

    :param folder: The folder of the sync.
    :param file: The file.
    :param block_ids: How many ids a block has.
    :raises FullStoryLedgerError: If the file is missing, or does not hold as many ids as it should.
    """
    content = folder.open(file.name)
    if content is None:
        raise _damaged(folder, file, "it is missing")
    size = 0
    with content:
        while block := content.read(block_ids * ID_BYTES):
            size += len(block)
            if size > file.count * ID_BYTES or len(block) % ID_BYTES:
                break
            yield from_bytes(block)
    if size != file.count * ID_BYTES:
        more = "at least " if size > file.count * ID_BYTES else ""
        raise _damaged(folder, file, f"it holds {more}{size:,} bytes instead of {file.count * ID_BYTES:,}")


def read_sorted_ids(folder: Folder, file: IdsFile) -> Iterator[array[int]]:
    """
    Yield the ids of a file of sorted ids, block by block.

    :param folder: The folder of the sync.
    :param file: The file.
    :raises FullStoryLedgerError: If the file is damaged.
    """
    last = -1
    for block in read_ids(folder, file):
        ids = block.tolist()
        # Much faster than comparing each id with the next.
        if ids[0] <= last or sorted(ids) != ids:
            raise _damaged(folder, file, "its ids are not sorted")
        last = ids[-1]
        yield block


def remove_unnamed(folder: Folder, old: InsertIdsRecord, new: InsertIdsRecord) -> None:
    """
    Remove the files that count no more, once the new record is written.

    Also removes files of sorted ids that no record ever named, because the process that wrote one ended.

    :param folder: The folder of the sync.
    :param old: The record before.
    :param new: The record that was written.
    """
    named = {file.name for file in new.files}
    left = {f"{_FOLDER}/{name}" for name in folder.names(_FOLDER) if name.startswith(_SORTED)}
    for name in sorted((left | {file.name for file in old.files}) - named):
        folder.remove(name)


def _damaged(folder: Folder, file: IdsFile, how: str) -> FullStoryLedgerError:
    return FullStoryLedgerError(
        f"The file of insert ids {folder.location(file.name)} is damaged: {how}. Nothing was sent, since "
        "records that were imported would have been sent again. Restore the file from a backup. If there is "
        f"none, remove the folder {folder}: the sync then begins anew, and sends again what it has imported."
    )
