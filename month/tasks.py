"""The tasks that work on a sync: the hourly one, and those that people add."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from airflow_provider_fullstory.operators.fullstory import (
    FullStoryImportEventsOperator,
    FullStoryImportUsersOperator,
)
from airflow_provider_fullstory.watermark import Watermark
from month.customers import Customers
from month.table import LAG
from month.warehouse import EVENT, Records

if TYPE_CHECKING:
    from collections import Counter
    from datetime import datetime, timedelta
    from pathlib import Path

    from airflow_provider_fullstory.operators.imports import FullStoryImportOperator
    from demo.warehouse import Warehouse
    from month.table import Table

SYNC_NAME: Final = "records"
#: More than are ever refused.
ANY_NUMBER: Final = 10**6
_USER_COLUMNS: Final = "uid, email, plan, seats, note"
_COLUMNS: Final = 'record_id, customer_id AS "user.uid", updated_at AS "timestamp", updated_at, amount, note'


@dataclass(frozen=True)
class Kind:
    """
    A kind of sync.

    :param name: Its name.
    :param insert_id: The columns of its insert ids; empty for a watermark alone.
    """

    name: str
    insert_id: tuple[str, ...]

    operator: ClassVar[type[FullStoryImportOperator]] = FullStoryImportEventsOperator
    #: Whether a person may import a file of refused records whenever that is.
    imports_files: ClassVar[bool] = True

    def table(self, warehouse: Warehouse, counts: Counter[str]) -> Table:
        """Return the table that is synced."""
        return Records(warehouse, counts, only_grows=not self.insert_id)

    def hourly(self, directory: Path) -> dict[str, Any]:
        """Return the arguments of the task that runs every hour."""
        comparison = ">=" if self.insert_id else ">"
        return self._shared(directory) | {
            "sql_conn_id": "warehouse",
            "sql": f"SELECT {_COLUMNS} FROM records WHERE updated_at {comparison} %(since)s "
            "ORDER BY updated_at, record_id",
            "parameters": {
                "since": Watermark(
                    "updated_at", initial="2026-01-01T00:00:00Z", lag=LAG if self.insert_id else None
                )
            },
        }

    def backfill(self, directory: Path, begin: datetime, length: timedelta) -> dict[str, Any]:
        """Return the arguments of a task that reads a partition, whatever was imported before."""
        return self._shared(directory) | {
            "sql_conn_id": "warehouse",
            "sql": f"SELECT {_COLUMNS} FROM records WHERE updated_at >= %(begin)s AND updated_at < %(end)s "
            "ORDER BY record_id",
            "parameters": {"begin": begin, "end": begin + length},
        }

    def file(self, directory: Path, uri: str) -> dict[str, Any]:
        """Return the arguments of a task that imports a file of refused records, once they are fixed."""
        shared = self._shared(directory) | {"max_rejected": 0}
        # Each record in the file has its name.
        del shared["event_name"]
        if not self.insert_id:
            # What was refused is in this file alone.
            del shared["sync_name"]
        return shared | {"events": uri}

    def _shared(self, directory: Path) -> dict[str, Any]:
        return self._settings(directory) | {"event_name": EVENT}

    def _settings(self, directory: Path) -> dict[str, Any]:
        return {
            "sync_name": SYNC_NAME,
            "insert_id": list(self.insert_id) or None,
            "state_uri": f"file://{directory / 'state'}",
            "rejected_uri": f"file://{directory / 'refused'}/",
            "max_rejected": ANY_NUMBER,
            "batch_size": 5,
            "poll_interval": 0.02,
        }


@dataclass(frozen=True)
class UsersKind(Kind):
    """A kind of sync of users: with a watermark, or of whole records without one."""

    operator = FullStoryImportUsersOperator
    #: What was refused may have changed since.
    imports_files = False

    def table(self, warehouse: Warehouse, counts: Counter[str]) -> Table:
        """Return the table that is synced."""
        return Customers(warehouse, counts, sends_once=bool(self.insert_id))

    def hourly(self, directory: Path) -> dict[str, Any]:
        """Return the arguments of the task that runs every hour."""
        if self.insert_id:
            return self._of_query(directory, f"SELECT {_USER_COLUMNS} FROM customers ORDER BY number")
        return self._of_query(
            directory,
            f"SELECT {_USER_COLUMNS}, updated_at FROM customers WHERE updated_at >= %(since)s "
            "ORDER BY number",
            exclude_columns="updated_at",
            parameters={"since": Watermark("updated_at", initial="2026-01-01T00:00:00Z", lag=LAG)},
        )

    def backfill(self, directory: Path, begin: datetime, length: timedelta) -> dict[str, Any]:
        """Return the arguments of a task that reads a partition, whatever was imported before."""
        return self._of_query(
            directory,
            f"SELECT {_USER_COLUMNS} FROM customers WHERE updated_at >= %(begin)s AND updated_at < %(end)s "
            "ORDER BY number",
            parameters={"begin": begin, "end": begin + length},
        )

    def _of_query(self, directory: Path, sql: str, **arguments: Any) -> dict[str, Any]:
        return self._settings(directory) | {"sql_conn_id": "warehouse", "sql": sql} | arguments


KINDS: Final = (
    Kind("insert ids", ("record_id", "updated_at")),
    Kind("whole records", ("*",)),
    Kind("watermark alone", ()),
    UsersKind("whole users", ("*",)),
    UsersKind("users by watermark", ()),
)
