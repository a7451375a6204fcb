"""The record of a sync: one small JSON file, which says all that the sync remembers, or where it lies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from airflow_provider_fullstory.exceptions import FullStoryLedgerError
from airflow_provider_fullstory.records.insert_ids import INSERT_ID_BYTES, KEYED_ID_BYTES

if TYPE_CHECKING:
    from airflow_provider_fullstory.batch_import.storage.folder import Folder

#: The version of the format. A newer one is not touched by this version of the package.
FORMAT: Final = 1
_FILE: Final = "sync.json"


class StoredValue(msgspec.Struct, frozen=True):
    """
    Hold a value of a database, so that its type survives.

    :param type: Its type, as ``watermark_values`` names it: ``timestamp``, ``integer``, ...
    :param value: Its text.
    """

    type: str
    value: str


class WatermarkRecord(msgspec.Struct, frozen=True):
    """
    Say how far a sync has come.

    :param column: The column of the query's result.
    :param value: The highest value that was imported.
    :param moved_at: When it moved there, in ISO 8601 (UTC).
    :param moved_by: The import that moved it, for people, or the command that set it.
    """

    column: str
    value: StoredValue
    moved_at: str
    moved_by: str


class IdsFile(msgspec.Struct, frozen=True):
    """
    Name a file of insert ids.

    :param name: Its path in the folder of the sync.
    :param count: How many ids it holds.
    :param checksum: The CRC-32 of its content, None if that is not known.
    """

    name: str
    count: int
    checksum: int | None = None


class InsertIdsRecord(msgspec.Struct, frozen=True):
    """
    Say which insert ids a sync has imported.

    :param definition: The columns that make an insert id, or ``["*"]``.
    :param sorted: The file with the ids of older imports, in their order.
    :param recent: The files with the ids of the imports since.
    :param id_bytes: The bytes of an id in all files: 8, or 16 if ids are keyed.
    """

    definition: list[str]
    sorted: IdsFile | None = None
    recent: list[IdsFile] = []
    id_bytes: int = INSERT_ID_BYTES

    @property
    def is_keyed(self) -> bool:
        """Whether an id is the key of a record and its content, and only the latest of each key counts."""
        return self.id_bytes == KEYED_ID_BYTES

    @property
    def count(self) -> int:
        """How many ids there are; of a record whose content has changed, several."""
        return sum(file.count for file in self.files)

    @property
    def files(self) -> list[IdsFile]:
        """All files."""
        return [*([self.sorted] if self.sorted else []), *self.recent]


class OpenImport(msgspec.Struct, frozen=True):
    """
    Describe an import that has begun and is not accounted for.

    :param number: Its number in the sync.
    :param dag_id: The DAG that began it.
    :param run_id: Its DAG run.
    :param task_id: The operator's own id.
    :param map_index: Its index among mapped tasks, -1 if it is not mapped.
    :param began_at: When it began, in ISO 8601 (UTC).
    :param column: The column of the watermark, None if the import has none.
    :param highest: The highest value that it has read; None until all was sent.
    :param invalid: How many of its records were never sent; None until all was sent.
    """

    number: int
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    began_at: str
    column: str | None = None
    highest: StoredValue | None = None
    invalid: int | None = None

    def __str__(self) -> str:
        mapped = f", map index {self.map_index}" if self.map_index >= 0 else ""
        return f"run {self.run_id!r} of task {self.task_id!r} in DAG {self.dag_id!r}{mapped}"

    def is_of(self, other: OpenImport) -> bool:
        """Return whether the same task of the same run began both."""
        return (self.dag_id, self.run_id, self.task_id, self.map_index) == (
            other.dag_id,
            other.run_id,
            other.task_id,
            other.map_index,
        )


class SyncRecord(msgspec.Struct, frozen=True):
    """
    Hold what a sync remembers.

    :param name: Its name.
    :param format: The version of the format.
    :param resource: What it imports.
    :param organization: The FullStory organization that it imports into, None until that is known.
    :param watermark: How far it has come, None if it has no watermark yet.
    :param insert_ids: What it has imported, None if it has no insert ids.
    :param open: The import that is not accounted for, None if there is none.
    :param imports: How many imports it has begun.
    """

    name: str
    format: int = msgspec.field(default=0)
    resource: str = "events"
    organization: str | None = None
    watermark: WatermarkRecord | None = None
    insert_ids: InsertIdsRecord | None = None
    open: OpenImport | None = None
    imports: int = 0


def read_record(folder: Folder) -> SyncRecord | None:
    """
    Return the record of a sync, None if there is none.

    :param folder: The folder of the sync.
    :raises FullStoryLedgerError: If this version of the package cannot read it.
    """
    content = folder.read(_FILE)
    if content is None:
        return None
    try:
        version: Any = msgspec.json.decode(content, type=dict[str, Any]).get("format")
        record = msgspec.json.decode(content, type=SyncRecord)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise FullStoryLedgerError(
            f"The record of the sync in {folder.location(_FILE)} is damaged: {error}. Nothing was sent."
        ) from error
    if version != FORMAT:
        raise FullStoryLedgerError(
            f"The record of the sync in {folder.location(_FILE)} has format {version!r}; this version of the "
            f"package knows format {FORMAT}. Nothing was sent. Use the version that wrote it, or a newer one."
        )
    return record


def write_record(folder: Folder, record: SyncRecord) -> None:
    """
    Write the record of a sync as a whole. Only who holds the sync may do this.

    :param folder: The folder of the sync.
    """
    values = msgspec.to_builtins(msgspec.structs.replace(record, format=FORMAT))
    folder.write(_FILE, msgspec.json.format(msgspec.json.encode(values), indent=2))
