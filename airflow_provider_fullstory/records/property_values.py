"""
The value sent for each value of a property: one decided outcome for each type.

==============================  =====================================================  =============
value                           sent as                                                declared type
==============================  =====================================================  =============
None                            nothing: the property is left out
str (also empty)                string
bool                            true or false
int                             number; beyond 64 bits invalid                          int
float, Decimal                  number, a Decimal digit by digit; NaN, infinity invalid
datetime                        UTC, ISO 8601; without an offset, in ``timezone``       date
date                            ``YYYY-MM-DD``                                          date
time                            ISO 8601
timedelta                       number of seconds
UUID                            string
Enum                            its value
a scalar of numpy               what it is in Python
pandas.NA, NaT                  nothing, as None
dict                            object; keys follow the rules of property names         by each value
list, tuple                     array without its Nones                                 ints or dates
dict or list in a list          invalid: FullStory takes no arrays of objects
several kinds in a list         invalid: an array of FullStory's has one type
bytes, set, any other type      invalid
text with a lone surrogate      invalid: it has no UTF-8 form
==============================  =====================================================  =============

A type is declared if FullStory would infer another one: it reads every number as ``real`` and every string
as ``str`` (developer.fullstory.com/server/custom-properties).
"""

from __future__ import annotations

import datetime
import math
import uuid
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from msgspec import UNSET

from airflow_provider_fullstory.api.encoding import Digits
from airflow_provider_fullstory.records import rules
from airflow_provider_fullstory.records.json_values import check_elements, fits_64_bits, is_json_number
from airflow_provider_fullstory.records.rules import MAX_LEVELS, property_name_problem, quoted
from airflow_provider_fullstory.records.values import checked_text, plain_key, unwrapped, utc

#: What a property is declared as: nothing, one type, or the types of an object's properties, by what comes
#: after its name.
Declared = str | tuple[tuple[str, str], ...] | None
#: Dotted names of properties, each with its declared type.
Types = tuple[tuple[str, str], ...]


def types_of(name: str, declared: Declared) -> Types:
    """
    Return the declared types by name.

    :param name: A property's dotted name.
    :param declared: Its type, or those of the properties inside it.
    """
    if isinstance(declared, str):
        return ((name, declared),)
    return tuple((name + suffix, kind) for suffix, kind in declared or ())


def property_value(name: str, value: Any, zone: datetime.tzinfo) -> tuple[Any, Declared]:
    """
    Return the value sent for one value of a property, and its declared type.

    :param name: The property's dotted name.
    :param value: Any value; None, and an Enum of None, is not sent.
    :param zone: What datetimes without an offset mean.
    :raises ValueRefusedError: If the value cannot be sent.
    """
    value = unwrapped(value)
    if value is None:
        return UNSET, None
    if isinstance(value, Mapping):
        return _object(name, value, zone)
    if isinstance(value, (list, tuple)):
        return _array(name, value, zone)
    if isinstance(value, (datetime.date, datetime.time, datetime.timedelta)):
        return _temporal(name, value, zone)
    return _scalar(name, value)


def _scalar(name: str, value: Any) -> tuple[Any, Declared]:
    match value:
        case str():
            return checked_text(_property(name), value), None
        case bool():
            return value, None
        case int() if fits_64_bits(value):
            return int(value), "int"
        case int():
            raise rules.BEYOND_64_BITS.broken(field=_property(name))
        case float() if math.isfinite(value):
            return float(value), None
        case Decimal() if is_json_number(value):
            # FullStory may echo -0 as 0.
            return value if isinstance(value, Digits) else Decimal(value) if value else abs(value), None
        case float() | Decimal():
            raise rules.NOT_FINITE.broken(field=_property(name))
        case uuid.UUID():
            return str(value), None
    raise rules.NO_JSON_FORM.broken(field=_property(name), kind=type(value).__name__)


def _property(name: str) -> str:
    return f"property {quoted(name)}"


def _temporal(name: str, value: Any, zone: datetime.tzinfo) -> tuple[Any, Declared]:
    match value:
        case datetime.datetime():
            return utc(_property(name), value, zone, rules.NO_PROPERTY_MOMENT), "date"
        case datetime.date():
            return datetime.date(value.year, value.month, value.day), "date"
        case datetime.timedelta():
            return value.total_seconds(), None
    return value.isoformat(), None


def _object(name: str, value: Mapping[Any, Any], zone: datetime.tzinfo) -> tuple[dict[str, Any], Declared]:
    sent: dict[str, Any] = {}
    declared: list[tuple[str, str]] = []
    for given, item in value.items():
        key = plain_key(_property(name), given)
        path = f"{name}.{key}"
        if path.count(".") > MAX_LEVELS:
            raise rules.TOO_DEEP.broken(field=_property(path))
        if problem := property_name_problem(path):
            raise rules.BAD_NAME.broken(field=_property(path), problem=problem)
        converted, kind = property_value(path, item, zone)
        if converted is UNSET:
            continue
        _place(sent, path, key.split("."), converted)
        if isinstance(kind, str):
            declared.append((f".{key}", kind))
        elif kind:
            declared.extend((f".{key}{suffix}", inner) for suffix, inner in kind)
    return sent, tuple(declared) or None


def _place(target: dict[str, Any], path: str, parts: Sequence[str], value: Any) -> None:
    """Enter a value under its key; a dot leads into an object, as it does in the name of a column."""
    *parents, last = parts
    for part in parents:
        target = target.setdefault(part, {})
        if not isinstance(target, dict):
            raise rules.GIVEN_TWICE.broken(field=_property(path))
    if last in target:
        raise rules.GIVEN_TWICE.broken(field=_property(path))
    target[last] = value


def _array(name: str, value: Sequence[Any], zone: datetime.tzinfo) -> tuple[list[Any], Declared]:
    sent = []
    kinds: set[Declared] = set()
    for given in value:
        item = unwrapped(given)
        if isinstance(item, (Mapping, list, tuple)):
            kind = "objects" if isinstance(item, Mapping) else "arrays"
            raise rules.NESTED_ARRAY.broken(field=_property(name), kind=kind)
        element, element_type = property_value(name, item, zone)
        if element is UNSET:
            continue
        sent.append(element)
        kinds.add(element_type)
    check_elements(_property(name), sent)
    declared = f"{kinds.pop()}s" if kinds in ({"int"}, {"date"}) else None
    return sent, declared
