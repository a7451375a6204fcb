"""The warehouse of the example DAGs, and where nothing else is asked for, Airflow's metadata database."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING, Any

from demo.postgresql import USER, PostgreSQL

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime
    from decimal import Decimal
    from pathlib import Path

    from demo.purchases import Purchase

PURCHASES = """
    CREATE TABLE purchases (
        purchase_id  integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
        customer_id  text NOT NULL,
        purchased_on date NOT NULL,
        quantity     integer NOT NULL,
        amount       numeric(10, 2) NOT NULL
    )
"""
ORDERS = """
    CREATE TABLE orders (
        order_id    integer PRIMARY KEY,
        customer_id text NOT NULL,
        ordered_at  timestamp WITHOUT TIME ZONE NOT NULL,
        status      text NOT NULL,
        total       numeric(10, 2) NOT NULL,
        updated_at  timestamp WITH TIME ZONE NOT NULL DEFAULT now()
    )
"""


@dataclass(frozen=True)
class Order:
    """One row of the table that the hourly examples read; `ordered_at` carries no time zone."""

    order_id: int
    customer_id: str
    ordered_at: datetime
    status: str
    total: Decimal


class Warehouse(PostgreSQL):
    """
    Hold the rows that are imported, and Airflow's metadata unless that has its own server.

    :param directory: An existing directory with a short path.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, "postgresql", ("warehouse", "airflow"))

    @contextmanager
    def cursor(self, database: str = "warehouse") -> Iterator[Any]:
        """Give a cursor whose work is committed at the end."""
        with super().cursor(database) as cursor:
            yield cursor

    def load_purchases(self, purchases: Iterable[Purchase]) -> int:
        """Create the table `purchases` with these rows, numbered in their order, and return how many."""
        columns = ("customer_id", "purchased_on", "quantity", "amount")
        rows = ((row.customer_id, row.purchased_on, row.quantity, row.amount) for row in purchases)
        return self._load("purchases", PURCHASES, columns, rows)

    def load_orders(self, orders: Iterable[Order]) -> int:
        """Create the table `orders` with these rows, and return how many."""
        columns = ("order_id", "customer_id", "ordered_at", "status", "total")
        rows = ((row.order_id, row.customer_id, row.ordered_at, row.status, row.total) for row in orders)
        return self._load("orders", ORDERS, columns, rows)

    def connection_json(self) -> str:
        """Return a value for `AIRFLOW_CONN_WAREHOUSE`."""
        return json.dumps(
            {"conn_type": "postgres", "host": str(self._data), "login": USER, "schema": "warehouse"}
        )

    def _load(
        self, table: str, definition: str, columns: tuple[str, ...], rows: Iterable[tuple[Any, ...]]
    ) -> int:
        lines = StringIO("".join("\t".join(map(str, row)) + "\n" for row in rows))
        with self.cursor() as cursor:
            cursor.execute(definition)
            cursor.copy_from(lines, table, columns=columns)
            loaded: int = cursor.rowcount
        return loaded
