"""
From a source to events.

Rows of a query share their columns: the mapping is compiled once, and columns that fit nowhere are refused
before the first row is read. Records (dicts) may each have other keys: they are flattened into columns, those
of a chunk with the same keys are mapped together, and one that fits nowhere is refused alone.
"""

from __future__ import annotations

import dataclasses
import itertools
import operator
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from airflow_provider_fullstory.api.encoding import DECODER
from airflow_provider_fullstory.api.events import Shared
from airflow_provider_fullstory.exceptions import FullStoryInputError, FullStoryMappingError
from airflow_provider_fullstory.records import rules
from airflow_provider_fullstory.records.drafts import key_text, plain, unfolded
from airflow_provider_fullstory.records.fields import Path, objects
from airflow_provider_fullstory.records.mapping import (
    ColumnMapping,
    MappedChunk,
    MappingOptions,
    Row,
    missing_columns,
)
from airflow_provider_fullstory.records.refusals import (
    InvalidRecord,
    Refusal,
    ValueRefusedError,
)
from airflow_provider_fullstory.records.timestamps import TimestampSummary
from airflow_provider_fullstory.records.values import plain_key
from airflow_provider_fullstory.sources.chunks import CHUNK_ROWS
from airflow_provider_fullstory.sources.unreadable import Unreadable

_MOST_COMPILED = 256


def events_of_rows(
    columns: Sequence[str], chunks: Iterable[Sequence[Row]], options: MappingOptions
) -> Iterator[MappedChunk]:
    """
    Map rows that share their columns.

    :param columns: Names of the columns.
    :param chunks: Rows, a few hundred at a time.
    :param options: What the user said about how a row becomes an event.
    :raises FullStoryMappingError: At the call, before the first row: naming each column that fits nowhere.
    """
    mapping = ColumnMapping(columns, options)
    if problems := missing_columns(columns, options) + mapping.problems:
        raise FullStoryMappingError(
            "The query's columns do not make events:\n" + "\n".join(f"- {problem}." for problem in problems)
        )
    options.check()
    if mapping.has_objects:
        # The keys of objects differ from row to row, as those of records do.
        rows = (dict(zip(columns, row, strict=True)) for chunk in chunks for row in chunk)
        return events_of_records(rows, options)
    return _map_rows(mapping, chunks)


def targets_of_rows(columns: Sequence[str], options: MappingOptions) -> dict[str, str]:
    """
    Return where each column goes, as a path of the API.

    :param columns: Names of the columns.
    :param options: What the user said about how a row becomes an event.
    """
    targets = ColumnMapping(columns, options).targets
    return {columns[index]: ".".join(path) for path, index in targets.items()}


def _map_rows(mapping: ColumnMapping, chunks: Iterable[Sequence[Row]]) -> Iterator[MappedChunk]:
    position = 1
    for rows in chunks:
        yield mapping.map(rows, range(position, position + len(rows)))
        position += len(rows)


def events_of_records(records: Iterable[Any], options: MappingOptions) -> Iterator[MappedChunk]:
    """
    Map records.

    :param records: Mappings, flat with dotted keys or nested as FullStory's API has them. Anything else among
        them is refused alone, such as what a source could not read.
    :param options: What the user said about how a record becomes an event.
    :raises FullStoryMappingError: At the call: where the options cannot be right for any record.
    """
    options.check()
    return _map_records(records, options)


def _map_records(records: Iterable[Any], options: MappingOptions) -> Iterator[MappedChunk]:
    flatten = _Flattening(options.mapping)
    compiled: dict[tuple[str, ...], ColumnMapping] = {}
    # Flattening has done what the mapping says.
    options = dataclasses.replace(options, mapping={})

    def mapped(group: _Group) -> MappedChunk:
        if group.columns not in compiled:
            if len(compiled) >= _MOST_COMPILED:
                compiled.clear()
            compiled[group.columns] = ColumnMapping(group.columns, options)
        mapping = compiled[group.columns]
        refusal = group.refusal
        if refusal is None and mapping.problems:
            refusal = rules.MISPLACED.refusal(problem=mapping.problems[0].replace("column", "key", 1))
        return mapping.map(group.rows, group.positions, refusal, group.refused_values)

    # What an earlier import refused may come back as it was written down.
    numbered = enumerate(map(unfolded, records), start=1)
    while chunk := list(itertools.islice(numbered, CHUNK_ROWS)):
        groups, invalid = _grouped(chunk, flatten)
        yield _in_order([*map(mapped, groups), MappedChunk([], [], invalid)])


def _in_order(chunks: Sequence[MappedChunk]) -> MappedChunk:
    """Return one chunk with all that several have, in the order of the source."""
    by_position = operator.itemgetter(0)
    sent = [pair for chunk in chunks for pair in zip(chunk.positions, chunk.events, strict=True)]
    sent.sort(key=by_position)
    invalid = [record for chunk in chunks for record in chunk.invalid]
    invalid.sort(key=operator.attrgetter("position"))
    timestamps = sum((chunk.timestamps for chunk in chunks), TimestampSummary())
    return MappedChunk([event for _, event in sent], [position for position, _ in sent], invalid, timestamps)


def shared_part(shared: Mapping[str, Any] | None, options: MappingOptions) -> Shared:
    """
    Return the request's ``shared`` object.

    :param shared: Any of user, session, context, page_properties and page_properties_schema, as the API has
        them.
    :param options: What the user said about how a record becomes an event.
    :raises FullStoryInputError: Naming what cannot be shared.
    """
    if not shared:
        return Shared()
    unknown = sorted(map(str, set(shared) - set(Shared.__struct_fields__)))
    if unknown:
        raise FullStoryInputError(
            f"shared has {', '.join(map(repr, unknown))}; events can share only "
            f"{', '.join(Shared.__struct_fields__)}."
        )
    options = dataclasses.replace(
        options, event_name="shared", mapping={}, schema={}, record_key=(), checks_identity=False
    )
    [chunk] = events_of_records([shared], options)
    refusals = [record.refusal for record in chunk.invalid] or [
        rule.refusal()
        for event in chunk.events
        # Each event may still bring the user that a shared session asks for.
        if (rule := rules.identity_refusal(event.user, event.session, allow_anonymous=True))
        and rule is not rules.RECENT_SESSION_OF_NOBODY
    ]
    if refusals:
        raise FullStoryInputError(f"shared cannot be sent: {refusals[0].reason}.")
    return Shared(*(getattr(chunk.events[0], field) for field in Shared.__struct_fields__))


@dataclasses.dataclass(slots=True)
class _Group:
    """Records with the same columns, or one that is refused while it is flattened."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    positions: list[int]
    refusal: Refusal | None = None
    refused_values: Sequence[tuple[Path, Any]] = ()


class _Flattening:
    """
    Turn a record into columns and values.

    :param mapping: Path of the API -> key of the record.
    """

    def __init__(self, mapping: Mapping[str, str]) -> None:
        self._paths: dict[str, list[str]] = {}
        for path, key in mapping.items():
            self._paths.setdefault(key, []).append(path)
        self._has_timestamp = any(path.casefold() == "timestamp" for path in mapping)
        self._keys = {key.casefold(): key for key in self._paths}
        #: Columns of records whose keys each go to one place, whatever the values are.
        self._plain: dict[tuple[Any, ...], tuple[str, ...]] = {}
        self._known_members: dict[tuple[str, tuple[Any, ...]], tuple[Sequence[str], bool]] = {}

    def __call__(self, record: Mapping[Any, Any], position: int) -> _Group:
        keys = tuple(record)
        if (columns := self._plain.get(keys)) is not None:
            return _Group(columns, [tuple(record.values())], [position])
        group = self._flattened(record, position)
        if group.refusal is None and self._is_plain(record, group.columns):
            if len(self._plain) >= _MOST_COMPILED:
                self._plain.clear()
            self._plain[keys] = group.columns
        return group

    def _is_plain(self, record: Mapping[Any, Any], columns: tuple[str, ...]) -> bool:
        return (
            len(columns) == len(record)
            and all(type(key) is str for key in record)
            and not any(path.casefold() in objects() for key in record for path in self._targets(key, record))
        )

    def _flattened(self, record: Mapping[Any, Any], position: int) -> _Group:
        pairs: list[tuple[str, Any]] = []
        refusal: Refusal | None = None
        refused: list[tuple[Path, Any]] = []
        for given, value in record.items():
            try:
                key = plain_key("a record", given)
            except ValueRefusedError as error:
                refusal = refusal or error.refusal
                refused.append(((key_text(given),), value))
                continue
            for path in self._targets(key, record):
                try:
                    pairs.extend(self._expanded(path, value))
                except ValueRefusedError as error:
                    refusal = refusal or error.refusal
                    refused.append((tuple(path.casefold().split(".")), value))
        if self._has_timestamp and not any(path.casefold() == "timestamp" for path, _ in pairs):
            # A key that the user names is missing as a column is that is NULL.
            pairs.append(("timestamp", None))
        columns = tuple(path for path, _ in pairs)
        return _Group(columns, [tuple(value for _, value in pairs)], [position], refusal, refused)

    def _targets(self, key: str, record: Container[Any]) -> Sequence[str]:
        """Return where a key goes; a mapped key is matched without case where it is not there exactly."""
        if key in self._paths:
            return self._paths[key]
        mapped = self._keys.get(key.casefold())
        return (key,) if mapped is None or mapped in record else self._paths[mapped]

    def _expanded(self, path: str, value: Any) -> Iterable[tuple[str, Any]]:
        if path.casefold() not in objects():
            return ((path, value),)
        members = _object(path, value)
        paths, has_objects = self._members(path, tuple(members))
        pairs = zip(paths, members.values(), strict=True)
        if not has_objects:
            return pairs
        return [leaf for inner, item in pairs for leaf in self._expanded(inner, item)]

    def _members(self, path: str, keys: tuple[Any, ...]) -> tuple[Sequence[str], bool]:
        """Return the paths of an object's members, and whether one of them may be an object itself."""
        known = self._known_members.get((path, keys))
        if known is None:
            paths = [f"{path}.{plain_key(path, key)}" for key in keys]
            known = paths, any(inner.casefold() in objects() for inner in paths)
            if all(type(key) is str for key in keys):
                if len(self._known_members) >= _MOST_COMPILED:
                    self._known_members.clear()
                self._known_members[path, keys] = known
        return known


def _object(path: str, value: Any) -> Mapping[Any, Any]:
    """Return an object; some databases give their JSON as text."""
    if isinstance(value, str):
        try:
            value = DECODER.decode(str.__str__(value))
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError, ArithmeticError):
            raise rules.NOT_AN_OBJECT.broken(field=path, kind="text that is no JSON") from None
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise rules.NOT_AN_OBJECT.broken(field=path, kind=type(value).__name__)
    return value


def _grouped(
    records: Iterable[tuple[int, Any]], flatten: _Flattening
) -> tuple[list[_Group], list[InvalidRecord]]:
    """Return groups of records with the same columns, and what is no record at all."""
    groups: dict[tuple[str, ...], _Group] = {}
    refused: list[_Group] = []
    invalid: list[InvalidRecord] = []
    for position, record in records:
        if not isinstance(record, Mapping):
            invalid.append(_no_record(record, position))
            continue
        one = flatten(record, position)
        if one.refusal is not None:
            refused.append(one)
        elif (group := groups.get(one.columns)) is not None:
            group.rows += one.rows
            group.positions.append(position)
        else:
            groups[one.columns] = one
    return [*groups.values(), *refused], invalid


def _no_record(value: Any, position: int) -> InvalidRecord:
    if isinstance(value, Unreadable):
        refusal = (
            rules.UNREADABLE_JSON.refusal(line=value.line)
            if value.problem is None
            else rules.NOT_JSON.refusal(line=value.line, problem=value.problem)
        )
        return InvalidRecord(position, refusal, value.text)
    kind = type(value).__name__
    return InvalidRecord(position, rules.NOT_A_RECORD.refusal(kind=kind), plain(value))
