"""
From a source to records.

Rows of a query share their columns: the mapping is compiled once, and columns that go to no field are refused
before the first row is read. Records (dicts) may each have other keys: they are flattened into columns, and
those of a chunk with the same keys are mapped together. A record with a key that goes to no field is refused
alone.
"""

from __future__ import annotations

import dataclasses
import itertools
import operator
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_fullstory.exceptions import FullStoryInputError, FullStoryMappingError
from airflow_provider_fullstory.records import rules
from airflow_provider_fullstory.records.column_mapping import ColumnMapping, Row
from airflow_provider_fullstory.records.flattening import Flattening, RecordGroup
from airflow_provider_fullstory.records.mapped_chunk import MappedChunk
from airflow_provider_fullstory.records.refusals import REQUIRED_FIELD
from airflow_provider_fullstory.records.targets import missing_columns, targets_of
from airflow_provider_fullstory.records.timestamps import TimestampSummary
from airflow_provider_fullstory.sources import CHUNK_ROWS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import msgspec

    from airflow_provider_fullstory.records.kind import RecordKind
    from airflow_provider_fullstory.records.options import MappingOptions
    from airflow_provider_fullstory.records.rules import Rule

#: Sets of columns whose mapping is kept.
_MOST_COMPILED: Final = 256


def map_rows(
    columns: Sequence[str], chunks: Iterable[Sequence[Row]], options: MappingOptions
) -> Iterator[MappedChunk]:
    """
    Map rows that share their columns.

    :param columns: Names of the columns.
    :param chunks: Rows, a few hundred at a time.
    :param options: The options of the mapping.
    :raises FullStoryMappingError: At the call, before the first row: naming each column that goes to no
        field.
    """
    mapping = ColumnMapping(columns, options, options.insert_id_paths())
    if problems := missing_columns(columns, options) + mapping.problems:
        raise FullStoryMappingError(
            f"The query's columns do not make {options.kind.resource}:\n"
            + "\n".join(f"- {problem}." for problem in problems)
        )
    options.check()
    if mapping.has_objects:
        # The keys of objects differ from row to row, as those of records do.
        rows = (dict(zip(columns, row, strict=True)) for chunk in chunks for row in chunk)
        return map_records(rows, options)
    return _map_rows(mapping, chunks)


def targets_of_rows(columns: Sequence[str], options: MappingOptions) -> dict[str, str]:
    """Return the path of the API that each column goes to."""
    targets, _ = targets_of(columns, options)
    return {columns[index]: ".".join(path) for path, index in targets.items()}


def _map_rows(mapping: ColumnMapping, chunks: Iterable[Sequence[Row]]) -> Iterator[MappedChunk]:
    position = 1
    for rows in chunks:
        yield mapping.map(rows, range(position, position + len(rows)))
        position += len(rows)


def map_records(records: Iterable[Any], options: MappingOptions) -> Iterator[MappedChunk]:
    """
    Map records.

    :param records: Mappings, flat with dotted keys or nested as FullStory's API has them. Anything else among
        them is refused alone, such as what a source could not read.
    :param options: The options of the mapping.
    :raises FullStoryMappingError: At the call: if the options cannot be right for any record.
    """
    options.check()
    return _map_records(records, options)


def _map_records(records: Iterable[Any], options: MappingOptions) -> Iterator[MappedChunk]:
    flattening = Flattening(options.kind, options.mapping, options.excluded)
    insert_id_paths = options.insert_id_paths()
    compiled: dict[tuple[str, ...], ColumnMapping] = {}
    # Flattening has done what the mapping says.
    json_columns = list(map(".".join, options.json_paths()))
    options = dataclasses.replace(options, mapping={}, excluded=(), json_columns=json_columns)

    def mapped(group: RecordGroup) -> MappedChunk:
        if group.columns not in compiled:
            if len(compiled) >= _MOST_COMPILED:
                compiled.clear()
            compiled[group.columns] = ColumnMapping(group.columns, options, insert_id_paths)
        mapping = compiled[group.columns]
        refusal = group.refusal
        if refusal is None and mapping.problems:
            refusal = rules.MISPLACED.refusal(problem=mapping.problems[0].replace("column", "key", 1))
        return mapping.map(group.rows, group.positions, refusal, group.refused_values)

    numbered = enumerate(records, start=1)
    while chunk := list(itertools.islice(numbered, CHUNK_ROWS)):
        groups, invalid = flattening.groups(chunk)
        yield _in_order([*map(mapped, groups), MappedChunk([], [], invalid)])


def _in_order(chunks: Sequence[MappedChunk]) -> MappedChunk:
    """Return one chunk with all that several have, in the order of the source."""
    by_position = operator.itemgetter(0)
    sent = [
        (position, record, insert_id)
        for chunk in chunks
        for position, record, insert_id in zip(
            chunk.positions, chunk.records, chunk.insert_ids or [0] * len(chunk.records), strict=True
        )
    ]
    sent.sort(key=by_position)
    invalid = [record for chunk in chunks for record in chunk.invalid]
    invalid.sort(key=operator.attrgetter("position"))
    timestamps = sum((chunk.timestamps for chunk in chunks), TimestampSummary())
    insert_ids = [insert_id for *_, insert_id in sent] if any(chunk.insert_ids for chunk in chunks) else ()
    return MappedChunk(
        [record for _, record, _ in sent],
        [position for position, *_ in sent],
        invalid,
        timestamps,
        insert_ids,
        {position: left_out for chunk in chunks for position, left_out in chunk.dropped.items()},
    )


def shared_part(shared: Mapping[str, Any] | None, options: MappingOptions) -> msgspec.Struct | None:
    """
    Return the request's ``shared`` object, None if its records share nothing.

    :param shared: What they share, as the API has it.
    :param options: The options of the mapping.
    :raises FullStoryInputError: Naming what cannot be shared.
    """
    if not shared:
        return None
    kind = options.kind
    names = () if kind.shared is None else kind.shared.__struct_fields__
    unknown = sorted(map(str, set(shared) - set(names)))
    if kind.shared is None or unknown:
        raise FullStoryInputError(
            f"shared has {', '.join(map(repr, unknown))}; {kind.resource} can share only "
            f"{', '.join(names) or 'nothing'}."
        )
    own = dataclasses.replace(
        options,
        kind=_shared_kind(kind, kind.shared),
        name=None,
        mapping={},
        schema={},
        record_key=(),
        excluded=(),
        json_columns=(),
        insert_id=(),
    )
    [chunk] = map_records([shared], own)
    if chunk.invalid:
        raise FullStoryInputError(f"shared cannot be sent: {chunk.invalid[0].refusal.reason}.")
    part = chunk.records[0]
    return None if part == kind.shared() else part


def _shared_kind(kind: RecordKind, struct: type[msgspec.Struct]) -> RecordKind:
    """Return what records share as a kind of its own, to which no rule about a whole record applies."""
    identity = kind.identity

    def broken(given: frozenset[str]) -> Rule | None:
        rule = None if identity is None else identity.broken(given)
        # A record may still bring what is missing, such as the user that a shared session asks for.
        return None if rule is None or rule.code == REQUIRED_FIELD else rule

    return dataclasses.replace(
        kind,
        struct=struct,
        property_roots={
            root: schema for root, schema in kind.property_roots.items() if root in struct.__struct_fields__
        },
        identity=None if identity is None else dataclasses.replace(identity, broken=broken),
        name=None,
        timestamp=None,
    )
