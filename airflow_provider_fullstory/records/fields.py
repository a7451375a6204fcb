"""
Where a column goes: its name, or the mapping, names a field of FullStory's API.

The fields are read from the wire types, so a field added there is one that a column can fill.
"""

from __future__ import annotations

import datetime
import difflib
import functools
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from airflow_provider_fullstory.api.events import Event
from airflow_provider_fullstory.records.columns import Column, convert_column
from airflow_provider_fullstory.records.rules import (
    are_texts,
    check_number,
    check_text,
    property_name_problem,
    quoted,
)
from airflow_provider_fullstory.records.timestamps import parsed_column
from airflow_provider_fullstory.records.values import (
    as_boolean,
    as_integer,
    as_moment,
    as_number,
    as_text,
    unwrapped,
    utc_column,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Path = tuple[str, ...]
Conversion: TypeAlias = "Callable[[Any, datetime.tzinfo], Any]"

#: Fields whose names users choose.
PROPERTY_ROOTS = ("properties", "page_properties")
#: Fields that declare the types of those.
SCHEMA_ROOTS = ("schema", "page_properties_schema")


_KINDS: dict[type[msgspec.inspect.Type], str] = {
    msgspec.inspect.StrType: "text",
    msgspec.inspect.IntType: "whole number",
    msgspec.inspect.FloatType: "number",
    msgspec.inspect.BoolType: "true or false",
    msgspec.inspect.DateTimeType: "timestamp",
}


@functools.cache
def fields() -> dict[str, Conversion]:
    """
    Return the fields of an event by dotted path, without its properties and their types.

    Each comes with what converts a value that is not None, given the time zone of timestamps without an
    offset, or raises ValueRefusedError.
    """
    return {
        ".".join(path): _conversion(".".join(path), kind)
        for path, kind in _leaves(Event, ())
        if path[0] not in PROPERTY_ROOTS + SCHEMA_ROOTS
    }


@functools.cache
def field_kind(path: str) -> str | None:
    """
    Return what a field takes, for a person, None where that is up to its value.

    :param path: Dotted path of the field.
    """
    kinds = {".".join(leaf): kind for leaf, kind in _leaves(Event, ())}
    kind = kinds.get(path) if path in fields() else None
    return None if kind is None else _KINDS[type(kind)]


@functools.cache
def objects() -> frozenset[str]:
    """Return the dotted paths of an event's objects, such as ``user`` and ``context.browser``."""
    paths = {
        ".".join(path.split(".")[:depth]) for path in fields() for depth in range(1, path.count(".") + 1)
    }
    return frozenset(paths | set(PROPERTY_ROOTS))


def path_of(name: str) -> tuple[Path | None, str | None]:
    """
    Return where a column goes, and what is wrong with its name where it can go nowhere.

    Fields are matched without case, since some databases fold the names of columns.

    :param name: Name of the column, or a path given by the user.
    """
    folded = name.casefold()
    if folded in fields() or folded in objects() or folded in SCHEMA_ROOTS:
        return tuple(folded.split(".")), None
    root, dot, rest = name.partition(".")
    if dot and root.casefold() in PROPERTY_ROOTS:
        path: Path = (root.casefold(), *rest.split("."))
    elif dot:
        return None, f"FullStory's events have no field {quoted(name)}{_suggestion(folded)}"
    else:
        path = ("properties", name)
    problem = property_name_problem(".".join(path[1:]))
    return (None, problem) if problem else (path, None)


def field_column(path: str, values: Sequence[Any], zone: datetime.tzinfo) -> Column:
    """
    Convert a column that goes to a field.

    Where all its values are plain text, or plain datetimes, that is a few passes in C.

    :param path: Dotted path of the field.
    :param values: The values as the source gave them.
    :param zone: What datetimes without an offset mean.
    """
    kinds = set(map(type, values))
    if kinds == {str} and field_kind(path) == "text" and are_texts(path, values):
        return Column(list(values), is_full=True)
    if kinds in ({str}, {datetime.datetime}) and field_kind(path) == "timestamp":
        moments = parsed_column(values) if kinds == {str} else values
        moments = None if moments is None else utc_column(moments, zone)
        if moments is not None:
            return Column(moments, is_full=True)
    convert = fields()[path]

    def converted(value: Any) -> tuple[Any, None]:
        value = unwrapped(value)
        return (msgspec.UNSET if value is None else convert(value, zone)), None

    return convert_column(values, converted)


def _suggestion(name: str) -> str:
    close = difflib.get_close_matches(name, fields(), n=1)
    meant = f" (did you mean {close[0]!r}?)" if close else ""
    return f"{meant}; a property of that name is written {quoted(f'properties.{name}')}"


def _leaves(struct: type[msgspec.Struct], parents: Path) -> list[tuple[Path, msgspec.inspect.Type]]:
    found: list[tuple[Path, msgspec.inspect.Type]] = []
    info = msgspec.inspect.type_info(struct)
    assert isinstance(info, msgspec.inspect.StructType)  # noqa: S101 - Tells the type checker.
    for field in info.fields:
        path = (*parents, field.encode_name)
        if isinstance(field.type, msgspec.inspect.StructType):
            found.extend(_leaves(field.type.cls, path))
        else:
            found.append((path, field.type))
    return found


def _conversion(name: str, kind: msgspec.inspect.Type) -> Conversion:
    match kind:
        case msgspec.inspect.StrType():
            return lambda value, _: check_text(name, as_text(name, value))
        case msgspec.inspect.IntType():
            return lambda value, _: check_number(name, as_integer(name, value))
        case msgspec.inspect.FloatType():
            return lambda value, _: check_number(name, as_number(name, value))
        case msgspec.inspect.BoolType():
            # FullStory's default is false, and an explicit false has been seen to count as true.
            return lambda value, _: as_boolean(name, value) or msgspec.UNSET
        case msgspec.inspect.DateTimeType():
            return lambda value, zone: as_moment(name, value, zone)
    raise TypeError(f"No rule says what to do with {kind} ({name}).")
