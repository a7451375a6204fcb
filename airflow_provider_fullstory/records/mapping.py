"""
From columns to events: compiled once for each set of columns, applied to chunks of rows.

A compiled mapping is a tree like the event itself: groups (``user``, ``context.browser``, ``properties``) and
columns as its leaves. It works column by column, since checks and conversions of a whole column run in C.
"""

from __future__ import annotations

import dataclasses
import datetime
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import UNSET

from airflow_provider_fullstory.api.events import (
    Browser,
    Context,
    Device,
    Event,
    Location,
    Mobile,
    Session,
    Shared,
    User,
)
from airflow_provider_fullstory.exceptions import FullStoryMappingError
from airflow_provider_fullstory.records import rules
from airflow_provider_fullstory.records.columns import Column, convert_column, property_column
from airflow_provider_fullstory.records.drafts import draft
from airflow_provider_fullstory.records.fields import (
    PROPERTY_ROOTS,
    SCHEMA_ROOTS,
    Path,
    field_column,
    fields,
    objects,
    path_of,
)
from airflow_provider_fullstory.records.refusals import InvalidRecord, Refusal, ValueRefusedError
from airflow_provider_fullstory.records.rules import identity_refusal, quoted
from airflow_provider_fullstory.records.schema import misfits, record_types, schemas
from airflow_provider_fullstory.records.timestamps import TimestampSummary, summary

Row = Sequence[Any]

#: Columns that a message lists.
_MOST_NAMES: Final = 50


@dataclasses.dataclass(frozen=True, slots=True)
class MappingOptions:
    """
    What the user said about how a row becomes an event.

    :param event_name: Name of every event, where no column holds it.
    :param mapping: Path of the API -> name of the column.
    :param zone: What timestamps without an offset mean.
    :param schema: Dotted name of a property -> the type to declare for it.
    :param shared: What all events of a request have in common.
    :param allow_anonymous: Whether an event may have neither user nor session.
    :param allow_missing_timestamp: Whether an event may have no timestamp though its record has a place for
        one.
    :param record_key: Names of the columns that tell one record from another.
    :param checks_identity: Whether what is mapped are whole events, not what several of them share.
    """

    event_name: str | None = None
    mapping: Mapping[str, str] = dataclasses.field(default_factory=dict)
    zone: datetime.tzinfo = datetime.UTC
    schema: Mapping[str, str] = dataclasses.field(default_factory=dict)
    shared: Shared = dataclasses.field(default_factory=Shared)
    allow_anonymous: bool = False
    allow_missing_timestamp: bool = False
    record_key: Sequence[str] = ()
    checks_identity: bool = True

    def check(self) -> None:
        """
        Refuse what is wrong whatever the records are.

        :raises FullStoryMappingError: Naming what is wrong.
        """
        for path in self.mapping:
            _, problem = path_of(path)
            if problem:
                raise FullStoryMappingError(f"mapping has the key {quoted(path)}: {problem}.")
        self.key_paths()
        if self.event_name is not None:
            if not isinstance(self.event_name, str):
                raise FullStoryMappingError(f"event_name is {self.event_name!r}; it must be text.")
            try:
                fields()["name"](self.event_name, self.zone)
            except ValueRefusedError as error:
                raise FullStoryMappingError(f"event_name cannot be sent: {error}.") from None

    def key_paths(self) -> dict[str, list[str]]:
        """
        Return where the key columns go, by their names.

        :raises FullStoryMappingError: Where one goes nowhere.
        """
        paths = {}
        for name in self.record_key:
            field = next(
                (field for field, column in self.mapping.items() if column.casefold() == name.casefold()),
                name,
            )
            path, problem = path_of(field)
            if path is None:
                raise FullStoryMappingError(f"record_key has {quoted(name)}: {problem}.")
            paths[name] = list(path)
        return paths


@dataclasses.dataclass(slots=True)
class MappedChunk:
    """
    Events that can be sent, and the records that cannot, both in the order of the source.

    :param events: The events.
    :param positions: The place of each event in the source, from 1.
    :param invalid: The records that cannot be sent.
    :param timestamps: The timestamps of the events, at a glance.
    """

    events: list[Event]
    positions: Sequence[int]
    invalid: list[InvalidRecord]
    timestamps: TimestampSummary = dataclasses.field(default_factory=TimestampSummary)


@dataclasses.dataclass(slots=True)
class _Build:
    """The state of one chunk on its way through the tree."""

    columns: Sequence[Sequence[Any]]
    rows: int
    zone: datetime.tzinfo
    schema: Mapping[str, str]
    refusals: dict[int, Refusal] = dataclasses.field(default_factory=dict)
    refused_values: dict[int, list[tuple[Path, Any]]] = dataclasses.field(default_factory=dict)
    properties: dict[Path, Column] = dataclasses.field(default_factory=dict)

    def refuse(self, refusals: Mapping[int, Refusal]) -> None:
        """Keep the first refusal of each row."""
        for row, refusal in refusals.items():
            self.refusals.setdefault(row, refusal)

    def keep(self, row: int, path: Path, value: Any) -> None:
        """Keep a value that is not sent, for the record to be mended."""
        self.refused_values.setdefault(row, []).append((path, value))


@dataclasses.dataclass(frozen=True, slots=True)
class _Leaf:
    path: Path
    index: int

    def build(self, chunk: _Build) -> Column:
        values = chunk.columns[self.index]
        if self.path[0] in PROPERTY_ROOTS:
            name = ".".join(self.path[1:])
            declared = chunk.schema.get(name) if self.path[0] == "properties" else None
            column = property_column(name, values, chunk.zone, declared)
            chunk.properties[self.path] = column
        elif self.path[0] in SCHEMA_ROOTS:
            column = convert_column(values, lambda value: (record_types(self.path[0], value), None))
        else:
            column = field_column(".".join(self.path), values, chunk.zone)
        chunk.refuse(column.refusals)
        for row in column.refusals:
            chunk.keep(row, self.path, values[row])
        return column


@dataclasses.dataclass(frozen=True, slots=True)
class _Group:
    struct: Callable[..., Any]
    members: tuple[_Leaf | _Group | None, ...]

    def build(self, chunk: _Build) -> Column:
        built = [member.build(chunk) if member else None for member in self.members]
        values = [column.values if column else itertools.repeat(UNSET, chunk.rows) for column in built]
        if any(column and column.is_full for column in built):
            return Column(list(map(self.struct, *values)), is_full=True)
        groups = [
            UNSET if all(value is UNSET for value in members) else self.struct(*members)
            for members in zip(*values, strict=True)
        ]
        return Column(groups, is_full=False)


class ColumnMapping:
    """
    Turn rows of one set of columns into events.

    :param columns: Names of the columns, in the order of the values of a row.
    :param options: What the user said.
    """

    def __init__(self, columns: Sequence[str], options: MappingOptions) -> None:
        self.options = options
        self.columns = columns
        self.targets, self.problems = _targets(columns, options)
        self._misplaced = sorted(set(range(len(columns))) - set(self.targets.values()))
        self.has_objects = any(".".join(path) in objects() for path in self.targets)
        trees = {} if self.has_objects else _trees(self.targets)
        self._groups = {root: _group((root,), tree) for root, tree in trees.items()}

    def map(
        self,
        rows: Sequence[Row],
        positions: Sequence[int],
        refusal: Refusal | None = None,
        refused_values: Iterable[tuple[Path, Any]] = (),
    ) -> MappedChunk:
        """
        Return the events of a chunk, and why other rows have none.

        :param rows: Rows with as many values as there are columns.
        :param positions: The place of each row in the source.
        :param refusal: Why none of the rows can be sent, where that is known.
        :param refused_values: What the first row has besides its columns, and where each would go.
        """
        # Without rows there are no columns to take apart.
        columns = list(zip(*rows, strict=True)) or [()] * len(self.columns)
        chunk = _Build(columns, len(rows), self.options.zone, self.options.schema)
        if refusal is not None:
            chunk.refuse(dict.fromkeys(range(len(rows)), refusal))
            self._keep_misplaced(chunk, refused_values)
        built = {root: group.build(chunk) for root, group in self._groups.items()}
        parts = [
            self._names(built, chunk),
            *(_values(built, root, chunk) for root in ("timestamp", "user", "session", "context")),
            *itertools.chain.from_iterable(self._properties(built, root, chunk) for root in PROPERTY_ROOTS),
        ]
        if self.options.checks_identity:
            self._check_identities(built, chunk)
        self._check_timestamps(built, chunk)
        events = list(map(Event, *parts))
        timestamps = _values(built, "timestamp", chunk)
        if not chunk.refusals:
            return MappedChunk(events, positions, [], summary(timestamps))
        return MappedChunk(
            [event for row, event in enumerate(events) if row not in chunk.refusals],
            [position for row, position in enumerate(positions) if row not in chunk.refusals],
            [
                InvalidRecord(
                    positions[row],
                    chunk.refusals[row],
                    draft(events[row], chunk.refused_values.get(row, ()), chunk.zone, chunk.schema),
                )
                for row in sorted(chunk.refusals)
            ],
            summary([moment for row, moment in enumerate(timestamps) if row not in chunk.refusals]),
        )

    def _keep_misplaced(self, chunk: _Build, refused_values: Iterable[tuple[Path, Any]]) -> None:
        """Keep what goes to no field, for the records to be mended."""
        for row in range(chunk.rows):
            for index in self._misplaced:
                chunk.keep(row, (self.columns[index],), chunk.columns[index][row])
        for path, value in refused_values:
            chunk.keep(0, path, value)

    def _names(self, built: Mapping[str, Column], chunk: _Build) -> Sequence[Any]:
        if "name" not in built:
            if self.options.event_name is None:
                chunk.refuse(dict.fromkeys(range(chunk.rows), rules.NO_NAME.refusal()))
            return [self.options.event_name or UNSET] * chunk.rows
        names = built["name"]
        if not names.is_full:
            missing = rules.NO_NAME.refusal()
            chunk.refuse({row: missing for row, name in enumerate(names.values) if name is UNSET})
        return names.values

    def _properties(
        self, built: Mapping[str, Column], root: str, chunk: _Build
    ) -> tuple[Sequence[Any], Sequence[Any]]:
        """Return the properties of each row, and the types declared for them."""
        columns = {".".join(path[1:]): column for path, column in chunk.properties.items() if path[0] == root}
        explicit = self.options.schema if root == "properties" else {}
        own = built.get(SCHEMA_ROOTS[PROPERTY_ROOTS.index(root)])
        chunk.refuse(misfits(columns, explicit, own))
        schema = SCHEMA_ROOTS[PROPERTY_ROOTS.index(root)]
        if getattr(self.options.shared, schema, UNSET) is not UNSET:
            # FullStory refuses events that have what is shared as well.
            return _values(built, root, chunk), [UNSET] * chunk.rows
        return _values(built, root, chunk), schemas(columns, explicit, own, chunk.rows)

    def _check_timestamps(self, built: Mapping[str, Column], chunk: _Build) -> None:
        """Refuse NULLs: in FullStory the event would stand at the time of the import, for ever."""
        column = built.get("timestamp")
        if column is None or column.is_full or self.options.allow_missing_timestamp:
            return
        missing = rules.NO_TIMESTAMP.refusal()
        for row, moment in enumerate(column.values):
            if moment is UNSET and row not in column.refusals:
                chunk.refuse({row: missing})
                # Without it the record would be one that has no place for a timestamp.
                chunk.keep(row, ("timestamp",), None)

    def _check_identities(self, built: Mapping[str, Column], chunk: _Build) -> None:
        shared = self.options.shared
        user_fields = [path for path in self.targets if path[0] == "user"]
        if (
            len(user_fields) == 1
            and built["user"].is_full
            and "session" not in built
            and shared.session is UNSET
        ):
            # Each event has one user, and nothing else to be identified by.
            return
        users, sessions = _values(built, "user", chunk), _values(built, "session", chunk)
        for row, (user, session) in enumerate(zip(users, sessions, strict=True)):
            broken = identity_refusal(
                shared.user if user is UNSET else user,
                shared.session if session is UNSET else session,
                allow_anonymous=self.options.allow_anonymous,
            )
            if broken:
                chunk.refuse({row: broken.refusal()})


def _values(built: Mapping[str, Column], root: str, chunk: _Build) -> Sequence[Any]:
    return built[root].values if root in built else [UNSET] * chunk.rows


def _targets(columns: Sequence[str], options: MappingOptions) -> tuple[dict[Path, int], list[str]]:
    """Return the column of each path, and what is wrong with the columns or the mapping."""
    targets: dict[Path, int] = {}
    problems: list[str] = []
    inside: dict[Path, Path] = {}
    for name, index, path in _requests(columns, options.mapping, problems):
        other = _clash(path, targets, inside)
        if other is None:
            targets[path] = index
            inside |= {path[:depth]: path for depth in range(1, len(path)) if path[:depth] not in inside}
        else:
            problems.append(
                f"columns {quoted(columns[targets[other]])} and {quoted(name)} both go to "
                f"{quoted('.'.join(path))}; rename one of them in the query (AS), or map it"
            )
    if options.event_name is not None and ("name",) in targets:
        problems.append(
            f"event_name is set, and column {quoted(columns[targets.pop(('name',))])} holds a name too; "
            "leave out event_name, or rename the column to 'properties.name' if it is a property"
        )
    problems += [
        f"column {quoted(columns[targets.pop(path)])} goes to {path[0]!r}, which is in shared too; FullStory "
        "refuses events that have both"
        for path in list(targets)
        if getattr(options.shared, path[0], UNSET) is not UNSET
    ]
    return targets, problems


def _requests(
    columns: Sequence[str], mapping: Mapping[str, str], problems: list[str]
) -> Iterator[tuple[str, int, Path]]:
    """Yield each column with the path that the mapping or its own name asks for."""
    exact: dict[str, int] = {}
    folded: dict[str, int] = {}
    for index, name in enumerate(columns):
        if name in exact:
            problems.append(f"there are two columns {quoted(name)}; rename one of them in the query (AS)")
        exact.setdefault(name, index)
        folded.setdefault(name.casefold(), index)
    mapped: set[int] = set()
    for field, name in mapping.items():
        found = exact.get(name, folded.get(name.casefold()))
        path, problem = path_of(field)
        if problem or path is None:
            problems.append(f"mapping has the key {quoted(field)}: {problem}")
        elif found is not None:
            mapped.add(found)
            yield columns[found], found, path
    for index, name in enumerate(columns):
        if index in mapped or exact[name] != index:
            continue
        path, problem = path_of(name)
        if problem or path is None:
            problems.append(f"column {quoted(name)}: {problem}")
        else:
            yield name, index, path


def missing_columns(columns: Sequence[str], options: MappingOptions) -> list[str]:
    """
    Return a problem for each column that the user names and the source does not have.

    :param columns: Names of the columns.
    :param options: What the user said.
    """
    present = {name.casefold() for name in columns}
    names = ", ".join(map(quoted, columns[:_MOST_NAMES]))
    if len(columns) > _MOST_NAMES:
        names += f" and {len(columns) - _MOST_NAMES} more"
    named = [(f"mapping fills {quoted(field)} from column", name) for field, name in options.mapping.items()]
    named += [("record_key names column", name) for name in options.record_key]
    return [
        f"{use} {quoted(name)}, which the source does not have; its columns are {names}"
        for use, name in named
        if name.casefold() not in present
    ]


def _clash(path: Path, targets: Mapping[Path, int], inside: Mapping[Path, Path]) -> Path | None:
    """
    Return what fills the same as a path; an object's own column may leave room for others below it.

    :param path: The path.
    :param targets: Paths that are filled.
    :param inside: Objects around these, each with the first path inside it.
    """
    if path in targets:
        return path
    if path in inside and ".".join(path) not in objects():
        return inside[path]
    parents = (path[:depth] for depth in range(1, len(path)))
    return next((taken for taken in parents if taken in targets and ".".join(taken) not in objects()), None)


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


def _group(path: Path, tree: int | _Tree) -> _Leaf | _Group:
    if isinstance(tree, int):
        return _Leaf(path, tree)
    return _property_group(path, tree) if path[0] in PROPERTY_ROOTS else _field_group(path, tree)


_STRUCTS: dict[Path, type[msgspec.Struct]] = {
    ("user",): User,
    ("session",): Session,
    ("context",): Context,
    ("context", "browser"): Browser,
    ("context", "mobile"): Mobile,
    ("context", "device"): Device,
    ("context", "location"): Location,
}


def _field_group(path: Path, tree: _Tree) -> _Group:
    struct = _STRUCTS[path]
    return _Group(
        struct,
        tuple(
            _group((*path, member), tree[member]) if member in tree else None
            for member in struct.__struct_fields__
        ),
    )


def _property_group(path: Path, tree: _Tree) -> _Group:
    # Sorted, so that the order of the columns does not change the bytes.
    names = sorted(tree)
    # Properties may be named like Python's keywords, fields of a struct may not.
    attributes = {f"property_{number}": name for number, name in enumerate(names)}
    struct = msgspec.defstruct(
        "Properties",
        [(attribute, Any, UNSET) for attribute in attributes],
        rename=attributes,
        omit_defaults=True,
        gc=False,
    )
    return _Group(struct, tuple(_group((*path, name), tree[name]) for name in names))
