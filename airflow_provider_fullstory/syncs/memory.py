"""What one import knows of its sync while it sends, and what it writes down for whoever settles it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_fullstory.syncs.import_files import ImportFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from airflow_provider_fullstory.batch_import.batching.batch import Batch
    from airflow_provider_fullstory.batch_import.batching.body import Body
    from airflow_provider_fullstory.batch_import.storage.folder import Folder
    from airflow_provider_fullstory.records.mapped_chunk import MappedChunk
    from airflow_provider_fullstory.syncs.hold import Hold
    from airflow_provider_fullstory.syncs.insert_ids.imported_ids import ImportedIds


class ImportWitness:
    """
    Keep batches from being posted without the hold, and keep their bodies until they are answered.

    :param hold: The hold on the sync, None if the import is none of a sync.
    :param folder: The folder of the import; None if nobody else could settle it.
    """

    def __init__(self, hold: Hold | None, folder: Folder | None) -> None:
        self._hold = hold
        self._files = None if folder is None else ImportFiles(folder)

    def about_to_post(self, batch: Batch) -> None:
        """
        Keep the body of a batch.

        :raises FullStoryHoldLostError: If another run may work on the sync.
        """
        if self._files is not None:
            self._files.keep_body(batch)
        if self._hold is not None:
            self._hold.check()

    def answered(self, name: str) -> None:
        """Remove the body of a batch."""
        if self._files is not None:
            self._files.remove_body(name)

    def body(self, name: str) -> Body | None:
        """Return the body of a batch that was not answered, None if it is not here."""
        return None if self._files is None else self._files.body(name)


class ImportMemory:
    """
    Leave out what the sync has imported, and write down the insert ids of what is sent.

    :param ids: The insert ids that the sync has imported, None if it has none.
    :param folder: The folder of the import.
    :param records_of: Returns how many records an earlier try had in a batch, given its number.
    :param all_read: Called once the source is read to its end.
    """

    def __init__(
        self,
        ids: ImportedIds | None,
        folder: Folder,
        records_of: Callable[[int], int | None],
        all_read: Callable[[], None],
    ) -> None:
        self._ids = ids
        self.all_read = all_read
        self._files = ImportFiles(folder)
        self.records_of = records_of

    @property
    def skipped(self) -> int:
        """How many records were left out."""
        return 0 if self._ids is None else self._ids.skipped

    def new_only(self, chunks: Iterable[MappedChunk]) -> Iterable[MappedChunk]:
        """Yield the records that were not imported before."""
        return chunks if self._ids is None else self._ids.new_only(chunks)

    def kept(self, batches: Iterable[Batch]) -> Iterable[Batch]:
        """Yield batches once their insert ids are written down."""
        return batches if self._ids is None else self._files.kept(batches)
