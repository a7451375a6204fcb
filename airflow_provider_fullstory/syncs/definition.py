"""What a sync is, as the arguments of a task say, compared with what its record says."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from airflow_provider_fullstory.exceptions import FullStoryInputError
from airflow_provider_fullstory.records.insert_ids import INSERT_ID_BYTES
from airflow_provider_fullstory.syncs.record import InsertIdsRecord
from airflow_provider_fullstory.syncs.watermark_lag import check_lag, less
from airflow_provider_fullstory.syncs.watermark_values import restored

if TYPE_CHECKING:
    import datetime
    from collections.abc import Sequence

    from airflow_provider_fullstory.syncs.record import SyncRecord
    from airflow_provider_fullstory.watermark import Watermark


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SyncDefinition:
    """
    Say what a sync is.

    :param name: Its name.
    :param resource: What it imports.
    :param watermark: How far it has come, among the parameters of its query; None if the task reads all.
    :param insert_id: The columns of the insert id; empty if it has none.
    :param id_bytes: The bytes of an insert id.
    :param zone: What timestamps without an offset mean.
    :param is_upserted: Whether FullStory changes what it has when a record comes again.
    :param is_full_refresh: Whether the task reads from the watermark's initial value, wherever it is now.
    """

    name: str
    resource: str
    watermark: Watermark | None
    insert_id: Sequence[str]
    zone: datetime.tzinfo
    id_bytes: int = INSERT_ID_BYTES
    is_upserted: bool = False
    is_full_refresh: bool = False

    @property
    def is_repeatable(self) -> bool:
        """Whether a record that the source gives again is not doubled."""
        return bool(self.insert_id) or self.is_upserted

    @property
    def no_ids(self) -> InsertIdsRecord:
        """What its record says of insert ids before there are any."""
        return InsertIdsRecord(list(self.insert_id), id_bytes=self.id_bytes)

    def since(self, record: SyncRecord | None) -> Any:
        """
        Return the value that the query is given, None if there is no watermark.

        :param record: What the sync remembers, None if it has never run.
        """
        if self.watermark is None:
            return None
        if record is None or record.watermark is None or self.is_full_refresh:
            check_lag(self.watermark.lag)
            return self.watermark.initial
        return less(
            restored(record.watermark.value),
            self.watermark.lag,
            self.zone,
            column=self.watermark.column,
            may_go_back=self.is_repeatable,
        )

    def check(self, record: SyncRecord) -> None:
        """
        Check that the sync of that name is this one.

        :param record: What the sync remembers.
        :raises FullStoryInputError: Saying what is different, and what to do.
        """
        if record.imports and record.resource != self.resource:
            raise FullStoryInputError(
                f"Sync {self.name!r} imports {record.resource}. Choose another sync_name for {self.resource}."
            )
        self._check_insert_id(record)
        known = record.watermark
        if known is not None and self.watermark is not None and known.column != self.watermark.column:
            raise FullStoryInputError(
                f"Sync {self.name!r} has its watermark in column {known.column!r}, at {known.value.value}; "
                f"this task has it in column {self.watermark.column!r}. Nothing was sent.\n"
                f"Set it for that column by: fullstory-sync set {self.name!r} VALUE --column "
                f"{self.watermark.column!r}; or choose another sync_name."
            )

    def check_organization(self, known: str | None, organization: str | None) -> None:
        """
        Check that the connection leads to the organization that has what the sync imported.

        :param known: That organization, None if it is not known.
        :param organization: The organization that the connection leads to, None if it is not known.
        :raises FullStoryInputError: If it leads to another one.
        """
        if known is not None and organization is not None and known != organization:
            raise FullStoryInputError(
                f"The connection leads to organization {organization!r}, but sync {self.name!r} imports into "
                f"{known!r}. Nothing was sent. Let the connection lead to {known!r} again, or choose another "
                f"sync_name for {organization!r}."
            )

    def _check_insert_id(self, record: SyncRecord) -> None:
        known = [] if record.insert_ids is None else record.insert_ids.definition
        # What was forgotten, or never sent, need not be recognized.
        is_forgotten = record.insert_ids is not None and not record.insert_ids.count
        is_unused = record.insert_ids is None and record.watermark is None
        if record.open is None and (is_forgotten or is_unused):
            return
        if known == list(self.insert_id):
            self._check_id_bytes(record.insert_ids)
            return
        if not known:
            raise FullStoryInputError(
                f"Sync {self.name!r} has imported without insert ids so far; this task has insert_id="
                f"{list(self.insert_id)}. What was imported would not be recognized, and sent again if the "
                "query selects it. Nothing was sent.\n"
                "Leave insert_id out; or choose another sync_name, with the watermark's initial value just "
                "after what was imported."
            )
        given = f"insert_id={list(self.insert_id)}" if self.insert_id else "no insert_id"
        raise FullStoryInputError(
            f"Sync {self.name!r} knows what it imported by insert_id={known}; this task has {given}. Nothing "
            "of that would be recognized. Nothing was sent.\n"
            "Set insert_id back, or choose another sync_name. To forget what was imported, so that all that "
            f"the query selects is sent again: fullstory-sync forget {self.name!r}."
        )

    def _check_id_bytes(self, ids: InsertIdsRecord | None) -> None:
        """Check that ids of another form are not taken for those that the task makes."""
        if ids is not None and ids.id_bytes != self.id_bytes:
            raise FullStoryInputError(
                f"Sync {self.name!r} has insert ids of {ids.id_bytes} bytes; this version of the package has "
                f"ones of {self.id_bytes} bytes for {self.resource}. Nothing was sent.\n"
                "Use the version that wrote them, or choose another sync_name. To forget what was imported, "
                f"so that all that the query selects is sent again: fullstory-sync forget {self.name!r}."
            )
