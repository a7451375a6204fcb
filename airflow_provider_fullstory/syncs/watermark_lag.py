"""
A watermark less its lag.

The result is never too high, so that the next query finds all that it must: a value that does not divide
evenly is rounded down. A timestamp without a time zone is a local time, and clocks are set back: while an
hour occurs twice, rows that are newer have lower values. The result then goes back to the start of that hour.
"""

from __future__ import annotations

import datetime
import decimal
import math
import re
import sys
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, TypeAlias

from airflow_provider_fullstory.exceptions import FullStoryInputError
from airflow_provider_fullstory.syncs.watermark_values import in_utc, is_finite

Lag: TypeAlias = datetime.timedelta | float | Decimal | None

_NO_TIME: Final = datetime.timedelta()
_DAY: Final = datetime.timedelta(days=1)
_SECOND: Final = datetime.timedelta(seconds=1)
#: Clocks are set back by a day at most: where the date line moves.
_LONGEST_SETBACK: Final = datetime.timedelta(hours=25)
#: Clocks are not set twice within it.
_STEP: Final = datetime.timedelta(minutes=30)
#: Enough digits for any number of a database.
_DOWN: Final = decimal.Context(prec=2000, rounding=decimal.ROUND_FLOOR)
_TIMESTAMP_TEXT: Final = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d)"
    r"(?:(?P<between>[T ])(?P<minutes>\d\d:\d\d)(?P<seconds>:\d\d)?"
    r"(?:(?P<point>[.,])(?P<digits>\d{1,9}))?(?P<offset> ?(?:Z|UTC|[+-]\d\d(?::?\d\d(?::?\d\d)?)?))?)?",
    re.ASCII,
)


def check_lag(lag: Any) -> None:
    """
    Refuse a lag that is none for any value.

    :param lag: What the user gave.
    :raises FullStoryInputError: Saying what a lag is.
    """
    if lag is None:
        return
    if isinstance(lag, bool) or not isinstance(lag, (datetime.timedelta, int, float, Decimal)):
        raise FullStoryInputError(
            f"The lag of a watermark is {lag!r}; it must be a timedelta for timestamps and dates, a number "
            "for numbers."
        )
    amount = lag / _DAY if isinstance(lag, datetime.timedelta) else lag
    if not is_finite(amount):
        raise FullStoryInputError(f"The lag of a watermark is {lag!r}; it must be finite.")
    if amount < 0:
        raise FullStoryInputError(
            f"The lag of a watermark is {lag!r}; it must not be negative: rows would be left out."
        )


def less(value: Any, lag: Lag, zone: datetime.tzinfo, *, column: str, may_go_back: bool = False) -> Any:
    """
    Return a watermark less its lag, in the type and form of the watermark.

    :param value: The value that was stored.
    :param lag: What to subtract.
    :param zone: The zone of timestamps without a time zone.
    :param column: The column of the watermark, for the message of an error.
    :param may_go_back: Whether a timestamp without a time zone may go back to the start of an hour that
        occurs twice even without a lag. Rows are then read again.
    :raises FullStoryInputError: If the lag does not go with the value.
    """
    check_lag(lag)
    if isinstance(value, (datetime.date, str)):
        return _earlier(value, _time_of(lag, value, column), zone, may_go_back=may_go_back, column=column)
    if lag is None:
        return value
    if isinstance(value, (int, float, Decimal)) and not isinstance(lag, datetime.timedelta):
        return _lower(value, lag)
    raise _unfit(lag, value, column)


def _time_of(lag: Lag, value: Any, column: str) -> datetime.timedelta:
    if lag is None:
        return _NO_TIME
    if not isinstance(lag, datetime.timedelta):
        raise _unfit(lag, value, column)
    return lag


def _unfit(lag: Lag, value: Any, column: str) -> FullStoryInputError:
    if isinstance(value, (str, bytes)):
        kind = "text that is no timestamp" if isinstance(value, str) else "bytes"
        wanted = f"a watermark that is {kind} has no lag; leave it out"
    else:
        wanted = f"it must be a {'timedelta' if isinstance(value, datetime.date) else 'number'}"
    return FullStoryInputError(
        f"The lag of the watermark is {lag!r}, but column {column!r} holds values of type "
        f"{type(value).__name__}; {wanted}."
    )


# Numbers ----------------------------------------------------------------------------------------------------


def _lower(value: float | Decimal, lag: float | Decimal) -> float | Decimal:
    if isinstance(value, int):
        return value - math.ceil(lag)
    if isinstance(value, Decimal):
        return _DOWN.subtract(value, lag if isinstance(lag, Decimal) else Decimal(str(lag)))
    result = value - float(lag)
    if math.isinf(result):
        return -sys.float_info.max
    if Fraction(result) > Fraction(value) - Fraction(lag):
        return math.nextafter(result, -math.inf)
    return result


# Timestamps and dates ---------------------------------------------------------------------------------------


def _earlier(
    value: datetime.date | str,
    lag: datetime.timedelta,
    zone: datetime.tzinfo,
    *,
    may_go_back: bool,
    column: str,
) -> datetime.date | str:
    if not lag and not may_go_back:
        return value
    if isinstance(value, str):
        return _earlier_text(value, lag, zone, column)
    if not isinstance(value, datetime.datetime):
        return _earlier_date(value, lag)
    if value.utcoffset() is None:
        return _earlier_local(value, lag, zone)
    return _minus(in_utc(value), lag)


def _earlier_date(value: datetime.date, lag: datetime.timedelta) -> datetime.date:
    days = lag // _DAY + bool(lag % _DAY)
    return datetime.date.fromordinal(max(value.toordinal() - days, 1))


def _minus(value: datetime.datetime, lag: datetime.timedelta) -> datetime.datetime:
    try:
        return value - lag
    except (OverflowError, ValueError):
        return datetime.datetime.min.replace(tzinfo=value.tzinfo)


def _earlier_local(
    value: datetime.datetime, lag: datetime.timedelta, zone: datetime.tzinfo
) -> datetime.datetime:
    """Return a local time that no instant since the earliest one of the value, less the lag, is before."""
    local = datetime.datetime.fromisoformat(datetime.datetime.isoformat(value))
    try:
        earliest = min(local.replace(tzinfo=zone, fold=fold).astimezone(datetime.UTC) for fold in (0, 1))
        lowest = _lowest_local(earliest - lag, zone)
    except OverflowError:
        lowest = _minus(local, lag)
    if lowest >= local:
        return value
    # pandas' Timestamp is made of a datetime.
    make: Any = type(value) if hasattr(value, "nanosecond") else None
    return lowest if make is None else make(lowest)


def _lowest_local(start: datetime.datetime, zone: datetime.tzinfo) -> datetime.datetime:
    """
    Return the lowest local time that any instant has from the start on.

    :param start: An instant in UTC.
    :param zone: The zone.
    """
    lowest = _local(start, zone)
    # Clocks are set at whole seconds.
    before = start.replace(microsecond=0)
    end = start + _LONGEST_SETBACK
    while before < end:
        after = before + _STEP
        if _offset(after, zone) < _offset(before, zone):
            lowest = min(lowest, _local(_change(before, after, zone), zone))
        before = after
    return lowest


def _change(before: datetime.datetime, after: datetime.datetime, zone: datetime.tzinfo) -> datetime.datetime:
    """Return the first second with the later offset, of two whole seconds with different ones."""
    offset = _offset(after, zone)
    while after - before > _SECOND:
        middle = before + (after - before) // _SECOND // 2 * _SECOND
        if _offset(middle, zone) == offset:
            after = middle
        else:
            before = middle
    return after


def _local(instant: datetime.datetime, zone: datetime.tzinfo) -> datetime.datetime:
    return instant.astimezone(zone).replace(tzinfo=None, fold=0)


def _offset(instant: datetime.datetime, zone: datetime.tzinfo) -> datetime.timedelta:
    return instant.astimezone(zone).utcoffset() or _NO_TIME


# Timestamps and dates as text -------------------------------------------------------------------------------


def _earlier_text(text: str, lag: datetime.timedelta, zone: datetime.tzinfo, column: str) -> str:
    form = _TIMESTAMP_TEXT.fullmatch(text)
    try:
        local = None if form is None else _local_time(form)
    except ValueError:
        local = None
    if form is None or local is None:
        if not lag:
            return text
        raise _unfit(lag, text, column)
    if form["between"] is None:
        return _earlier_date(local.date(), lag).isoformat()
    result = _earlier_local(local, lag, zone) if form["offset"] is None else _minus(local, lag)
    if result >= local:
        return text
    written = _in_form(result, form)
    # Some systems leave out zeros that end a fraction: 09:15:00 sorts before 09:15:00.00, and 09:15:00.5Z
    # before 09:15:00Z.
    if written.endswith("Z") or (form["digits"] and written.removesuffix(form["offset"] or "").endswith("0")):
        return _in_form(_minus(result, _unit(form)), form)
    return written


def _local_time(form: re.Match[str]) -> datetime.datetime:
    seconds, digits = form["seconds"] or "", form["digits"]
    if digits and not seconds:
        raise ValueError("A fraction is one of seconds.")
    fraction = f".{digits[:6]:0<6}" if digits else ""
    return datetime.datetime.fromisoformat(f"{form['day']}T{form['minutes'] or '00:00'}{seconds}{fraction}")


def _unit(form: re.Match[str]) -> datetime.timedelta:
    """Return what its last digit counts, microseconds at least."""
    if form["seconds"] is None:
        return datetime.timedelta(minutes=1)
    units: int = 10 ** min(len(form["digits"] or ""), 6)
    return _SECOND // units


def _in_form(local: datetime.datetime, form: re.Match[str]) -> str:
    text = local.isoformat(form["between"], "microseconds")
    end = len(local.isoformat(form["between"], "minutes" if form["seconds"] is None else "seconds"))
    fraction = ""
    if form["digits"]:
        fraction = form["point"] + f"{text[end + 1 :]:0<9}"[: len(form["digits"])]
    return f"{text[:end]}{fraction}{form['offset'] or ''}"
