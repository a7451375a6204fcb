"""Timestamps as text, and the range of the timestamps of an import."""

from __future__ import annotations

import dataclasses
import datetime
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

# Python's fromisoformat takes any character between date and time, a digit too: it makes epoch milliseconds a
# moment of the 18th century.
_ISO_8601: Final = re.compile(
    # A date, and a time of day after T or, as databases print it, a space.
    r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?"
    # Its offset; Snowflake and SQL Server put a space before it, BigQuery writes UTC.
    r"(?: ?(?:Z|UTC|[+-]\d\d(?::?\d\d(?::?\d\d)?)?))?)?",
    re.ASCII,
)
_NUMBER: Final = re.compile(r"[+-]?\d+(?:\.\d*)?", re.ASCII)


def is_timestamp(text: str) -> bool:
    """
    Return whether text is a timestamp or a date in ISO 8601, in full, as FullStory documents it.

    A space may stand for the T and before the offset, and UTC for Z, since databases print so.
    """
    try:
        parsed(text)
    except ValueError:
        return False
    return True


def parsed(text: str) -> datetime.datetime:
    """
    Return the timestamp in text, for a date its midnight. Digits beyond microseconds are cut off.

    :raises ValueError: If it is not a timestamp.
    """
    text = text.strip()
    if not _ISO_8601.fullmatch(text):
        raise ValueError("Text is not ISO 8601.")
    return _read(text)


def parsed_column(texts: Sequence[str]) -> list[datetime.datetime] | None:
    """Return the timestamps in texts, None if the texts must be checked one by one."""
    if not all(map(_ISO_8601.fullmatch, texts)):
        return None
    try:
        return list(map(datetime.datetime.fromisoformat, texts))
    except ValueError:
        return None


def is_epoch(text: str) -> bool:
    """Return whether text is a number, as seconds or milliseconds since 1970 are."""
    return _NUMBER.fullmatch(text.strip()) is not None


def _read(text: str) -> datetime.datetime:
    try:
        return datetime.datetime.fromisoformat(text)
    except ValueError:
        # Python knows no space before an offset.
        day, _, rest = text.partition(" ")
        return datetime.datetime.fromisoformat(f"{day} {rest.replace('UTC', 'Z').replace(' ', '')}")


@dataclasses.dataclass(frozen=True, slots=True)
class TimestampSummary:
    """
    The earliest and the latest timestamp of some records.

    :param earliest: The earliest, None if no record has a timestamp.
    :param latest: The latest.
    :param missing: How many records have no timestamp: FullStory gives them the time of their import.
    """

    earliest: datetime.datetime | None = None
    latest: datetime.datetime | None = None
    missing: int = 0

    def __add__(self, other: TimestampSummary) -> TimestampSummary:
        if other.earliest is None or other.latest is None:
            return TimestampSummary(self.earliest, self.latest, self.missing + other.missing)
        if self.earliest is None or self.latest is None:
            return TimestampSummary(other.earliest, other.latest, self.missing + other.missing)
        return TimestampSummary(
            min(self.earliest, other.earliest),
            max(self.latest, other.latest),
            self.missing + other.missing,
        )


def summary(timestamps: Sequence[Any]) -> TimestampSummary:
    """
    Return the earliest and the latest timestamp of some records.

    :param timestamps: The timestamp of each record; anything else for a record that has none.
    """
    if set(map(type, timestamps)) == {datetime.datetime}:
        return TimestampSummary(min(timestamps), max(timestamps))
    given = [moment for moment in timestamps if isinstance(moment, datetime.datetime)]
    missing = len(timestamps) - len(given)
    return TimestampSummary(min(given), max(given), missing) if given else TimestampSummary(missing=missing)
