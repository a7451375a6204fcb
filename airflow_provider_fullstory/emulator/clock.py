"""The organization's clock, which tests can move forward."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class Clock:
    """
    Return the current time. A test may move it forward instead of sleeping.

    :param advanced_seconds: Seconds that the clock is ahead of the machine's.
    """

    def __init__(self, advanced_seconds: float = 0.0) -> None:
        self.advanced_seconds = advanced_seconds

    def now(self) -> float:
        """Return the seconds since 1970 in UTC."""
        return time.time() + self.advanced_seconds

    def advance(self, seconds: float) -> None:
        """
        Move the clock forward.

        :param seconds: Seconds; never negative, since finished jobs stay finished.
        """
        self.advanced_seconds += seconds


def timestamp(seconds: float) -> str:
    """
    Return a point in time as the API writes it, with milliseconds and ``Z``.

    :param seconds: Seconds since 1970 in UTC.
    """
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def month_of(seconds: float) -> tuple[float, float]:
    """
    Return the start of the calendar month of a point in time, and the start of the next month.

    :param seconds: Seconds since 1970 in UTC.
    """
    start = datetime.fromtimestamp(seconds, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    year, month = (start.year + 1, 1) if start.month == 12 else (start.year, start.month + 1)
    return start.timestamp(), start.replace(year=year, month=month).timestamp()
