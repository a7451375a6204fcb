"""Values of a database as text that keeps their type, and back: what a sync remembers of its watermark."""

from __future__ import annotations

import datetime
import math
import re
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final, TypeVar

from airflow_provider_fullstory.exceptions import FullStoryInputError
from airflow_provider_fullstory.records.json_values import is_utf8
from airflow_provider_fullstory.records.timestamps import parsed
from airflow_provider_fullstory.records.values import unwrapped
from airflow_provider_fullstory.syncs.record import StoredValue

if TYPE_CHECKING:
    from collections.abc import Callable

_Number = TypeVar("_Number", float, Decimal)

TIMESTAMP: Final = "timestamp"
LOCAL_TIMESTAMP: Final = "local-timestamp"
DATE: Final = "date"
INTEGER: Final = "integer"
DECIMAL: Final = "decimal"
FLOAT: Final = "float"
TEXT: Final = "text"
BYTES: Final = "bytes"
#: What each type is called in a message.
TYPES: Final = {
    TIMESTAMP: "timestamp with a time zone",
    LOCAL_TIMESTAMP: "timestamp without a time zone",
    DATE: "date",
    INTEGER: "whole number",
    DECIMAL: "decimal number",
    FLOAT: "floating point number",
    TEXT: "text",
    BYTES: "byte string",
}
_ADVICE: Final = {
    "bool": "name another column",
    "UUID": "databases do not agree on the order of UUIDs; cast it to text in the query, or name another "
    "column",
}
#: A fraction with digits beyond microseconds, which only pandas' Timestamp has.
_NANOSECONDS: Final = re.compile(r"[.,](\d{7,9})(?!\d)", re.ASCII)


def stored(value: Any, column: str) -> StoredValue:
    """
    Return a value of a database in the form that a record of a sync holds.

    :param value: The value, as the driver of the database gave it.
    :param column: Its column, for the message of an error.
    :raises FullStoryInputError: If a watermark cannot have such a value.
    """
    value = unwrapped_value(value)
    kind = type_of(value, column)
    return StoredValue(kind, _text(kind, value, column))


def unwrapped_value(value: Any) -> Any:
    """Return a value without what some drivers wrap it in; bytes as ``bytes``, a missing value as None."""
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    # To cut the digits beyond microseconds would make the row that has them a new one in every run.
    return value if type(value).__name__ == "datetime64" else unwrapped(value)


def type_of(value: Any, column: str) -> str:
    """
    Return the name of the type of a value, one of ``TYPES``.

    :param value: The value, unwrapped.
    :param column: Its column, for the message of an error.
    :raises FullStoryInputError: If a watermark cannot have such a value.
    """
    if isinstance(value, datetime.datetime):
        return LOCAL_TIMESTAMP if value.utcoffset() is None else TIMESTAMP
    if not isinstance(value, bool):
        for kind, type_ in _PLAIN.items():
            if isinstance(value, type_):
                return kind
    name = type(value).__name__
    advice = _ADVICE.get(name, "cast it in the query, or name another column")
    raise FullStoryInputError(
        f"Column {column!r} cannot be a watermark, since it holds a value of type {name}; {advice}. A "
        "watermark is a timestamp, a date, a number, text or bytes."
    )


_PLAIN: Final[dict[str, type]] = {
    DATE: datetime.date,
    INTEGER: int,
    DECIMAL: Decimal,
    FLOAT: float,
    TEXT: str,
    BYTES: bytes,
}


def _text(kind: str, value: Any, column: str) -> str:
    if kind in (DECIMAL, FLOAT) and not is_finite(value):
        raise FullStoryInputError(
            f"Column {column!r} cannot be a watermark with a value that is NaN or infinite: no number is "
            "above it. Leave such rows out in the query."
        )
    if kind == TEXT and not is_utf8(value):
        raise FullStoryInputError(
            f"Column {column!r} cannot be a watermark with text that has no UTF-8 form: it could not be kept."
        )
    return _WRITE[kind](value)


def is_finite(value: float | Decimal) -> bool:
    """Return whether a number is neither NaN nor infinite."""
    return value.is_finite() if isinstance(value, Decimal) else math.isfinite(value)


def is_missing(value: Any) -> bool:
    """Return whether an unwrapped value is no watermark of its row: NULL, NaN or infinite."""
    return value is None or (isinstance(value, (float, Decimal)) and not is_finite(value))


def in_utc(value: datetime.datetime) -> datetime.datetime:
    """Return the same instant in UTC, or as it is if only its own zone can express it."""
    try:
        return value.astimezone(datetime.UTC)
    except (OverflowError, ValueError):
        return value


def _isoformat(value: datetime.datetime) -> str:
    # pandas' Timestamp is a datetime with more digits.
    return value.isoformat(timespec="nanoseconds" if hasattr(value, "nanosecond") else "microseconds")


_WRITE: Final[dict[str, Callable[[Any], str]]] = {
    TIMESTAMP: lambda value: _isoformat(in_utc(value)),
    LOCAL_TIMESTAMP: _isoformat,
    DATE: datetime.date.isoformat,
    # Subclasses may have another text.
    INTEGER: int.__repr__,
    DECIMAL: Decimal.__str__,
    FLOAT: float.__repr__,
    TEXT: str.__str__,
    BYTES: lambda value: f"0x{value.hex()}",
}


def restored(value: StoredValue) -> Any:
    """
    Return a value of the type that the driver gave, to be given to the driver again.

    Timestamps with a time zone come back in UTC, those with nanoseconds as ``pandas.Timestamp``. Where pandas
    is not installed, these digits are cut off.

    :param value: The value as it was stored.
    :raises FullStoryInputError: If its text is not of its type.
    """
    try:
        read = _READ[value.type]
    except KeyError:
        raise FullStoryInputError(
            f"The stored watermark has the type {value.type!r}, which this version of the package does not "
            f"know; it knows {', '.join(TYPES)}."
        ) from None
    try:
        return read(value.value)
    except (ValueError, InvalidOperation):
        raise FullStoryInputError(
            f"The stored watermark {value.value!r} is no {TYPES[value.type]}. Set it with fullstory-sync set."
        ) from None


def _timestamp(text: str) -> datetime.datetime:
    moment = datetime.datetime.fromisoformat(text)
    if not _NANOSECONDS.search(text):
        return moment
    try:
        import pandas as pd  # type: ignore[import-untyped,unused-ignore]
    except ImportError:
        return moment
    timestamp: datetime.datetime = pd.Timestamp(text)
    return timestamp


def _finite_float(text: str) -> float:
    return _finite(float(text))


def _finite_decimal(text: str) -> Decimal:
    return _finite(Decimal(text))


def _finite(number: _Number) -> _Number:
    if not is_finite(number):
        raise ValueError("A watermark is finite.")
    return number


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text[2:] if text[:2] in ("0x", "0X") else text)


_READ: Final[dict[str, Callable[[str], Any]]] = {
    TIMESTAMP: _timestamp,
    LOCAL_TIMESTAMP: _timestamp,
    DATE: datetime.date.fromisoformat,
    INTEGER: int,
    DECIMAL: _finite_decimal,
    FLOAT: _finite_float,
    TEXT: str,
    BYTES: _bytes,
}


def parsed_by_hand(text: str, like: StoredValue | None = None, type_name: str | None = None) -> StoredValue:
    """
    Return the value that a person gave.

    :param text: What was given.
    :param like: The value that is stored now, whose type it takes; None if nothing is stored.
    :param type_name: The type it takes instead, one of ``TYPES``.
    :raises FullStoryInputError: If the text is not of that type, or the type is not known.
    """
    kind = type_name or (None if like is None else like.type)
    if kind not in TYPES:
        said = "The sync has no watermark yet" if kind is None else f"A watermark has no type {kind!r}"
        raise FullStoryInputError(f"{said}: give its type with --type, one of {', '.join(TYPES)}.")
    try:
        value = _by_hand(text, kind, like)
    except (ValueError, OverflowError, InvalidOperation):
        raise FullStoryInputError(
            f"{text!r} is no {TYPES[kind]}; write it as {_EXAMPLES[kind]}, or give another type with --type."
        ) from None
    return stored(value, "the watermark")


_EXAMPLES: Final = {
    TIMESTAMP: "2026-01-31T09:30:00Z, with its offset",
    LOCAL_TIMESTAMP: "2026-01-31T09:30:00, without an offset",
    DATE: "2026-01-31",
    INTEGER: "1024",
    DECIMAL: "10.50",
    FLOAT: "10.5",
    TEXT: "text",
    BYTES: "0x00000000000007d1, in hexadecimal digits",
}


def _by_hand(text: str, kind: str, like: StoredValue | None) -> Any:
    if kind == TEXT:
        return text
    text = text.strip()
    if kind not in (TIMESTAMP, LOCAL_TIMESTAMP):
        return _READ[kind](text)
    moment = parsed(text)
    if (moment.tzinfo is None) != (kind == LOCAL_TIMESTAMP):
        raise ValueError("The offset is missing, or too much.")
    digits = _NANOSECONDS.search(text)
    if not digits and (like is None or not _NANOSECONDS.search(like.value)):
        return moment
    # The digits that Python's datetime does not have.
    rest = f"{digits[1]:0<9}"[6:] if digits else "000"
    start = moment.isoformat(timespec="microseconds")
    return _timestamp(f"{start[:26]}{rest}{start[26:]}")
