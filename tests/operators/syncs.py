"""A warehouse table, and runs of the task that syncs it."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

from airflow_provider_fullstory.watermark import Watermark
from tests.conftest import FakeDagRun
from tests.tries import Task

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_fullstory.emulator.client import EmulatorClient
    from airflow_provider_fullstory.operators.fullstory import FullStoryImportEventsOperator

SQL = """
    SELECT order_id, customer AS "user.uid", updated_at, status FROM orders
    WHERE updated_at {comparison} :since ORDER BY updated_at, order_id
"""


class Warehouse:
    """A table of orders in SQLite."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.execute("CREATE TABLE orders (order_id INTEGER, customer TEXT, updated_at INTEGER, status TEXT)")

    def execute(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self._path)) as connection, connection:
            return connection.execute(statement, values).fetchall()

    def add(self, *orders: tuple[int, int | None], status: str = "new") -> None:
        """Add orders: a number and the time of its update each."""
        for order_id, updated_at in orders:
            self.execute(
                "INSERT INTO orders VALUES (?, ?, ?, ?)", order_id, f"u{order_id}", updated_at, status
            )


class SyncRun(Task):
    """One run of a sync; its tries and clears share what outlives them, and so do the runs of the sync."""

    def __init__(self, tmp_path: Path, run_id: str, **arguments: Any) -> None:
        given: dict[str, Any] = {
            "sql_conn_id": "warehouse",
            "sql": SQL.format(comparison=">"),
            "parameters": {"since": Watermark("updated_at", initial=0)},
            "event_name": "Order Updated",
        }
        given |= {"state_uri": f"file://{tmp_path / 'state'}"} | arguments
        super().__init__(None, given.pop("state_uri"), **given)
        self.run_id = run_id
        self.run = FakeDagRun()

    def operator(self, **arguments: Any) -> FullStoryImportEventsOperator:
        return super().operator(**arguments)

    def next_context(self, breaking: Any = None) -> dict[str, Any]:
        context = super().next_context(breaking)
        context["ti"].run_id = context["run_id"] = self.run_id
        return context


def with_ids(lag: int = 0, **arguments: Any) -> dict[str, Any]:
    """Return the arguments of a sync with insert ids."""
    return {
        "sql": SQL.format(comparison=">="),
        "parameters": {"since": Watermark("updated_at", initial=0, lag=lag)},
        "insert_id": ["order_id", "updated_at"],
        **arguments,
    }


def imported(emulator: EmulatorClient) -> list[tuple[int, int]]:
    """Return the orders that FullStory has, each as often as it has it."""
    properties = [event["event"]["properties"] for event in emulator.iterate_events()]
    return sorted((event["order_id"], event["updated_at"]) for event in properties)


def record_of(tmp_path: Path) -> dict[str, Any]:
    """Return the record of the only sync."""
    [file] = (tmp_path / "state" / "syncs").glob("*/sync.json")
    record: dict[str, Any] = json.loads(file.read_text())
    return record
