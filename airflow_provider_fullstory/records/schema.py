"""The ``schema`` of an event: types for properties that FullStory would infer otherwise."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import UNSET

from airflow_provider_fullstory.exceptions import FullStoryInputError
from airflow_provider_fullstory.records.refusals import INVALID_ARGUMENT, Refusal, ValueRefusedError
from airflow_provider_fullstory.records.values import Column, Declared, property_name_problem

Types = tuple[tuple[str, str], ...]


def _is_date(value: Any) -> bool:
    if isinstance(value, str):
        try:
            datetime.datetime.fromisoformat(value)
        except ValueError:
            return False
        return True
    return isinstance(value, datetime.date)


_SCALARS: dict[str, Callable[[Any], bool]] = {
    "str": lambda value: isinstance(value, (str, uuid.UUID)),
    "int": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "real": lambda value: isinstance(value, (int, float, Decimal)) and not isinstance(value, bool),
    "bool": lambda value: isinstance(value, bool),
    "date": _is_date,
}

#: The types that a property can be declared as (developer.fullstory.com/server/custom-properties).
TYPES = tuple(name + plural for name in _SCALARS for plural in ("", "s"))


def check_types(types: Mapping[str, str]) -> None:
    """
    Refuse declarations that FullStory would not take.

    :param types: Dotted name of a property -> its type.
    :raises FullStoryInputError: Naming the property.
    """
    for name, kind in types.items():
        if problem := property_name_problem(name):
            raise FullStoryInputError(f"schema declares {name!r}: {problem}.")
        if kind not in TYPES:
            raise FullStoryInputError(
                f"schema declares {name!r} as {kind!r}; the types are {', '.join(TYPES)}."
            )


def record_types(root: str, value: Any) -> Types:
    """
    Return the types that a record declares itself.

    :param root: ``schema`` or ``page_properties_schema``.
    :param value: What the record has there: ``{"properties": {"quantity": "int"}}``.
    :raises ValueRefusedError: Where it has another form.
    """
    types = value.get("properties") if isinstance(value, Mapping) else None
    if not isinstance(types, Mapping) or len(value) != 1:
        raise ValueRefusedError(f'{root} must have the form {{"properties": {{"quantity": "int"}}}}')
    for name, kind in types.items():
        if not isinstance(name, str) or property_name_problem(name):
            raise ValueRefusedError(f"{root} declares a type for what is not the name of a property")
        if kind not in TYPES:
            raise ValueRefusedError(f"{root} declares a type that is none of {', '.join(TYPES)}")
    return tuple(types.items())


def schemas(
    columns: Mapping[str, Column], explicit: Mapping[str, str], own: Column | None, rows: int
) -> Sequence[Any]:
    """
    Return what each row declares, UNSET where it declares nothing.

    Only properties that a row really has are declared. What a record declares itself counts before what the
    user declared for the import, and that before what the values tell.

    :param columns: Converted properties by dotted name.
    :param explicit: Dotted name of a property -> its type, as the user declared it for the import.
    :param own: What the records declare themselves.
    :param rows: Number of rows.
    """
    declared = {name: explicit.get(name, column.declared) for name, column in columns.items()}
    inside = [place for place in _places(columns, explicit) if place.rest]
    uniform = all(
        kind is None or (isinstance(kind, str) and columns[name].is_full) for name, kind in declared.items()
    )
    if uniform and not inside and own is None:
        return [
            _encoded(tuple((name, kind) for name, kind in declared.items() if isinstance(kind, str)))
        ] * rows
    return [
        _encoded((*_inferred(columns, declared, row), *_inside(inside, row), *_own(own, row)))
        for row in range(rows)
    ]


def misfits(columns: Mapping[str, Column], explicit: Mapping[str, str]) -> dict[int, Refusal]:
    """
    Return the rows with values that are not of the type that the user declared for them.

    :param columns: Converted properties by dotted name.
    :param explicit: Dotted name of a property -> its type, as the user declared it for the import.
    """
    return {
        row: Refusal(
            INVALID_ARGUMENT, f"property {place.name!r} is declared {place.kind!r}, which its value is not"
        )
        for place in _places(columns, explicit)
        for row in range(len(place.column.values))
        if (value := place.value(row)) is not UNSET and not _fits(value, place.kind)
    }


@dataclasses.dataclass(frozen=True, slots=True)
class _Place:
    """Where the values of a declared property stand: in a column, or in the objects of one."""

    name: str
    kind: str
    column: Column
    rest: tuple[str, ...]

    def value(self, row: int) -> Any:
        value = self.column.values[row]
        for part in self.rest:
            value = value.get(part, UNSET) if isinstance(value, dict) else UNSET
        return value


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


def _inferred(
    columns: Mapping[str, Column], declared: Mapping[str, Declared | list[Declared]], row: int
) -> Iterator[tuple[str, str]]:
    for name, kinds in declared.items():
        kind = kinds[row] if isinstance(kinds, list) else kinds
        if kind is None or columns[name].values[row] is UNSET:
            continue
        if isinstance(kind, str):
            yield name, kind
        else:
            yield from ((name + suffix, inner) for suffix, inner in kind)


def _inside(places: Sequence[_Place], row: int) -> Iterator[tuple[str, str]]:
    """Yield the declared types of properties that stand inside an object."""
    return ((place.name, place.kind) for place in places if place.value(row) is not UNSET)


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
