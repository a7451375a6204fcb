"""The watermark of a sync: how far it has come in a column of its query."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta
    from decimal import Decimal


class Watermark:
    """
    Stand, among the parameters of a query, for the value that a sync has come to.

    :param column: The column of the query's result.
    :param initial: The value for the first run, as the driver of the database takes it. (templated)
    :param lag: What is subtracted from the stored value when it is read: rows that were committed late are
        found by the next run. A timedelta for timestamps and dates, a number for numbers.
    """

    template_fields: Sequence[str] = ("initial",)

    def __init__(self, column: str, *, initial: Any, lag: timedelta | float | Decimal | None = None) -> None:
        self.column = column
        self.initial = initial
        self.lag = lag

    def __repr__(self) -> str:
        return f"Watermark({self.column!r}, initial={self.initial!r}, lag={self.lag!r})"
