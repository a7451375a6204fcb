"""
What becomes of a value: one decided outcome for each kind.

A column of a chunk is converted at once. Where all its values are of one well-known type, that is a few
passes in C; only other columns are looked at value by value.

==============================  =====================================================  =============
value                           sent as                                                declared type
==============================  =====================================================  =============
None                            nothing: the property is left out
str (also empty)                string
bool                            true or false
int                             number; beyond 64 bits refused                          int
float, Decimal                  number, a Decimal digit by digit; NaN, infinity refused
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
dict or list in a list          refused: FullStory takes no arrays of objects
several kinds in a list         refused: an array of FullStory's has one type
bytes, set, any other type      refused
text with a lone surrogate      refused: it has no UTF-8 form
==============================  =====================================================  =============

A type is declared where FullStory would infer another one: it reads every number as ``real`` and every string
as ``str`` (developer.fullstory.com/server/custom-properties).
"""

from __future__ import annotations

import datetime
import enum
import math
import sys
import uuid
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from msgspec import UNSET

from airflow_provider_fullstory.api.encoding import Digits
from airflow_provider_fullstory.records import rules, timestamps
from airflow_provider_fullstory.records.json_values import (
    check_elements,
    fits_64_bits,
    is_json_number,
    is_utf8,
)
from airflow_provider_fullstory.records.rules import MAX_LEVELS, property_name_problem, quoted

#: Digits of an integer or Decimal that can be an id; longer ones take seconds to write out.
_MOST_DIGITS: Final = 1000
#: Units of numpy's times that Python's have no room for.
_FINER_THAN_MICROSECONDS: Final = ("ns", "ps", "fs", "as")

#: What a property is declared as: nothing, one type, or the types of an object's properties, by what comes
#: after its name.
Declared = str | tuple[tuple[str, str], ...] | None
#: Dotted names of properties, each with its declared type.
Types = tuple[tuple[str, str], ...]


def types_of(name: str, declared: Declared) -> Types:
    """
    Return what is declared by name.

    :param name: A property's dotted name.
    :param declared: Its type, or those of the properties inside it.
    """
    if isinstance(declared, str):
        return ((name, declared),)
    return tuple((name + suffix, kind) for suffix, kind in declared or ())


def property_value(name: str, value: Any, zone: datetime.tzinfo) -> tuple[Any, Declared]:
    """
    Return what is sent for one value of a property, and its declared type.

    :param name: The property's dotted name.
    :param value: Any value; None, and an Enum of None, is not sent.
    :param zone: What datetimes without an offset mean.
    :raises ValueRefusedError: Where the value cannot be sent.
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


def plain_key(owner: str, key: Any) -> str:
    """
    Return the key of an object as a plain str.

    :param owner: What has the key, for the reason of refusal.
    :param key: The key.
    :raises ValueRefusedError: Where it is no text.
    """
    key = unwrapped(key)
    if not isinstance(key, str):
        raise rules.KEY_NOT_TEXT.broken(owner=owner, kind=type(key).__name__)
    return str.__str__(key)


def utc(
    field: str,
    value: datetime.datetime,
    zone: datetime.tzinfo,
    rule: rules.Rule = rules.NO_MOMENT,
) -> datetime.datetime:
    """
    Return the moment in UTC, as a plain datetime.

    :param field: Where it goes, for the reason of refusal.
    :param value: A datetime; without an offset it is one in ``zone``.
    :param zone: A time zone.
    :param rule: What it breaks if it is no such moment.
    :raises ValueRefusedError: Where there is no such moment between the years 1 and 9999.
    """
    try:
        if value.tzinfo is None:
            value = value.replace(tzinfo=zone)
        moment = value.astimezone(datetime.UTC)
        # Subclasses, such as pandas' Timestamp or pendulum's DateTime, are not written as JSON.
        return datetime.datetime(
            moment.year,
            moment.month,
            moment.day,
            moment.hour,
            moment.minute,
            moment.second,
            moment.microsecond,
            tzinfo=datetime.UTC,
        )
    except (OverflowError, ValueError, TypeError):
        raise rule.broken(field=field) from None


def utc_column(values: Sequence[datetime.datetime], zone: datetime.tzinfo) -> list[datetime.datetime] | None:
    """
    Return moments in UTC, None where that takes a look at each.

    :param values: Datetimes of no subclass; without an offset they are ones in ``zone``.
    :param zone: A time zone.
    """
    zones = {value.tzinfo for value in values}
    if zones == {datetime.UTC}:
        return list(values)
    try:
        if zones == {None}:
            return [value.replace(tzinfo=zone).astimezone(datetime.UTC) for value in values]
        if None not in zones:
            return [value.astimezone(datetime.UTC) for value in values]
    except (OverflowError, ValueError, TypeError):
        return None
    return None


def checked_text(field: str, value: str) -> str:
    """
    Return text as a plain str.

    :param field: Where it goes, for the reason of refusal.
    :param value: The text.
    :raises ValueRefusedError: Where it has no UTF-8 form.
    """
    if not is_utf8(value):
        raise rules.HALF_A_PAIR.broken(field=field)
    return str.__str__(value)


def unwrapped(value: Any) -> Any:
    """
    Return what an Enum stands for, or a scalar of numpy, as a value of Python; None where pandas has none.

    :param value: Any value.
    """
    while isinstance(value, enum.Enum):
        value = value.value
    kind = type(value)
    if kind.__module__ == "numpy":
        return _of_numpy(value)
    is_missing = kind.__name__ in ("NAType", "NaTType") and kind.__module__.startswith("pandas.")
    return None if is_missing else value


def _of_numpy(value: Any) -> Any:
    # Who has a value of numpy's has imported it.
    numpy = sys.modules.get("numpy")
    if numpy is None or not isinstance(value, numpy.generic):
        return value
    kind = type(value).__name__
    if kind not in ("datetime64", "timedelta64"):
        return value.item()
    if numpy.datetime_data(value.dtype)[0] in _FINER_THAN_MICROSECONDS:
        value = value.astype(f"{kind}[us]")
    # A bare number stands for what Python has no type for: a year beyond 9999, or a month of no fixed length.
    item = value.item()
    return value if isinstance(item, int) else item


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
            return value if isinstance(value, Digits) else Decimal(value), None
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


def as_text(field: str, value: Any) -> str:
    """
    Return what is sent for a field of text, such as ``user.uid``.

    Whole numbers and UUIDs become text, since warehouses keep ids as such; other kinds are refused, since
    their text would be a guess (a float id ``5.0``, say).

    :param field: Path of the field.
    :param value: Any value but None.
    :raises ValueRefusedError: Where the value cannot be text.
    """
    value = unwrapped(value)
    if isinstance(value, str):
        return checked_text(field, value)
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value():
        if value.adjusted() > _MOST_DIGITS:
            raise rules.TOO_LONG.broken(field=field, longest=256)
        return str(int(value))
    if isinstance(value, int) and not isinstance(value, bool):
        # A decimal digit takes more than 3 bits.
        if value.bit_length() > 3 * _MOST_DIGITS:
            raise rules.TOO_LONG.broken(field=field, longest=256)
        return str(int(value))
    raise rules.NOT_TEXT.broken(field=field, kind=type(value).__name__)


def as_integer(field: str, value: Any) -> int:
    """
    Return what is sent for a field of whole numbers.

    :param field: Path of the field.
    :param value: Any value but None.
    :raises ValueRefusedError: Where the value is no whole number.
    """
    value = unwrapped(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    if is_json_number(value) and value == int(value):
        return int(value)
    raise rules.NOT_WHOLE.broken(field=field, kind=type(value).__name__)


def as_number(field: str, value: Any) -> float | Decimal:
    """
    Return what is sent for a field of numbers.

    :param field: Path of the field.
    :param value: Any value but None.
    :raises ValueRefusedError: Where the value is no finite number.
    """
    value = unwrapped(value)
    if is_json_number(value):
        # As a plain number: subclasses are not written as JSON.
        plain = next(kind for kind in (int, float, Decimal) if isinstance(value, kind))
        return plain(value)
    raise rules.NOT_A_NUMBER.broken(field=field, kind=type(value).__name__)


def as_boolean(field: str, value: Any) -> bool:
    """
    Return what is sent for a field of truth values; 0 and 1 count, since not every database has booleans.

    :param field: Path of the field.
    :param value: Any value but None.
    :raises ValueRefusedError: Where the value is no truth value.
    """
    value = unwrapped(value)
    if isinstance(value, (bool, int)) and value in (0, 1):
        return bool(value)
    raise rules.NOT_A_TRUTH.broken(field=field, kind=type(value).__name__)


def as_moment(field: str, value: Any, zone: datetime.tzinfo) -> datetime.datetime:
    """
    Return what is sent for a field of time: a moment in UTC, so that equal moments have equal bytes.

    :param field: Path of the field.
    :param value: A datetime, a date (its midnight), or text in ISO 8601.
    :param zone: What a value without an offset means.
    :raises ValueRefusedError: Where the value is no moment.
    """
    value = unwrapped(value)
    if isinstance(value, str):
        try:
            value = timestamps.parsed(value)
        except ValueError:
            rule = rules.EPOCH_TEXT if timestamps.is_epoch(value) else rules.NOT_ISO
            raise rule.broken(field=field) from None
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        value = datetime.datetime(value.year, value.month, value.day)  # noqa: DTZ001 - utc() adds the zone.
    if not isinstance(value, datetime.datetime):
        raise rules.NOT_A_TIMESTAMP.broken(field=field, kind=type(value).__name__)
    return utc(field, value, zone)
