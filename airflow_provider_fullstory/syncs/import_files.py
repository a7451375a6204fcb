"""
What is written down of an import while it is sent, so that any later run of its sync can settle it.

Before a batch is posted, its insert ids are written, and its body. The body is removed once FullStory has
answered: only then need nobody post it again to learn of its job.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, Final

from airflow_provider_fullstory.batch_import.batching.batch import first_half
from airflow_provider_fullstory.batch_import.batching.body import Body
from airflow_provider_fullstory.records.insert_ids import INSERT_ID_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from airflow_provider_fullstory.batch_import.batching.batch import Batch
    from airflow_provider_fullstory.batch_import.storage.folder import Folder

_IMPORTS: Final = "imports"
_PIECE_BYTES: Final = 2**18


def import_folder(sync: Folder, number: int) -> Folder:
    """
    Return the folder of an import: its ledger, insert ids, and bodies.

    :param sync: The folder of the sync.
    :param number: The number of the import in the sync.
    """
    return sync.folder(f"{_IMPORTS}/{number:08d}")


def import_numbers(sync: Folder) -> list[int]:
    """
    Return the numbers of the imports that have a folder.

    :param sync: The folder of the sync.
    """
    return [int(name) for name in sync.names(_IMPORTS) if name.isdecimal()]


class ImportFiles:
    """
    Keep the insert ids and the bodies of an import.

    :param folder: The folder of the import.
    :param id_bytes: The bytes of an insert id.
    """

    def __init__(self, folder: Folder, id_bytes: int = INSERT_ID_BYTES) -> None:
        self._folder = folder
        self._id_bytes = id_bytes

    def kept(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Yield batches once their insert ids are written."""
        for batch in batches:
            if batch.insert_ids:
                self._folder.write(_ids_name(batch.ordinal), batch.insert_ids)
            yield dataclasses.replace(batch, insert_ids=b"")

    def insert_ids(self, name: str) -> bytes:
        """
        Return the insert ids of a batch as they are written down; none if the import has none.

        :param name: The batch's place in the import: ``12``, or ``12.1`` for its first half.
        """
        ordinal, *halves = map(int, name.split("."))
        ids = self._folder.read(_ids_name(ordinal)) or b""
        for half in halves:
            middle = first_half(len(ids) // self._id_bytes) * self._id_bytes
            ids = ids[:middle] if half == 1 else ids[middle:]
        return ids

    def keep_body(self, batch: Batch) -> None:
        """Write the body of a batch that is posted next."""
        # Only this thread reads the body now: it is posted later.
        self._folder.write(_body_name(batch.name), batch.body.open())

    def remove_body(self, name: str) -> None:
        """Remove the body of a batch that was answered."""
        self._folder.remove(_body_name(name))

    def body(self, name: str) -> Body | None:
        """Return the body of a batch that was not answered, None if it is not here."""
        file = self._folder.open(_body_name(name))
        if file is None:
            return None
        with file:
            return Body(itertools.takewhile(bool, iter(lambda: file.read(_PIECE_BYTES), None)))


def _ids_name(ordinal: int) -> str:
    return f"ids/{ordinal:08d}.ids"


def _body_name(name: str) -> str:
    return f"in_flight/{name}.json"
