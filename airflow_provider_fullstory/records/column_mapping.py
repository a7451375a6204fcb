"""
From columns to records: compiled once for each set of columns, applied to chunks of rows.

A compiled mapping is a tree like the record itself: groups (``user``, ``context.browser``, ``properties``)
and columns as its leaves. It works column by column, since checks and conversions of a column run in C.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
from msgspec import UNSET

from airflow_provider_fullstory.records import rules
from airflow_provider_fullstory.records.columns import Column, convert_column, property_column
from airflow_provider_fullstory.records.documents import documents_of
from airflow_provider_fullstory.records.insert_ids import (
    INSERT_ID_BYTES,
    ids_of_records,
    ids_of_values,
    keyed_ids,
    keys_of_records,
)
from airflow_provider_fullstory.records.mapped_chunk import LeftOut, MappedChunk
from airflow_provider_fullstory.records.property_limits import (
    drop_invalid,
    drop_surplus,
    oversized,
    too_many,
)
from airflow_provider_fullstory.records.refusals import InvalidRecord, Refusal
from airflow_provider_fullstory.records.refused_records import refused_record
from airflow_provider_fullstory.records.rules import quoted
from airflow_provider_fullstory.records.schema import misfits, record_types, schemas, types_of_what_is_sent
from airflow_provider_fullstory.records.targets import targets_of
from airflow_provider_fullstory.records.timestamps import TimestampSummary, summary
from airflow_provider_fullstory.records.values import unwrapped

if TYPE_CHECKING:
    from airflow_provider_fullstory.records.fields import Path
    from airflow_provider_fullstory.records.kind import Identity, RecordKind, RequiredField
    from airflow_provider_fullstory.records.limits import PropertyLimits
    from airflow_provider_fullstory.records.options import MappingOptions

Row = Sequence[Any]


class ColumnMapping:
    """
    Turn rows of one set of columns into records.

    :param columns: Names of the columns, in the order of the values of a row.
    :param options: The options of the mapping.
    :param insert_id_paths: Path of each column of the insert id, if one is made of columns.
    """

    def __init__(
        self, columns: Sequence[str], options: MappingOptions, insert_id_paths: Sequence[Path] = ()
    ) -> None:
        self.options = options
        self._insert_id_paths = insert_id_paths
        self.columns = columns
        self.targets, self.problems = targets_of(columns, options)
        unused = sorted(set(range(len(columns))) - set(self.targets.values()))
        unused = [index for index in unused if not options.is_excluded(columns[index])]
        self._dropped = {
            index: f"property {quoted(columns[index])}: {problem}"
            for index in unused
            if (problem := options.dropped_because(columns[index]))
        }
        self._misplaced = [index for index in unused if index not in self._dropped]
        self.has_objects = any(".".join(path) in options.kind.objects for path in self.targets)
        trees = {} if self.has_objects else _trees(self.targets)
        documents = frozenset(map(_folded, options.json_paths()))
        self._parts = {root: _part((root,), tree, options.kind, documents) for root, tree in trees.items()}

    def map(
        self,
        rows: Sequence[Row],
        positions: Sequence[int],
        refusal: Refusal | None = None,
        refused_values: Iterable[tuple[Path, Any]] = (),
    ) -> MappedChunk:
        """
        Return the records of a chunk, and the rows that cannot be sent.

        :param rows: Rows with as many values as there are columns.
        :param positions: The place of each row in the source.
        :param refusal: Why the rows cannot be sent, if that is known.
        :param refused_values: Values of the first row outside its columns, and the field of each.
        """
        if refusal is not None and self.options.drops_invalid_properties:
            # Of what is not sent, nothing is left out.
            return self._whole.map(rows, positions, refusal, refused_values)
        # Without rows there are no columns to take apart.
        columns = list(zip(*rows, strict=True)) or [()] * len(self.columns)
        chunk = _Chunk(columns, len(rows), self.options)
        if refusal is not None:
            chunk.refuse(dict.fromkeys(range(len(rows)), refusal))
            self._keep_misplaced(chunk, refused_values)
        for index, reason in self._dropped.items():
            given = enumerate(map(unwrapped, columns[index]))
            chunk.drop((row, reason) for row, value in given if value is not None)
        records, timestamps = self._records(chunk)
        for path in self._insert_id_paths:
            self._check_insert_id(path, chunk)
        if not chunk.refusals:
            return MappedChunk(
                records,
                positions,
                [],
                _summary(timestamps),
                self._insert_ids(chunk, records),
                self._left_out(chunk, rows, positions),
            )
        return MappedChunk(
            sent := chunk.without_refused(records),
            chunk.without_refused(positions),
            [
                InvalidRecord(positions[row], chunk.refusals[row], record)
                for row, record in self._refused(chunk, rows, records)
            ],
            _summary(None if timestamps is None else chunk.without_refused(timestamps)),
            self._insert_ids(chunk, sent),
            self._left_out(chunk, rows, positions),
        )

    @functools.cached_property
    def _whole(self) -> ColumnMapping:
        """The same mapping, which drops nothing."""
        options = dataclasses.replace(self.options, drops_invalid_properties=False)
        return ColumnMapping(self.columns, options, self._insert_id_paths)

    def _written_whole(self, row: Row) -> Any:
        """Return the record of a row as it is written down, with the properties that would be dropped."""
        [written] = self._whole.map([row], [0], rules.MISPLACED.refusal(problem="")).invalid
        return written.record

    def _left_out(self, chunk: _Chunk, rows: Sequence[Row], positions: Sequence[int]) -> dict[int, LeftOut]:
        """Return which properties are left out of the records that can be sent, by position."""
        reasons: dict[int, list[str]] = {}
        for row, reason in chunk.dropped_properties:
            if row not in chunk.refusals:
                reasons.setdefault(row, []).append(reason)
        return {
            positions[row]: LeftOut(why, functools.partial(self._written_whole, rows[row]))
            for row, why in reasons.items()
        }

    def _insert_ids(self, chunk: _Chunk, sent: Sequence[msgspec.Struct]) -> Sequence[int]:
        if not self.options.insert_id or not sent:
            return ()
        if self.options.is_insert_id_whole:
            ids = ids_of_records(sent, self.options.shared_json)
            if self.options.insert_id_bytes == INSERT_ID_BYTES:
                return ids
            return keyed_ids(keys_of_records(self.options.kind.upsert_key, sent), ids)
        columns = [chunk.leaves[path].values for path in self._insert_id_paths]
        return ids_of_values(
            [chunk.without_refused(values) for values in columns] if chunk.refusals else columns
        )

    def _check_insert_id(self, path: Path, chunk: _Chunk) -> None:
        """Refuse records in which a part of the insert id is NULL: it would name many of them."""
        column = chunk.leaves.get(path)
        if column is not None and column.is_full:
            return
        missing = rules.NO_INSERT_ID.refusal(field=".".join(path))
        values = [UNSET] * chunk.rows if column is None else column.values
        chunk.refuse({row: missing for row, value in enumerate(values) if value is UNSET})

    def _records(self, chunk: _Chunk) -> tuple[list[msgspec.Struct], Sequence[Any] | None]:
        """Return a record for each row, without the values that were refused, and the timestamps of all."""
        kind, nothing = self.options.kind, [UNSET] * chunk.rows
        for part in self._parts.values():
            part.convert(chunk)
        if kind.property_limits is not None:
            self._check_property_count(kind.property_limits, chunk)
        built = {root: part.build(chunk) for root, part in self._parts.items()}
        values: dict[str, Sequence[Any]] = {root: column.values for root, column in built.items()}
        if kind.name is not None:
            values[kind.name.path] = self._names(kind.name, built, chunk)
        for root, schema in kind.property_roots.items():
            values[schema] = self._schemas(root, built.get(schema), chunk)
        if kind.identity is not None:
            self._check_identities(kind.identity, chunk)
        if kind.timestamp is not None:
            self._check_timestamps(kind.timestamp, built, chunk)
        records = list(map(kind.struct, *(values.get(root, nothing) for root in kind.members[()])))
        return records, None if kind.timestamp is None else values.get(kind.timestamp.path, nothing)

    def _refused(
        self, chunk: _Chunk, rows: Sequence[Row], records: Sequence[msgspec.Struct]
    ) -> Iterator[tuple[int, Any]]:
        """Yield each row that is refused, and its record as it is written down."""
        options = self.options
        trimmed = {row for row, _ in chunk.dropped_properties}
        for row in sorted(chunk.refusals):
            if row in trimmed:
                yield row, self._written_whole(rows[row])
            else:
                values = chunk.refused_values.get(row, ())
                yield row, refused_record(options.kind, records[row], values, options.zone, options.schema)

    def _keep_misplaced(self, chunk: _Chunk, refused_values: Iterable[tuple[Path, Any]]) -> None:
        """Keep the values that go to no field, for the records as they are written down."""
        for row in range(chunk.rows):
            for index in self._misplaced:
                chunk.keep(row, (self.columns[index],), chunk.columns[index][row])
        for path, value in refused_values:
            chunk.keep(0, path, value)

    def _names(self, field: RequiredField, built: Mapping[str, Column], chunk: _Chunk) -> Sequence[Any]:
        if field.path not in built:
            if self.options.name is None:
                chunk.refuse(dict.fromkeys(range(chunk.rows), field.missing.refusal()))
            return [self.options.name or UNSET] * chunk.rows
        names = built[field.path]
        if not names.is_full:
            missing = field.missing.refusal()
            chunk.refuse({row: missing for row, name in enumerate(names.values) if name is UNSET})
        return names.values

    def _schemas(self, root: str, own: Column | None, chunk: _Chunk) -> Sequence[Any]:
        """Return the types that each row declares for its properties."""
        kind = self.options.kind
        columns = {".".join(path[1:]): column for path, column in chunk.leaves.items() if path[0] == root}
        explicit = self.options.schema if root == kind.default_root else {}
        chunk.refuse(misfits(columns, explicit, own))
        if own is not None and self.options.drops_invalid_properties:
            own = types_of_what_is_sent(columns, own)
        if getattr(self.options.shared, kind.property_roots[root], UNSET) is not UNSET:
            # FullStory rejects records that have what is shared as well.
            return [UNSET] * chunk.rows
        return schemas(columns, explicit, own, chunk.rows)

    def _check_property_count(self, limits: PropertyLimits, chunk: _Chunk) -> None:
        """Refuse records with too many properties, or drop what is too much."""
        paths = sorted(path for path in chunk.leaves if path[0] in self.options.kind.property_roots)
        columns = {".".join(path): chunk.leaves[path] for path in paths}
        rows = too_many(columns, limits, chunk.rows)
        if self.options.drops_invalid_properties:
            chunk.drop(drop_surplus(columns, limits, rows))
        else:
            chunk.refuse(dict.fromkeys(rows, rules.TOO_MANY_PROPERTIES.refusal(most=limits.most)))

    def _check_timestamps(self, field: RequiredField, built: Mapping[str, Column], chunk: _Chunk) -> None:
        """Refuse NULLs: in FullStory the record would permanently have the time of the import."""
        column = built.get(field.path)
        if column is None or column.is_full or self.options.allow_missing_timestamp:
            return
        missing = field.missing.refusal()
        for row, moment in enumerate(column.values):
            if moment is UNSET and row not in column.refusals:
                chunk.refuse({row: missing})
                # Without the NULL, the record would be written down without a timestamp, which is allowed.
                chunk.keep(row, (field.path,), None)

    def _check_identities(self, identity: Identity, chunk: _Chunk) -> None:
        columns = {
            field: chunk.leaves[path]
            for field in identity.fields
            if (path := tuple(field.split("."))) in chunk.leaves
        }
        partial = {field: column for field, column in columns.items() if not column.is_full}
        given = {field for field in identity.fields if _has(self.options.shared, field)} | {
            field for field in columns if field not in partial
        }

        @functools.cache
        def refusal(*marks: bool) -> Refusal | None:
            broken = identity.broken(frozenset(given.union(itertools.compress(partial, marks))))
            is_allowed = broken is identity.anonymous and self.options.allow_anonymous
            return None if broken is None or is_allowed else broken.refusal()

        if not partial:
            if (broken := refusal()) is not None:
                chunk.refuse(dict.fromkeys(range(chunk.rows), broken))
            return
        for row, values in enumerate(zip(*(column.values for column in partial.values()), strict=True)):
            if (broken := refusal(*(value is not UNSET for value in values))) is not None:
                chunk.refuse({row: broken})


@dataclasses.dataclass(slots=True)
class _Chunk:
    """The state of one chunk on its way through the tree."""

    columns: Sequence[Sequence[Any]]
    rows: int
    options: MappingOptions
    refusals: dict[int, Refusal] = dataclasses.field(default_factory=dict)
    refused_values: dict[int, list[tuple[Path, Any]]] = dataclasses.field(default_factory=dict)
    leaves: dict[Path, Column] = dataclasses.field(default_factory=dict)
    dropped_properties: list[tuple[int, str]] = dataclasses.field(default_factory=list)

    def refuse(self, refusals: Mapping[int, Refusal]) -> None:
        """Keep the first refusal of each row."""
        for row, refusal in refusals.items():
            self.refusals.setdefault(row, refusal)

    def keep(self, row: int, path: Path, value: Any) -> None:
        """Keep a value that is not sent, for the record as it is written down."""
        self.refused_values.setdefault(row, []).append((path, value))

    def drop(self, dropped: Iterable[tuple[int, str]]) -> None:
        """Note properties that are left out: the row of each, and why."""
        self.dropped_properties.extend(dropped)

    def without_refused(self, items: Sequence[Any]) -> list[Any]:
        """Return the items of the rows that are not refused."""
        return [item for row, item in enumerate(items) if row not in self.refusals]


@dataclasses.dataclass(frozen=True, slots=True)
class _Leaf:
    path: Path
    index: int
    is_document: bool

    def convert(self, chunk: _Chunk) -> None:
        values = chunk.columns[self.index]
        column = chunk.leaves[self.path] = self._converted(values, chunk)
        chunk.refuse(column.refusals)
        for row in column.refusals:
            chunk.keep(row, self.path, values[row])

    def build(self, chunk: _Chunk) -> Column:
        return chunk.leaves[self.path]

    def _converted(self, values: Sequence[Any], chunk: _Chunk) -> Column:
        root, *rest = self.path
        kind = chunk.options.kind
        if root in kind.property_roots:
            return self._converted_property(".".join(rest), values, chunk)
        if root in kind.schema_roots:
            read = functools.partial(record_types, root, has_any_names=chunk.options.drops_invalid_properties)
            return convert_column(values, lambda value: (read(value), None))
        return kind.fields[".".join(self.path)].column(values, chunk.options.zone)

    def _converted_property(self, name: str, values: Sequence[Any], chunk: _Chunk) -> Column:
        options, limits = chunk.options, chunk.options.kind.property_limits
        declared = options.schema.get(name) if self.path[0] == options.kind.default_root else None
        convert = functools.partial(property_column, zone=options.zone, declared=declared)
        broken: dict[int, Refusal] = {}
        if self.is_document:
            values, broken = documents_of(name, values)
        column = convert(name, values)
        column.refusals.update(broken)
        if limits is not None and options.drops_invalid_properties:
            chunk.drop(drop_invalid(name, values, column, limits, convert))
        elif limits is not None:
            # Unlike a value that cannot be sent, it is in the record as that is written down.
            chunk.refuse(oversized(name, column, limits))
        return column


@dataclasses.dataclass(frozen=True, slots=True)
class _Group:
    struct: Callable[..., Any]
    members: tuple[_Leaf | _Group | None, ...]

    def convert(self, chunk: _Chunk) -> None:
        for member in self.members:
            if member is not None:
                member.convert(chunk)

    def build(self, chunk: _Chunk) -> Column:
        built = [member.build(chunk) if member else None for member in self.members]
        values = [column.values if column else itertools.repeat(UNSET, chunk.rows) for column in built]
        if any(column and column.is_full for column in built):
            return Column(list(map(self.struct, *values)), is_full=True)
        groups = [
            UNSET if all(value is UNSET for value in members) else self.struct(*members)
            for members in zip(*values, strict=True)
        ]
        return Column(groups, is_full=False)


#: Columns by the parts of their paths, as deep as these go.
_Tree: TypeAlias = "dict[str, int | _Tree]"


def _trees(targets: Mapping[Path, int]) -> _Tree:
    trees: _Tree = {}
    for path, index in targets.items():
        tree: Any = trees
        for part in path[:-1]:
            tree = tree.setdefault(part, {})
        tree[path[-1]] = index
    return trees


def _folded(path: Path) -> Path:
    return tuple(map(str.casefold, path))


def _part(path: Path, tree: int | _Tree, kind: RecordKind, documents: frozenset[Path]) -> _Leaf | _Group:
    if isinstance(tree, int):
        return _Leaf(path, tree, _folded(path) in documents)
    if path[0] in kind.property_roots:
        # Sorted, so that the order of the columns does not change the bytes.
        names: Sequence[str] = sorted(tree)
        struct = _property_struct(names)
    else:
        names, struct = kind.members[path], kind.structs[path]
    members = (_part((*path, name), tree[name], kind, documents) if name in tree else None for name in names)
    return _Group(struct, tuple(members))


def _property_struct(names: Sequence[str]) -> type[msgspec.Struct]:
    # Properties may be named like Python's keywords, fields of a struct may not.
    attributes = {f"property_{number}": name for number, name in enumerate(names)}
    return msgspec.defstruct(
        "Properties",
        [(attribute, Any, UNSET) for attribute in attributes],
        rename=attributes,
        omit_defaults=True,
        gc=False,
    )


def _summary(timestamps: Sequence[Any] | None) -> TimestampSummary:
    return TimestampSummary() if timestamps is None else summary(timestamps)


def _has(record: Any, field: str) -> bool:
    """Return whether a record, or what several have in common, fills a field."""
    for part in field.split("."):
        record = getattr(record, part, UNSET)
    return record is not UNSET
