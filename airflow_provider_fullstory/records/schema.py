"""The ``schema`` of a record: types for properties that FullStory would infer otherwise."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from itertools import chain
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET

from airflow_provider_fullstory.exceptions import FullStoryInputError
from airflow_provider_fullstory.records import rules
from airflow_provider_fullstory.records.columns import Column
from airflow_provider_fullstory.records.documents import document
from airflow_provider_fullstory.records.rules import property_name_problem, quoted
from airflow_provider_fullstory.records.timestamps import is_timestamp

if TYPE_CHECKING:
    from airflow_provider_fullstory.records.property_values import Types
    from airflow_provider_fullstory.records.refusals import Refusal


def _is_date(value: Any) -> bool:
    return is_timestamp(value) if isinstance(value, str) else isinstance(value, datetime.date)


_SCALARS: dict[str, Callable[[Any], bool]] = {
    "str": lambda value: isinstance(value, (str, uuid.UUID, datetime.date)),
    "int": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "real": lambda value: isinstance(value, (int, float, Decimal)) and not isinstance(value, bool),
    "bool": lambda value: isinstance(value, bool),
    "date": _is_date,
}

#: The types that a property can be declared as (developer.fullstory.com/server/custom-properties).
TYPES = tuple(name + plural for name in _SCALARS for plural in ("", "s"))


def check_types(types: Mapping[str, str], argument: str = "schema") -> None:
    """
    Refuse declarations that FullStory would not take.

    :param types: Dotted name of a property -> its type.
    :param argument: Name of the argument that declares them.
    :raises FullStoryInputError: Naming the property.
    """
    if not isinstance(types, Mapping):
        raise FullStoryInputError(
            f'{argument} must have the form {{"quantity": "int"}}, and is {type(types).__name__}.'
        )
    for name, kind in types.items():
        if not isinstance(name, str):
            raise FullStoryInputError(f"{argument} declares {name!r}, which is not text.")
        if problem := property_name_problem(name):
            raise FullStoryInputError(f"{argument} declares {quoted(name)}: {problem}.")
        if kind not in TYPES:
            raise FullStoryInputError(
                f"{argument} declares {quoted(name)} as {kind!r}; the types are {', '.join(TYPES)}."
            )


def record_types(root: str, value: Any, *, has_any_names: bool = False) -> Types:
    """
    Return the types that a record declares itself.

    :param root: The field that declares them, such as ``schema``.
    :param value: What the record has there: ``{"properties": {"quantity": "int"}}``, or the same as text.
    :param has_any_names: Whether names may be those of properties that are dropped.
    :raises ValueRefusedError: If it has another form.
    """
    if isinstance(value, str):
        # Some databases give their JSON as text.
        with suppress(ValueError):
            value = document(value)
    types = value.get("properties") if isinstance(value, Mapping) else None
    if not isinstance(types, Mapping) or len(value) != 1:
        raise rules.SCHEMA_FORM.broken(field=root)
    for name, kind in types.items():
        if not isinstance(name, str) or (property_name_problem(name) and not has_any_names):
            raise rules.SCHEMA_NAME.broken(field=root)
        if kind not in TYPES:
            raise rules.SCHEMA_TYPE.broken(field=root, types=", ".join(TYPES))
    return tuple(types.items())


def schemas(
    columns: Mapping[str, Column], explicit: Mapping[str, str], own: Column | None, rows: int
) -> Sequence[Any]:
    """
    Return the types that each row declares, UNSET for none.

    Only properties that a row has are declared. What a record declares itself counts before what the
    user declared for the import, and that before what follows from the values.

    :param columns: Converted properties by dotted name.
    :param explicit: Dotted name of a property -> its type, as the user declared it for the import.
    :param own: What the records declare themselves.
    :param rows: Number of rows.
    """
    always: list[Types] = []
    # What comes later counts.
    types: list[Iterable[Types]] = []
    for name, column in columns.items():
        if name not in explicit and column.declared is None:
            continue
        types_of_rows = column.types(name, explicit.get(name))
        if column.is_uniform and types_of_rows:
            always.append(types_of_rows[0])
        else:
            types.append(types_of_rows)
    types += [place.types() for place in _places(columns, explicit) if place.rest]
    if own is not None:
        types.append([_own(own, row) for row in range(rows)])
    if not types:
        return [_encoded(tuple(chain.from_iterable(always)))] * rows
    encoded = functools.cache(lambda types_of_row: _encoded(tuple(chain(*always, *types_of_row))))
    return list(map(encoded, zip(*types, strict=True)))


def types_of_what_is_sent(columns: Mapping[str, Column], own: Column) -> Column:
    """
    Return the types that records declare themselves, without those of properties that they do not have.

    :param columns: Converted properties by dotted name.
    :param own: What the records declare.
    """
    places = functools.cache(lambda types: list(_places(columns, dict(types))))
    kept = []
    for row in range(len(own.values)):
        declared = _own(own, row)
        had = {place.name for place in places(declared) if place.value(row) is not UNSET}
        kept.append(tuple(pair for pair in declared if pair[0] in had) or UNSET)
    return Column(kept, is_full=UNSET not in kept)


def misfits(
    columns: Mapping[str, Column], explicit: Mapping[str, str], own: Column | None
) -> dict[int, Refusal]:
    """
    Return the rows with values that are not of the type declared for them.

    :param columns: Converted properties by dotted name.
    :param explicit: Dotted name of a property -> its type, as the user declared it for the import.
    :param own: What the records declare themselves, which counts first.
    """
    declared: dict[Types, list[int]] = {}
    for row in range(len(own.values) if own else 0):
        declared.setdefault(_own(own, row), []).append(row)
    refused = _misfits(columns, explicit, own) if explicit else {}
    members = _members(columns) if declared else {}
    for types, rows in declared.items():
        for place in _places(columns, dict(types)):
            refused |= _refused_at(place, rows)
        for name, kind in types:
            refused |= _refused_as_object(name, kind, members.get(name, ()), rows)
    return refused


def _misfits(
    columns: Mapping[str, Column], explicit: Mapping[str, str], own: Column | None
) -> dict[int, Refusal]:
    refused: dict[int, Refusal] = {}
    overridden: dict[str, set[int]] = {}
    for row in range(len(own.values) if own else 0):
        for name, _ in _own(own, row):
            overridden.setdefault(name, set()).add(row)
    for place in _places(columns, explicit):
        rows = set(range(len(place.column.values))) - overridden.get(place.name, set())
        refused |= _refused_at(place, rows)
    return refused


def _refused_at(place: _Place, rows: Iterable[int]) -> dict[int, Refusal]:
    return {
        row: rules.NOT_AS_DECLARED.refusal(name=quoted(place.name), declared=place.kind)
        for row in rows
        if (value := place.value(row)) is not UNSET and not _fits(value, place.kind)
    }


def _refused_as_object(
    name: str, kind: str, members: Sequence[Column], rows: Iterable[int]
) -> dict[int, Refusal]:
    """Return the rows that declare a type for what is an object: its members are columns."""
    if not members:
        return {}
    refusal = rules.NOT_AS_DECLARED.refusal(name=quoted(name), declared=kind)
    return {row: refusal for row in rows if any(column.values[row] is not UNSET for column in members)}


def _members(columns: Mapping[str, Column]) -> dict[str, list[Column]]:
    """Return the columns inside each object, by its dotted name."""
    members: dict[str, list[Column]] = {}
    for name, column in columns.items():
        parts = name.split(".")
        for depth in range(1, len(parts)):
            members.setdefault(".".join(parts[:depth]), []).append(column)
    return members


@dataclasses.dataclass(frozen=True, slots=True)
class _Place:
    """The place of the values of a declared property: a column, or the objects in one."""

    name: str
    kind: str
    column: Column
    rest: tuple[str, ...]

    def value(self, row: int) -> Any:
        value = self.column.values[row]
        for part in self.rest:
            value = value.get(part, UNSET) if isinstance(value, dict) else UNSET
        return value

    def types(self) -> list[Types]:
        declared = ((self.name, self.kind),)
        return [() if self.value(row) is UNSET else declared for row in range(len(self.column.values))]


def _places(columns: Mapping[str, Column], explicit: Mapping[str, str]) -> Iterator[_Place]:
    for name, kind in explicit.items():
        parts = name.split(".")
        for depth in range(len(parts), 0, -1):
            column = columns.get(".".join(parts[:depth]))
            if column is not None:
                yield _Place(name, kind, column, tuple(parts[depth:]))
                break


def _fits(value: Any, kind: str) -> bool:
    if kind in _SCALARS:
        return _SCALARS[kind](value)
    return isinstance(value, list) and all(map(_SCALARS[kind.removesuffix("s")], value))


def _own(own: Column | None, row: int) -> Types:
    if own is None or own.values[row] is UNSET:
        return ()
    types: Types = own.values[row]
    return types


@functools.lru_cache(maxsize=4096)
def _encoded(types: Types) -> Any:
    if not types:
        return UNSET
    return msgspec.Raw(msgspec.json.encode({"properties": dict(types)}, order="sorted"))
