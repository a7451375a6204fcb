"""Convert a value to the type of its field."""

from __future__ import annotations

import datetime
import uuid
from decimal import Decimal
from typing import Any, Final

from airflow_provider_fullstory.records import rules, timestamps
from airflow_provider_fullstory.records.json_values import is_json_number
from airflow_provider_fullstory.records.values import checked_text, unwrapped, utc

#: Digits of an integer or Decimal that can be an id; longer ones take seconds to write out.
_MOST_DIGITS: Final = 1000


def as_text(field: str, value: Any) -> str:
    """
    Return the value sent for a field of text, such as ``user.uid``.

    Whole numbers and UUIDs become text, since warehouses keep ids in these types; other types are refused,
    since their text would be a guess (a float id ``5.0``, say).

    :raises ValueRefusedError: If the value cannot be text.
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
    Return the value sent for a field of whole numbers.

    :raises ValueRefusedError: If the value is not a whole number.
    """
    value = unwrapped(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    if is_json_number(value) and value == int(value):
        return int(value)
    raise rules.NOT_WHOLE.broken(field=field, kind=type(value).__name__)


def as_number(field: str, value: Any) -> float | Decimal:
    """
    Return the value sent for a field of numbers.

    :raises ValueRefusedError: If the value is not a finite number.
    """
    value = unwrapped(value)
    if is_json_number(value):
        # As a plain number: subclasses are not written as JSON.
        plain = next(kind for kind in (int, float, Decimal) if isinstance(value, kind))
        return plain(value)
    raise rules.NOT_A_NUMBER.broken(field=field, kind=type(value).__name__)


def as_boolean(field: str, value: Any) -> bool:
    """
    Return the value sent for a field of truth values; 0 and 1 count, since not every database has booleans.

    :raises ValueRefusedError: If the value is not a truth value.
    """
    value = unwrapped(value)
    if isinstance(value, (bool, int)) and value in (0, 1):
        return bool(value)
    raise rules.NOT_A_TRUTH.broken(field=field, kind=type(value).__name__)


def as_moment(field: str, value: Any, zone: datetime.tzinfo) -> datetime.datetime:
    """
    Return the value sent for a field of time: a moment in UTC, so that equal moments have equal bytes.

    :param field: Path of the field.
    :param value: A datetime, a date (its midnight), or text in ISO 8601.
    :param zone: What a value without an offset means.
    :raises ValueRefusedError: If the value is not a moment.
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
