"""
Properties that FullStory would leave out without a word: they are refused with their record, or dropped.

Almost all values are within the limits, which a few passes over a column tell. Only the others are looked at
one by one.
"""

from __future__ import annotations

import datetime
import operator
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import NoneType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from msgspec import UNSET, UnsetType

from airflow_provider_fullstory.api.encoding import ENCODER
from airflow_provider_fullstory.records import rules
from airflow_provider_fullstory.records.refusals import ValueRefusedError
from airflow_provider_fullstory.records.rules import MAX_LEVELS, property_name_problem, quoted
from airflow_provider_fullstory.records.values import plain_key, unwrapped

if TYPE_CHECKING:
    from airflow_provider_fullstory.records.columns import Column
    from airflow_provider_fullstory.records.limits import PropertyLimits
    from airflow_provider_fullstory.records.property_values import Declared
    from airflow_provider_fullstory.records.refusals import Refusal

#: Converts values of a property, given its dotted name.
Conversion: TypeAlias = "Callable[[str, Sequence[Any]], Column]"
#: Rows, each with why one of its properties was dropped.
Dropped: TypeAlias = "list[tuple[int, str]]"

#: Types whose values are always small.
_SMALL: Final = frozenset(
    {NoneType, UnsetType, bool, int, float, datetime.date, datetime.datetime, uuid.UUID}
)
#: Most bytes of a character in UTF-8.
_CHARACTER_BYTES: Final = 4


def oversized(name: str, column: Column, limits: PropertyLimits) -> dict[int, Refusal]:
    """
    Return the rows in which a property is too large.

    :param name: The property's dotted name.
    :param column: Its values as they are sent.
    :param limits: The limits.
    """
    types = set(map(type, column.values))
    if types <= _SMALL:
        return {}
    if types == {str} and not _may_be_large(max(map(len, column.values)), limits):
        return {}
    large = ((row, next(_oversized(name, value, limits), None)) for row, value in enumerate(column.values))
    return {
        row: rules.PROPERTY_TOO_LARGE.refusal(name=quoted(path), longest=limits.longest_bytes)
        for row, path in large
        if path is not None
    }


def drop_invalid(
    name: str, values: Sequence[Any], column: Column, limits: PropertyLimits, convert: Conversion
) -> Dropped:
    """
    Drop from a column what FullStory would leave out: what is too large, or has a name that it does not take.

    :param name: The property's dotted name.
    :param values: Its values as the source gave them.
    :param column: The same as they are sent.
    :param limits: The limits.
    :param convert: Converts values.
    """
    dropped: Dropped = []
    for row in sorted({*column.refusals, *oversized(name, column, limits)}):
        reasons: list[str] = []
        try:
            kept = convert(name, [_kept(name, values[row], limits, convert, reasons)])
        except ValueRefusedError as error:
            column.refusals[row] = error.refusal
            continue
        if reasons:
            column.put(row, kept.values[0], next(iter(kept.declared_by_row)))
            column.refusals |= dict(zip([row], kept.refusals.values(), strict=False))
            dropped += [(row, reason) for reason in reasons]
    return dropped


def too_many(columns: Mapping[str, Column], limits: PropertyLimits, rows: int) -> list[int]:
    """
    Return the rows that have too many properties.

    :param columns: The properties by dotted name.
    :param limits: The limits.
    :param rows: The number of rows.
    """
    objects = [column for column in columns.values() if dict in set(map(type, column.values))]
    most_inside = sum(max(map(_count, column.values)) for column in objects)
    if len(columns) - len(objects) + most_inside <= limits.most:
        return []
    counts = [0] * rows
    for column in columns.values():
        counts = list(map(operator.add, counts, map(_count, column.values)))
    return [row for row, count in enumerate(counts) if count > limits.most]


def drop_surplus(columns: Mapping[str, Column], limits: PropertyLimits, rows: Sequence[int]) -> Dropped:
    """
    Drop properties of rows that have too many: those that come last in the order in which they are sent.

    :param columns: The properties by dotted name, in that order.
    :param limits: The limits.
    :param rows: These rows.
    """
    dropped: Dropped = []
    for row in rows:
        left = limits.most
        for column in columns.values():
            paths = [path for path, _ in _paths("", column.values[row])]
            if len(paths) > left:
                value = _only(column.values[row], "", set(paths[:left]))
                declared = list(column.declared_by_row)[row]
                column.put(row, value, _declared_of(declared, set(paths[:left])))
                dropped += [(row, f"a property beyond the first {limits.most:,}")] * (len(paths) - left)
            left -= min(left, len(paths))
    return dropped


def _oversized(name: str, value: Any, limits: PropertyLimits) -> Iterator[str]:
    """Yield the names of properties that are too large, among those inside an object."""
    return (path for path, item in _paths(name, value) if _is_large(item, limits))


def _is_large(value: Any, limits: PropertyLimits) -> bool:
    if type(value) in _SMALL:
        return False
    if isinstance(value, str):
        return _may_be_large(len(value), limits) and len(value.encode()) > limits.longest_bytes
    return len(ENCODER.encode(value)) > limits.longest_bytes


def _may_be_large(characters: int, limits: PropertyLimits) -> bool:
    return characters * _CHARACTER_BYTES > limits.longest_bytes


def _paths(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield each property of a value as it is sent: itself, or those inside an object."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _paths(f"{name}.{key}", item)
    elif value is not UNSET:
        yield name, value


def _count(value: Any) -> int:
    return sum(1 for _ in _paths("", value))


def _kept(name: str, value: Any, limits: PropertyLimits, convert: Conversion, reasons: list[str]) -> Any:
    """Return a value of the source without what FullStory would leave out, None if nothing is left of it."""
    value = unwrapped(value)
    if isinstance(value, Mapping):
        kept = {}
        for given, item in value.items():
            key = plain_key(f"property {quoted(name)}", given)
            path = f"{name}.{key}"
            if path.count(".") > MAX_LEVELS:
                raise rules.TOO_DEEP.broken(field=f"property {quoted(path)}")
            if problem := property_name_problem(path):
                reasons.append(f"property {quoted(path)}: {problem}")
            elif (left := _kept(path, item, limits, convert, reasons)) is not None:
                kept[given] = left
        return kept or None
    if any(_is_large(sent, limits) for sent in convert(name, [value]).values):
        reasons.append(f"property {quoted(name)} is larger than {limits.longest_bytes:,} bytes")
        return None
    return value


def _only(value: Any, name: str, kept: set[str]) -> Any:
    """Return a value as it is sent, with only some of the properties in it."""
    if not isinstance(value, Mapping):
        return value if name in kept else UNSET
    items = {key: _only(item, f"{name}.{key}", kept) for key, item in value.items()}
    return {key: item for key, item in items.items() if item is not UNSET} or UNSET


def _declared_of(declared: Declared, kept: set[str]) -> Declared:
    """Return the declared types of the properties that are left."""
    if not isinstance(declared, tuple):
        return declared if kept else None
    return tuple((path, kind) for path, kind in declared if path in kept) or None
