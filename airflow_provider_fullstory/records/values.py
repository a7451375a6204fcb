"""Values of any source as plain values of Python: Enums, scalars of numpy, subclasses, moments, text."""

from __future__ import annotations

import datetime
import enum
import sys
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_fullstory.records import rules
from airflow_provider_fullstory.records.json_values import is_utf8

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Units of numpy's times that Python's cannot represent.
_FINER_THAN_MICROSECONDS: Final = ("ns", "ps", "fs", "as")


def plain_key(owner: str, key: Any) -> str:
    """
    Return the key of an object as a plain str.

    :raises ValueRefusedError: If it is not text.
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

    :param field: Its field, for the reason of refusal.
    :param value: A datetime; without an offset it is one in ``zone``.
    :param zone: A time zone.
    :param rule: The rule that it breaks otherwise.
    :raises ValueRefusedError: If the moment is not between the years 1 and 9999.
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
    Return moments in UTC, None if they must be checked one by one.

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

    :raises ValueRefusedError: If it has no UTF-8 form.
    """
    if not is_utf8(value):
        raise rules.HALF_A_PAIR.broken(field=field)
    return str.__str__(value)


def unwrapped(value: Any) -> Any:
    """Return an Enum or a scalar of numpy as a plain value, and a missing value of pandas as None."""
    while isinstance(value, enum.Enum):
        value = value.value
    kind = type(value)
    if kind.__module__ == "numpy":
        return _of_numpy(value)
    is_missing = kind.__name__ in ("NAType", "NaTType") and kind.__module__.startswith("pandas.")
    return None if is_missing else value


def _of_numpy(value: Any) -> Any:
    # A value of numpy can exist only once numpy is imported.
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
