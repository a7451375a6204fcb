"""A warehouse table, runs of the task that syncs it, and the changes at which these break."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from unittest.mock import patch

from airflow_provider_fullstory.batch_import.storage.folder import Folder
from airflow_provider_fullstory.watermark import Watermark
from tests.conftest import FakeDagRun
from tests.tries import Breaking, Task

if TYPE_CHECKING:
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


class Changes(Breaking):
    """All that a try changes in folders, by name; it breaks at one of them, given its number."""

    def __init__(self, at: int = 10**9, *, is_done: bool = False) -> None:
        super().__init__(at=at, is_done=is_done)
        self.names: list[str] = []

    def __enter__(self) -> Self:
        methods = {name: getattr(Folder, name) for name in ("write", "create", "remove")}
        self._patch = patch.multiple(
            Folder, **{name: self._breaking(name, method) for name, method in methods.items()}
        )
        self._patch.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._patch.__exit__(None, None, None)

    def _breaking(self, change: str, method: Any) -> Any:
        def broken(folder: Folder, name: str = "", *content: Any) -> Any:
            given: list[Any] = []
            self.names.append(f"{change} {Path(str(folder)).name}/{name}")
            self(name, {}, lambda: given.append(method(folder, name, *content)))
            return given[0]

        return broken

    @property
    def of_each_kind(self) -> list[int]:
        """The numbers of changes: all of the records of sync and import, and the last of each other kind."""
        kinds: dict[str, int] = {}
        for at, name in enumerate(self.names, 1):
            is_record = name.endswith(("/sync.json", "/import.json"))
            kinds[f"{at}" if is_record else re.sub(r"[0-9a-f]*[0-9]", "", name)] = at
        return sorted(kinds.values())
