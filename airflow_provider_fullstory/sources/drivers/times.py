"""Times that a database has and Python does not."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TimeBeyondPython:
    """
    A time that is infinite, not in the years 1 to 9999, or 24:00; refused like any unknown type.

    :param text: The time as the database writes it.
    """

    text: str

    def __str__(self) -> str:
        return self.text
