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

    The first run gets ``initial``. Each later run gets the highest value that the runs before it have
    imported, less ``lag``:

    .. code-block:: python

        FullStoryImportEventsOperator(
            task_id="sync_orders",
            sql_conn_id="warehouse",
            sql='''
                SELECT order_id, customer_id AS "user.uid", updated_at AS "timestamp", total
                FROM orders
                WHERE updated_at >= %(since)s
                ORDER BY updated_at, order_id
            ''',
            parameters={
                "since": Watermark("timestamp", initial="2026-01-01T00:00:00Z", lag=timedelta(minutes=15))
            },
            insert_id=["order_id", "timestamp"],
            event_name="Order Updated",
        )

    The column is one of the query's *result*: here ``timestamp``, as the query names ``updated_at``. It
    holds timestamps, dates, numbers, text or bytes (``rowversion``), of one type in all rows; the database
    gets the value back in that type. Highest is what Python's ``max()`` returns. Text is compared character
    by character, as with ``COLLATE "C"``, so the database should compare it so too. If the database keeps
    more digits of a timestamp than its driver gives (nanoseconds), cast it to microseconds in the query.

    Without ``insert_id``, compare with ``>``: with ``>=`` the last row would be sent in every run. Rows that
    get the same value later, or a lower one, are then not found. With ``insert_id``, compare with ``>=`` and
    give a ``lag``, longer than the longest transaction that writes to the table: rows that have been
    imported are read again, but not sent again.

    Timestamps without a time zone are local times in the ``timezone`` of the operator. An hour that occurs
    twice when clocks are set back is read again from its start; that too needs ``insert_id``.

    :param column: The column of the query's result, found without regard to case.
    :param initial: The value for the first run, as the driver of the database takes it. (templated)
    :param lag: What is subtracted from the stored value when it is read: rows that were committed late are
        found by the next run. A timedelta for timestamps and dates, a number for numbers; only with
        ``insert_id``.
    """

    template_fields: Sequence[str] = ("initial",)

    def __init__(self, column: str, *, initial: Any, lag: timedelta | float | Decimal | None = None) -> None:
        self.column = column
        self.initial = initial
        self.lag = lag

    def __repr__(self) -> str:
        return f"Watermark({self.column!r}, initial={self.initial!r}, lag={self.lag!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Watermark):
            return NotImplemented
        return (self.column, self.initial, self.lag) == (other.column, other.initial, other.lag)

    def __hash__(self) -> int:
        # Templates are rendered in place, which changes the initial value.
        return hash((Watermark, self.column))
