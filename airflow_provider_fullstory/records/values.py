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

#: Units of numpy's times that Python's have no room for.
_FINER_THAN_MICROSECONDS: Final = ("ns", "ps", "fs", "as")


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
    Return moments in UTC, None where each needs a check of its own.

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
