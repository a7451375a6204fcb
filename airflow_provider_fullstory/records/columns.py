"""
Convert the values of a column, in a few passes in C.

The result is the same as for each value alone. This works for values of one well-known type, and for objects
with the same keys, such as a column of JSON, whose members are columns themselves. All other values are
converted one by one.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import math
import uuid
from decimal import Decimal
from itertools import chain, repeat
from types import NoneType
from typing import TYPE_CHECKING, Any, Final

from msgspec import UNSET

from airflow_provider_fullstory.api.encoding import Digits
from airflow_provider_fullstory.records.json_values import (
    are_json_numbers,
    fits_64_bits,
    is_json_number,
    is_utf8,
)
from airflow_provider_fullstory.records.property_values import Declared, Types, property_value, types_of
from airflow_provider_fullstory.records.refusals import Refusal, ValueRefusedError
from airflow_provider_fullstory.records.rules import property_name_problem
from airflow_provider_fullstory.records.timestamps import is_timestamp, parsed
from airflow_provider_fullstory.records.values import utc_column

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

#: If fewer objects than these have the same keys, all are converted one by one.
_ROWS_WORTH_A_COLUMN: Final = 4
#: Objects nested deeper are converted one by one: the stack is finite.
_LEVELS_WORTH_A_COLUMN: Final = 8


@dataclasses.dataclass(slots=True)
class Column:
    """
    One converted column of a chunk.

    :param values: The value sent for each row, UNSET for none.
    :param is_full: Whether no value is UNSET.
    :param declared: The type of all values, or a list with one for each row if they differ.
    :param refusals: Why rows are refused, by row.
    :param is_as_given: Whether every value is sent as the source gave it.
    """

    values: list[Any]
    is_full: bool
    declared: Declared | list[Declared] = None
    refusals: dict[int, Refusal] = dataclasses.field(default_factory=dict)
    is_as_given: bool = False

    @property
    def is_uniform(self) -> bool:
        """Whether every row has a value, and all are declared alike."""
        return self.is_full and not isinstance(self.declared, list)

    @property
    def declared_by_row(self) -> Iterable[Declared]:
        """The declared type of each value."""
        return self.declared if isinstance(self.declared, list) else repeat(self.declared, len(self.values))

    def put(self, row: int, value: Any, declared: Declared) -> None:
        """
        Replace the value of a row.

        :param row: The row.
        :param value: The value to send, UNSET for none.
        :param declared: Its type.
        """
        types = list(self.declared_by_row)
        types[row] = declared
        self.values[row], self.declared = value, types
        self.is_full = self.is_full and value is not UNSET
        self.is_as_given = False
        self.refusals.pop(row, None)

    def types(self, name: str, explicit: str | None = None) -> list[Types]:
        """
        Return the declared types of each row that has a value, by name.

        :param name: The column's name.
        :param explicit: The type to declare whatever the values are.
        """
        known = functools.cache(lambda kind: types_of(name, kind))
        kinds = self.declared if explicit is None else explicit
        if isinstance(kinds, list):
            return [
                () if value is UNSET else known(kind) for value, kind in zip(self.values, kinds, strict=True)
            ]
        types = known(kinds)
        if self.is_full:
            return [types] * len(self.values)
        return [() if value is UNSET else types for value in self.values]


def convert_column(values: Sequence[Any], convert: Callable[[Any], tuple[Any, Declared]]) -> Column:
    """
    Convert a column value by value.

    :param values: The values as the source gave them.
    :param convert: Returns the value sent and its declared type, or raises ValueRefusedError.
    """
    converted: list[Any] = []
    declared: list[Declared] = []
    refusals: dict[int, Refusal] = {}
    for row, value in enumerate(values):
        try:
            sent, kind = (UNSET, None) if value is None else convert(value)
        except ValueRefusedError as error:
            refusals[row] = error.refusal
            sent, kind = UNSET, None
        converted.append(sent)
        declared.append(kind)
    return Column(converted, all(value is not UNSET for value in converted), declared, refusals)


def property_column(
    name: str, values: Sequence[Any], zone: datetime.tzinfo, declared: str | None = None
) -> Column:
    """
    Convert a column of properties.

    :param name: The property's dotted name, for reasons of refusal.
    :param values: The values as the source gave them.
    :param zone: What datetimes without an offset mean.
    :param declared: The type that the user declared for it.
    """
    if declared == "int":
        # Whole numbers of a NUMERIC column come as Decimal, those of a nullable column of pandas as float.
        values = [_whole(value) for value in values]
    if declared == "date":
        # Text without an offset is in the import's time zone, as in a column of timestamps.
        values = [_date(value) for value in values]
    kinds = set(map(type, values))
    has_nulls = NoneType in kinds
    kinds.discard(NoneType)
    if len(kinds) == 1:
        present = [value for value in values if value is not None] if has_nulls else values
        column = _uniform_column(name, kinds.pop(), present, zone)
        if column is not None:
            return _with_nulls(column, values) if has_nulls else column
    return convert_column(values, lambda value: property_value(name, value, zone))


def _uniform_column(name: str, kind: type, values: Sequence[Any], zone: datetime.tzinfo) -> Column | None:
    """Convert values of one type at once; return None if they must be checked one by one."""
    if kind in _UNIFORM:
        is_good = _UNIFORM[kind](values)
        return Column(list(values), True, _DECLARED.get(kind), is_as_given=True) if is_good else None
    if kind is datetime.datetime:
        moments = utc_column(values, zone)
        return None if moments is None else Column(moments, True, "date")
    if kind is dict and name.count(".") < _LEVELS_WORTH_A_COLUMN:
        return _object_column(name, values, zone)
    return _array_column(kind, values) if kind in (list, tuple) else None


def _with_nulls(column: Column, values: Sequence[Any]) -> Column:
    """Return the column with its rows back at their places among those without a value."""
    sent = iter(column.values)
    whole = [UNSET if value is None else next(sent) for value in values]
    if not isinstance(column.declared, list):
        return Column(whole, False, column.declared)
    kinds = iter(column.declared)
    return Column(whole, False, [None if value is None else next(kinds) for value in values])


def _object_column(name: str, values: Sequence[dict[Any, Any]], zone: datetime.tzinfo) -> Column | None:
    """Convert objects that have their keys in common as columns of their own."""
    shapes = dict.fromkeys(map(tuple, values))
    if len(shapes) == 1:
        return _shaped_column(name, next(iter(shapes)), values, zone)
    if len(shapes) * _ROWS_WORTH_A_COLUMN > len(values):
        return None
    sent: list[Any] = [UNSET] * len(values)
    declared: list[Declared] = [None] * len(values)
    rows_of: dict[tuple[Any, ...], list[int]] = {keys: [] for keys in shapes}
    for row, value in enumerate(values):
        rows_of[tuple(value)].append(row)
    for keys, rows in rows_of.items():
        column = _shaped_column(name, keys, [values[row] for row in rows], zone)
        if column is None:
            return None
        for row, value, kind in zip(rows, column.values, column.declared_by_row, strict=True):
            sent[row], declared[row] = value, kind
    return Column(sent, True, declared)


def _shaped_column(
    name: str, keys: tuple[Any, ...], values: Sequence[dict[Any, Any]], zone: datetime.tzinfo
) -> Column | None:
    """Convert objects with the same keys."""
    paths = [f"{name}.{key}" for key in keys if type(key) is str and "." not in key]
    if len(paths) < len(keys) or any(map(property_name_problem, paths)):
        return None
    columns = [
        property_column(path, [value[key] for value in values], zone)
        for path, key in zip(paths, keys, strict=True)
    ]
    if any(column.refusals for column in columns):
        return None
    declared = _declared_inside(keys, columns, len(values))
    if all(column.is_as_given for column in columns):
        return Column(list(values), True, declared, is_as_given=True)
    members = zip(*(column.values for column in columns), strict=True)
    return Column(
        [
            {key: item for key, item in zip(keys, items, strict=True) if item is not UNSET}
            for items in members
        ],
        True,
        declared,
    )


def _declared_inside(keys: Sequence[str], columns: Sequence[Column], rows: int) -> Declared | list[Declared]:
    """Return what objects with these members declare: the same for all, or a list with one for each row."""
    if all(column.is_uniform for column in columns):
        declared = [column.types(f".{key}")[0] for key, column in zip(keys, columns, strict=True) if rows]
        return tuple(chain.from_iterable(declared)) or None
    types = [column.types(f".{key}") for key, column in zip(keys, columns, strict=True)]
    together = functools.cache(lambda types_of_row: tuple(chain.from_iterable(types_of_row)) or None)
    return list(map(together, zip(*types, strict=True)))


def _array_column(kind: type, values: Sequence[Sequence[Any]]) -> Column | None:
    """Convert arrays that all have elements of one type."""
    elements = list(chain.from_iterable(values))
    kinds = set(map(type, elements))
    if len(kinds) > 1 or not all(one in _UNIFORM and _UNIFORM[one](elements) for one in kinds):
        return None
    element_type = _DECLARED.get(kinds.pop()) if kinds else None
    declared: Declared | list[Declared] = None
    if element_type is not None:
        declared = [f"{element_type}s" if value else None for value in values]
    if kind is list:
        return Column(list(values), True, declared, is_as_given=True)
    return Column(list(map(list, values)), True, declared)


def _date(value: Any) -> Any:
    if not isinstance(value, str) or not is_timestamp(value):
        return value
    moment = parsed(value)
    return moment.date() if len(value.strip()) == len("2026-01-31") else moment


def _whole(value: Any) -> Any:
    if isinstance(value, (float, Decimal)) and is_json_number(value) and value == int(value):
        return int(value)
    return value


# Types whose values can be sent as they are, once all values of a column pass one check.
_UNIFORM: dict[type, Callable[[Sequence[Any]], bool]] = {
    str: lambda values: is_utf8("".join(values)),
    bool: lambda _: True,
    int: lambda values: fits_64_bits(min(values)) and fits_64_bits(max(values)),
    float: lambda values: all(map(math.isfinite, values)),
    Decimal: are_json_numbers,
    Digits: are_json_numbers,
    datetime.date: lambda _: True,
    uuid.UUID: lambda _: True,
}
_DECLARED: dict[type, str] = {int: "int", datetime.date: "date"}
