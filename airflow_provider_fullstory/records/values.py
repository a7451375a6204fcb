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
dict                            object; keys follow the rules of property names         by each value
list, tuple                     array without its Nones                                 ints or dates
dict or list in a list          refused: FullStory takes no arrays of objects
bytes, set, any other type      refused
text with a lone surrogate      refused: it has no UTF-8 form
==============================  =====================================================  =============

A type is declared where FullStory would infer another one: it reads every number as ``real`` and every string
as ``str`` (developer.fullstory.com/server/custom-properties).
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
import math
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from types import NoneType
from typing import Any, Final

from msgspec import UNSET

from airflow_provider_fullstory.records.refusals import INVALID_PARAMETER, Refusal, ValueRefusedError

#: Longest name of a property, parents and dots included (developer.fullstory.com/server/users).
MAX_PROPERTY_NAME: Final = 512
_PROPERTY_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)
_SMALLEST_INTEGER: Final = -(2**63)
_LARGEST_INTEGER: Final = 2**63 - 1
_LARGEST_REAL: Final = Decimal("1.7976931348623157e308")
#: Digits of an integer or Decimal that can be an id; longer ones take seconds to write out.
_MOST_DIGITS: Final = 1000
#: Objects within objects; far beyond use, and far below what recursion can take.
_MOST_LEVELS: Final = 100

#: What a property is declared as: nothing, one type, or the types of an object's properties by dotted name.
Declared = str | tuple[tuple[str, str], ...] | None


@dataclasses.dataclass(slots=True)
class Column:
    """
    One converted column of a chunk.

    :param values: What is sent for each row, UNSET where nothing is.
    :param is_full: Whether no value is UNSET.
    :param declared: The type of every value that is sent, where it is the same, else a list with one a row.
    :param refusals: Why rows are refused, by row.
    """

    values: list[Any]
    is_full: bool
    declared: Declared | list[Declared] = None
    refusals: dict[int, Refusal] = dataclasses.field(default_factory=dict)


def property_name_problem(name: str) -> str | None:
    """
    Return what is wrong with a property's dotted name, None where nothing is.

    :param name: The name with its parents, such as ``address.city``.
    """
    if len(name) > MAX_PROPERTY_NAME:
        return f"property names have at most {MAX_PROPERTY_NAME} characters, their parents included"
    if not all(_PROPERTY_NAME.fullmatch(part) for part in name.split(".")):
        return "property names start with a letter and have only letters, digits and underscores"
    return None


def convert_column(values: Sequence[Any], convert: Callable[[Any], tuple[Any, Declared]]) -> Column:
    """
    Convert a column value by value.

    :param values: The values as the source gave them.
    :param convert: Returns what is sent and its declared type, or raises ValueRefusedError.
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
    kinds = set(map(type, values))
    has_nulls = NoneType in kinds
    kinds.discard(NoneType)
    if len(kinds) == 1:
        kind = kinds.pop()
        present = [value for value in values if value is not None] if has_nulls else values
        if kind in _UNIFORM and _UNIFORM[kind](present):
            sent = [UNSET if value is None else value for value in values] if has_nulls else list(values)
            return Column(sent, is_full=not has_nulls, declared=_DECLARED.get(kind))
    return convert_column(values, lambda value: property_value(name, value, zone))


def _whole(value: Any) -> Any:
    if isinstance(value, (float, Decimal)) and _is_number(value) and value == int(value):
        return int(value)
    return value


def _is_text(values: Sequence[str]) -> bool:
    try:
        "".join(values).encode()
    except UnicodeEncodeError:
        return False
    return True


def _fit_64_bits(values: Sequence[int]) -> bool:
    return min(values) >= _SMALLEST_INTEGER and max(values) <= _LARGEST_INTEGER


# Types whose values can be sent as they are, once all values of a column pass one check.
_UNIFORM: dict[type, Callable[[Sequence[Any]], bool]] = {
    str: _is_text,
    bool: lambda _: True,
    int: _fit_64_bits,
    float: lambda values: all(map(math.isfinite, values)),
    Decimal: lambda values: all(map(_is_json_number, values)),
    datetime.date: lambda _: True,
    uuid.UUID: lambda _: True,
}
_DECLARED: dict[type, str] = {int: "int", datetime.date: "date"}


def property_value(name: str, value: Any, zone: datetime.tzinfo) -> tuple[Any, Declared]:
    """
    Return what is sent for one value of a property, and its declared type.

    :param name: The property's dotted name.
    :param value: Any value; None, and an Enum of None, is not sent.
    :param zone: What datetimes without an offset mean.
    :raises ValueRefusedError: Where the value cannot be sent.
    """
    value = _unwrapped(value)
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
    key = _unwrapped(key)
    if not isinstance(key, str):
        raise ValueRefusedError(f"{owner} has a key of type {type(key).__name__}, not text")
    return str.__str__(key)


def utc(value: datetime.datetime, zone: datetime.tzinfo) -> datetime.datetime:
    """
    Return the moment in UTC, as a plain datetime.

    :param value: A datetime; without an offset it is one in ``zone``.
    :param zone: A time zone.
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
        raise ValueRefusedError("is not a moment between the years 1 and 9999") from None


def checked_text(field: str, value: str) -> str:
    """
    Return text as a plain str.

    :param field: Where it goes, for the reason of refusal.
    :param value: The text.
    :raises ValueRefusedError: Where it has no UTF-8 form.
    """
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueRefusedError(f"{field} holds half of a surrogate pair, which has no UTF-8 form") from None
    return str.__str__(value)


def _unwrapped(value: Any) -> Any:
    return value.value if isinstance(value, enum.Enum) else value


def _is_json_number(value: Decimal) -> bool:
    # copy_abs, unlike abs, does not round, which fails for huge exponents.
    return value.is_finite() and value.copy_abs() <= _LARGEST_REAL


def _is_number(value: Any) -> bool:
    """Tell whether a value is a number that a JSON reader can take for a real."""
    if isinstance(value, bool):
        return False
    if isinstance(value, Decimal):
        return _is_json_number(value)
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and _SMALLEST_INTEGER <= value <= _LARGEST_INTEGER


def _scalar(name: str, value: Any) -> tuple[Any, Declared]:
    match value:
        case str():
            return checked_text(f"property {name!r}", value), None
        case bool():
            return value, None
        case int() if _SMALLEST_INTEGER <= value <= _LARGEST_INTEGER:
            return int(value), "int"
        case int():
            raise ValueRefusedError(f"property {name!r} is an integer beyond 64 bits; send it as text")
        case float() if math.isfinite(value):
            return float(value), None
        case Decimal() if _is_json_number(value):
            return Decimal(value), None
        case float() | Decimal():
            raise ValueRefusedError(
                f"property {name!r} is NaN, infinite or beyond 1.8e308, which JSON cannot say; make it NULL"
            )
        case uuid.UUID():
            return str(value), None
    raise ValueRefusedError(
        f"property {name!r} is of type {type(value).__name__}, which has no form in JSON; convert it to text "
        "or a number in the query"
    )


def _temporal(name: str, value: Any, zone: datetime.tzinfo) -> tuple[Any, Declared]:
    match value:
        case datetime.datetime():
            try:
                return utc(value, zone), "date"
            except ValueRefusedError as error:
                raise ValueRefusedError(f"property {name!r} {error}") from None
        case datetime.date():
            return datetime.date(value.year, value.month, value.day), "date"
        case datetime.timedelta():
            return value.total_seconds(), None
    return value.isoformat(), None


def _object(name: str, value: Mapping[Any, Any], zone: datetime.tzinfo) -> tuple[dict[str, Any], Declared]:
    sent: dict[str, Any] = {}
    declared: list[tuple[str, str]] = []
    for given, item in value.items():
        key = plain_key(f"property {name!r}", given)
        path = f"{name}.{key}"
        if path.count(".") > _MOST_LEVELS:
            raise ValueRefusedError(
                f"property {path[:80]!r}: objects are nested more than {_MOST_LEVELS} deep"
            )
        if problem := property_name_problem(path):
            raise ValueRefusedError(f"property {path[:80]!r}: {problem}")
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
            raise ValueRefusedError(f"property {path[:80]!r} is given twice, in two spellings")
    if last in target:
        raise ValueRefusedError(f"property {path[:80]!r} is given twice, in two spellings")
    target[last] = value


def _array(name: str, value: Sequence[Any], zone: datetime.tzinfo) -> tuple[list[Any], Declared]:
    sent = []
    kinds: set[Declared] = set()
    for given in value:
        item = _unwrapped(given)
        if isinstance(item, (Mapping, list, tuple)):
            kind = "objects" if isinstance(item, Mapping) else "arrays"
            raise ValueRefusedError(
                f"property {name!r} is an array of {kind}, which FullStory does not take; send it as text or "
                "as properties of their own"
            )
        element, element_type = property_value(name, item, zone)
        if element is UNSET:
            continue
        sent.append(element)
        kinds.add(element_type)
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
    value = _unwrapped(value)
    if isinstance(value, str):
        return checked_text(field, value)
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value():
        if value.adjusted() > _MOST_DIGITS:
            raise ValueRefusedError(f"{field} is longer than 256 characters", INVALID_PARAMETER)
        return str(int(value))
    if isinstance(value, int) and not isinstance(value, bool):
        # A decimal digit takes more than 3 bits.
        if value.bit_length() > 3 * _MOST_DIGITS:
            raise ValueRefusedError(f"{field} is longer than 256 characters", INVALID_PARAMETER)
        return str(int(value))
    raise ValueRefusedError(f"{field} must be text, not {type(value).__name__}; cast it in the query")


def as_integer(field: str, value: Any) -> int:
    """
    Return what is sent for a field of whole numbers.

    :param field: Path of the field.
    :param value: Any value but None.
    :raises ValueRefusedError: Where the value is no whole number.
    """
    value = _unwrapped(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    if _is_number(value) and value == int(value):
        return int(value)
    raise ValueRefusedError(f"{field} must be a whole number, not {type(value).__name__}")


def as_number(field: str, value: Any) -> float | Decimal:
    """
    Return what is sent for a field of numbers.

    :param field: Path of the field.
    :param value: Any value but None.
    :raises ValueRefusedError: Where the value is no finite number.
    """
    value = _unwrapped(value)
    if _is_number(value):
        # As a plain number: subclasses are not written as JSON.
        plain = next(kind for kind in (int, float, Decimal) if isinstance(value, kind))
        return plain(value)
    raise ValueRefusedError(f"{field} must be a finite number, not {type(value).__name__}")


def as_boolean(field: str, value: Any) -> bool:
    """
    Return what is sent for a field of truth values; 0 and 1 count, since not every database has booleans.

    :param field: Path of the field.
    :param value: Any value but None.
    :raises ValueRefusedError: Where the value is no truth value.
    """
    value = _unwrapped(value)
    if isinstance(value, (bool, int)) and value in (0, 1):
        return bool(value)
    raise ValueRefusedError(f"{field} must be true or false, not {type(value).__name__}")


def as_moment(field: str, value: Any, zone: datetime.tzinfo) -> datetime.datetime:
    """
    Return what is sent for a field of time: a moment in UTC, so that equal moments have equal bytes.

    :param field: Path of the field.
    :param value: A datetime, a date (its midnight), or text in ISO 8601.
    :param zone: What a value without an offset means.
    :raises ValueRefusedError: Where the value is no moment.
    """
    value = _unwrapped(value)
    if isinstance(value, str):
        try:
            value = datetime.datetime.fromisoformat(value.strip())
        except ValueError:
            raise ValueRefusedError(f"{field} is text that is not ISO 8601", INVALID_PARAMETER) from None
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        value = datetime.datetime(value.year, value.month, value.day)  # noqa: DTZ001 - utc() adds the zone.
    if not isinstance(value, datetime.datetime):
        raise ValueRefusedError(
            f"{field} must be a timestamp, a date or text in ISO 8601, not {type(value).__name__}; convert "
            "it in the query",
            INVALID_PARAMETER,
        )
    try:
        return utc(value, zone)
    except ValueRefusedError as error:
        raise ValueRefusedError(f"{field} {error}", INVALID_PARAMETER) from None
