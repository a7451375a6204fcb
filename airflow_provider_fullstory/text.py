"""Words for a person: numbers of things, and lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def plural(count: int, noun: str) -> str:
    """
    Return a number of things as words: ``1 batch``, ``2,000 batches``.

    :param count: How many.
    :param noun: What one is called.
    """
    if count == 1:
        return f"1 {noun}"
    return f"{count:,} {noun}{'es' if noun.endswith(('s', 'x', 'ch', 'sh')) else 's'}"


def some(names: Sequence[str], most: int = 10) -> str:
    """
    Return a list for a message, cut where it is too long to read.

    :param names: What to list.
    :param most: How many at most.
    """
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
