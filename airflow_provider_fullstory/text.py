"""Text for messages: counts and lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def plural(count: int, noun: str) -> str:
    """
    Return a count with its noun: ``1 batch``, ``2,000 batches``.

    :param noun: The noun in the singular.
    """
    if count == 1:
        return f"1 {noun}"
    return f"{count:,} {noun}{'es' if noun.endswith(('s', 'x', 'ch', 'sh')) else 's'}"


def some(names: Sequence[str], most: int = 10) -> str:
    """
    Return a list for a message, shortened if it is too long to read.

    :param most: How many items are shown.
    """
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
