"""What stands in a source where a record should be."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class Unreadable:
    """
    A line of a file that is no JSON.

    :param text: The line.
    :param line: Which one it is, for a person.
    :param problem: What is wrong with it; None where it is nested too deep, or has too large a number.
    """

    text: str = dataclasses.field(repr=False)
    line: str
    problem: str | None
