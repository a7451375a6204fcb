"""What the operator's arguments say about where events come from and how a row becomes one."""

from __future__ import annotations

import dataclasses
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook
from airflow.providers.common.sql.hooks.sql import DbApiHook

from airflow_provider_fullstory.exceptions import FullStoryInputError
from airflow_provider_fullstory.operators.hidden_records import HiddenRecords
from airflow_provider_fullstory.records.events import (
    events_of_records,
    events_of_rows,
    shared_part,
    targets_of_rows,
)
from airflow_provider_fullstory.records.files import is_location
from airflow_provider_fullstory.records.mapping import MappingOptions
from airflow_provider_fullstory.records.schema import check_types
from airflow_provider_fullstory.records.sources import query, records_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from airflow_provider_fullstory.records.mapping import MappedChunk


@dataclasses.dataclass(frozen=True, slots=True)
class OpenSource:
    """
    A source while it is read.

    :param description: What it is, for the log.
    :param targets: Where each column goes; empty where each record has its own keys.
    :param chunks: Its events.
    """

    description: str
    targets: Mapping[str, str]
    chunks: Iterator[MappedChunk]


@dataclasses.dataclass(frozen=True, slots=True)
class EventSource:
    """
    Where events come from; see the operator's parameters.

    :param events: The records, or where they are.
    :param sql: The query.
    :param sql_conn_id: Connection of its database.
    :param parameters: Its parameters.
    :param hook_params: Arguments for the database's hook.
    :param options: How a row becomes an event.
    """

    events: Any
    sql: str | None
    sql_conn_id: str | None
    parameters: Any
    hook_params: Mapping[str, Any] | None
    options: MappingOptions

    @contextmanager
    def open(self) -> Iterator[OpenSource]:
        """Open whatever the records come from."""
        events = self.events.records if isinstance(self.events, HiddenRecords) else self.events
        if (events is None) == (self.sql is None):
            raise FullStoryInputError(
                f"Give exactly one of events and sql, not {'neither' if events is None else 'both'}. "
                "An upstream task that returned nothing counts as no events."
            )
        if self.sql is None:
            chunks = events_of_records(records_of(events), self.options)
            yield OpenSource(str(events) if is_location(events) else str(HiddenRecords(events)), {}, chunks)
            return
        with query(self._database(), self.sql, self.parameters) as result:
            chunks = events_of_rows(result.columns, result.chunks, self.options)
            targets = targets_of_rows(result.columns, self.options)
            yield OpenSource(f"the query on {self.sql_conn_id!r}", targets, chunks)

    def _database(self) -> DbApiHook:
        if not self.sql_conn_id:
            raise FullStoryInputError("sql is given without sql_conn_id: say which database it is for.")
        try:
            connection: Any = BaseHook.get_connection(self.sql_conn_id)
        except AirflowNotFoundException:
            raise FullStoryInputError(
                f"Airflow has no connection {self.sql_conn_id!r}, which sql_conn_id names."
            ) from None
        hook = connection.get_hook(hook_params=dict(self.hook_params or {}))
        if not isinstance(hook, DbApiHook):
            raise FullStoryInputError(
                f"Connection {self.sql_conn_id!r} is no database that takes SQL: its hook is "
                f"{type(hook).__name__}."
            )
        return hook


def mapping_options(
    *,
    event_name: str | None,
    mapping: Mapping[str, str] | None,
    timezone: str,
    schema: Mapping[str, str] | None,
    shared: Mapping[str, Any] | None,
    allow_anonymous: bool,
    allow_missing_timestamp: bool,
    record_key: str | Sequence[str],
) -> MappingOptions:
    """
    Return how a row becomes an event; see the operator's parameters.

    :raises FullStoryInputError: Naming the argument that cannot be right.
    """
    import pendulum

    try:
        zone = pendulum.timezone(timezone)
    except (ValueError, KeyError):
        raise FullStoryInputError(
            f"timezone is {timezone!r}; it must be a name such as 'UTC' or 'Europe/Berlin'."
        ) from None
    check_types(schema or {})
    own = MappingOptions(
        event_name=event_name,
        mapping=mapping or {},
        zone=zone,
        schema=schema or {},
        allow_anonymous=allow_anonymous,
        allow_missing_timestamp=allow_missing_timestamp,
        record_key=[record_key] if isinstance(record_key, str) else record_key,
    )
    return dataclasses.replace(own, shared=shared_part(shared, own))
