"""The orders in the warehouse, and the events that they should become."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from demo.warehouse import Order

FIRST_HOUR = datetime(2026, 3, 2, 10)  # noqa: DTZ001 - as the table has it
# Three hours, an order every twenty seconds, also on the very boundaries of the hours.
ORDERS = [
    Order(
        order_id=number,
        customer_id=f"secret-customer-{number % 40}",
        ordered_at=FIRST_HOUR + timedelta(seconds=20 * number),
        status=("placed", "paid", "späte Lieferung \U0001f4e6")[number % 3],
        total=Decimal(number * 37) / 100,
    )
    for number in range(540)
]


def order_event(order: Order, *names: str) -> dict[str, Any]:
    """Write down the event that an order should become, with these columns as its properties."""
    return {
        "name": "Order Updated",
        "timestamp": f"{order.ordered_at:%Y-%m-%dT%H:%M:%SZ}",
        "user": {"uid": order.customer_id},
        "properties": {name: getattr(order, name) for name in names},
        "schema": {"properties": {"order_id": "int"}},
    }
