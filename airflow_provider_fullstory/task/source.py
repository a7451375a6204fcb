"""The source of records and the options of their mapping, from the operator's arguments."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook
from airflow.providers.common.sql.hooks.sql import DbApiHook

from airflow_provider_fullstory.exceptions import FullStoryInputError
from airflow_provider_fullstory.records.mapping import map_records, map_rows, shared_part, targets_of_rows
from airflow_provider_fullstory.records.options import MappingOptions
from airflow_provider_fullstory.records.refused_records import record_of_line
from airflow_provider_fullstory.records.schema import check_types
from airflow_provider_fullstory.sources import CHUNK_ROWS
from airflow_provider_fullstory.sources.iterables import records_of
from airflow_provider_fullstory.sources.lines import Unreadable
from airflow_provider_fullstory.sources.locations import are_locations, is_location
from airflow_provider_fullstory.sources.query import query
from airflow_provider_fullstory.task.hidden_records import HiddenRecords
from airflow_provider_fullstory.task.repeated_records import without_repeated
from airflow_provider_fullstory.text import plural, some

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from airflow_provider_fullstory.records.column_mapping import Row
    from airflow_provider_fullstory.records.kind import RecordKind
    from airflow_provider_fullstory.records.mapped_chunk import MappedChunk
    from airflow_provider_fullstory.syncs.watermark_column import WatermarkColumn
    from airflow_provider_fullstory.task.arguments import ImportArguments

#: How a statement begins.
_STATEMENT: Final = re.compile(
    r"[\s(]*(?:select|with|values|table|show|describe|explain|pragma|set|use|insert|update|delete|merge|replace"
    r"|create|alter|drop|truncate|grant|revoke|call|execute|copy|begin|start|commit|rollback)\b",
    re.IGNORECASE,
)
#: How many names of files the log shows.
_SHOWN_FILES: Final = 3


@dataclasses.dataclass(frozen=True, slots=True)
class OpenSource:
    """
    An open source.

    :param description: The source, for the log.
    :param targets: The field of each column; empty if each record has its own keys.
    :param chunks: Its records.
    """

    description: str
    targets: Mapping[str, str]
    chunks: Iterator[MappedChunk]


@dataclasses.dataclass(frozen=True, slots=True)
class RecordSource:
    """
    The source of the records.

    :param records: The records, or where they are; None if a query gives them.
    :param arguments: The operator's arguments, with the query.
    :param options: The options of the mapping.
    """

    records: Any
    arguments: ImportArguments
    options: MappingOptions

    def check(self, *, is_mapped: bool = False) -> None:
        """
        Refuse arguments that cannot be a source, before any system is asked.

        :param is_mapped: Whether the task is mapped, so that its records may have come from another task.
        :raises FullStoryInputError: Saying what to give instead.
        """
        name, sql = self.options.kind.resource, self.arguments.sql
        if (self.records is None) == (sql is None):
            raise FullStoryInputError(
                f"Give exactly one of {name} and sql, not {'neither' if self.records is None else 'both'}. "
                f"An upstream task that returned nothing counts as no {name}."
            )
        if sql is not None:
            _check_statement(sql)
            return
        hidden = self.records if isinstance(self.records, HiddenRecords) and not is_mapped else None
        if hidden is not None and hidden.was_passed_over and hidden.has_templates:
            raise FullStoryInputError(
                f"{name} holds a template, as {{{{ ... }}}}, inside a record, where Airflow does not render "
                "it. Make the records in a @task and pass its output, or select them with sql, which is "
                "rendered."
            )
        records = self._records
        if isinstance(records, (list, tuple)) and not are_locations(records):
            uris = sum(isinstance(item, str) and is_location(item) for item in records)
            if uris:
                raise FullStoryInputError(
                    f"{name} mixes {uris} URIs with {len(records) - uris} other items. Give records (dicts), "
                    "or URIs of files alone."
                )

    @property
    def _records(self) -> Any:
        return self.records.records if isinstance(self.records, HiddenRecords) else self.records

    @property
    def locations(self) -> list[str]:
        """Where files of records are; empty if the records come from elsewhere."""
        records = self._records
        if is_location(records):
            return [str(records)]
        return list(map(str, records)) if are_locations(records) else []

    @property
    def description(self) -> str:
        """Where the records come from, for the log."""
        if self.arguments.sql is not None:
            return f"the query on {self.arguments.sql_conn_id!r}"
        if self.locations:
            return some(self.locations, _SHOWN_FILES)
        records = self._records
        if isinstance(records, (list, tuple)):
            return f"{plural(len(records), 'record')} that the task was given"
        return "records that come one by one"

    @contextmanager
    def open(
        self, watermark: WatermarkColumn | None = None, *, limit: int | None = None
    ) -> Iterator[OpenSource]:
        """
        Open the source.

        :param watermark: Notes the highest value of a column of the query.
        :param limit: How many records are wanted, None for all. One more is read, to see if there is one.
        """
        kind = self.options.kind
        if self.arguments.sql is None:
            # A file may hold the refused records of an earlier import.
            records = records_of(self._records, kind.resource, partial(record_of_line, kind))
            if not (is_location(self._records) or are_locations(self._records)):
                records = _with_a_record(kind, records, type(self._records).__name__)
            records = records if limit is None else itertools.islice(records, limit + 1)
            yield OpenSource(self.description, {}, without_repeated(kind, map_records(records, self.options)))
            return
        with query(self.database(), self.arguments.sql, self.arguments.parameters) as result:
            rows = result.chunks if limit is None else _first(result.chunks, limit + 1)
            rows = rows if watermark is None else watermark.rows(result.columns, rows)
            chunks = map_rows(result.columns, rows, self.options)
            targets = targets_of_rows(result.columns, self.options)
            chunks = chunks if watermark is None else watermark.passed(chunks)
            yield OpenSource(self.description, targets, without_repeated(kind, chunks))

    def database(self) -> DbApiHook:
        """
        Return the hook of the database that the query is for.

        :raises FullStoryInputError: If no database is named, or none of that name is there.
        """
        conn_id = self.arguments.sql_conn_id
        if not conn_id:
            raise FullStoryInputError("sql is given without sql_conn_id: say which database it is for.")
        try:
            connection: Any = BaseHook.get_connection(conn_id)
        except AirflowNotFoundException:
            raise FullStoryInputError(
                f"Airflow has no connection {conn_id!r}, which sql_conn_id names."
            ) from None
        hook = connection.get_hook(hook_params=dict(self.arguments.hook_params or {}))
        if not isinstance(hook, DbApiHook):
            raise FullStoryInputError(
                f"Connection {conn_id!r} is not a database that takes SQL: its hook is {type(hook).__name__}."
            )
        return hook


def _first(chunks: Iterable[Sequence[Row]], count: int) -> Iterator[Sequence[Row]]:
    """Yield the first rows of a query."""
    for rows in chunks:
        yield rows[:count]
        count -= len(rows)
        if count <= 0:
            return


def _with_a_record(kind: RecordKind, records: Iterator[Any], given: str) -> Iterator[Any]:
    """
    Yield records as they come, and fail if a source gives none at its start.

    A single item among records that is not a record is refused alone, not here.
    """
    begun: list[Any] = []
    for record in records:
        begun.append(record)
        if isinstance(record, (Mapping, Unreadable)):
            break
        if len(begun) == CHUNK_ROWS:
            raise _no_records(kind, begun[0], given)
    else:
        if begun:
            raise _no_records(kind, begun[0], given)
    yield from begun
    yield from records


def _no_records(kind: RecordKind, item: Any, given: str) -> FullStoryInputError:
    return FullStoryInputError(
        f"{kind.resource} is of type {given} and gives {type(item).__name__}, not records (dicts). The rows "
        'of a DataFrame are df.to_dict("records"); of files, give the URI.'
    )


def _check_statement(sql: str) -> None:
    """Refuse several statements: of their results, a driver gives the first one only, or the last."""
    statements = [part for part in DbApiHook.split_sql_string(sql) if part.strip("; \t\r\n")]
    if not statements:
        raise FullStoryInputError("sql is empty; it must be one SELECT.")
    # If the parser cut through a text or a block of a dialect that it does not know, the database decides.
    is_certain = all(
        _STATEMENT.match(part) and not any(part.count(quote) % 2 for quote in ("'", '"', "`", "$$"))
        for part in statements
    )
    if len(statements) > 1 and is_certain:
        raise FullStoryInputError(
            f"sql holds {len(statements)} statements; it must be one SELECT, since the results of the others "
            "would be lost. Join them with UNION ALL, or give each a task of its own."
        )


def mapping_options(
    kind: RecordKind,
    arguments: ImportArguments,
    *,
    name: str | None = None,
    shared: Mapping[str, Any] | None = None,
    allow_anonymous: bool = False,
    allow_missing_timestamp: bool = False,
    drops_invalid_properties: bool = False,
) -> MappingOptions:
    """
    Return the options of the mapping.

    :param kind: The kind of records.
    :param arguments: The arguments of every operator.
    :param name: The name of all records, if no column holds it.
    :param shared: What all records share, as the API has it.
    :param allow_anonymous: Whether a record may lack an identity.
    :param allow_missing_timestamp: Whether the timestamp may be NULL.
    :param drops_invalid_properties: Whether a property that FullStory would leave out is left out here.
    :raises FullStoryInputError: Naming the argument that cannot be right.
    """
    import pendulum

    try:
        zone = pendulum.timezone(arguments.timezone)
    except (ValueError, KeyError, OSError):
        raise FullStoryInputError(
            f"timezone is {arguments.timezone[:200]!r}; it must be a name such as 'UTC' or 'Europe/Berlin'."
        ) from None
    schema = arguments.schema or {}
    check_types(schema)
    own = MappingOptions(
        kind,
        name=name,
        mapping=arguments.mapping or {},
        zone=zone,
        schema=schema,
        allow_anonymous=allow_anonymous,
        allow_missing_timestamp=allow_missing_timestamp,
        drops_invalid_properties=drops_invalid_properties,
        record_key=_names(arguments.record_key),
        excluded=_names(arguments.exclude_columns),
        json_columns=_names(arguments.json_columns),
        insert_id=_names(arguments.insert_id or ()),
    )
    return dataclasses.replace(own, shared=shared_part(shared, own))


def _names(names: str | Sequence[str]) -> Sequence[str]:
    """Return the names of columns that an argument gives, one of them as text."""
    return [names] if isinstance(names, str) else names
