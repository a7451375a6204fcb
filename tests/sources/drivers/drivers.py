"""Hooks for the drivers of databases, and SQL for them; also for the processes that a test starts."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import BaseHook
from airflow.providers.common.sql.hooks.sql import DbApiHook

from airflow_provider_fullstory.sources.query import query

if TYPE_CHECKING:
    from collections.abc import Callable

POSTGRESQL = ["psycopg2", "psycopg"]
MARIADB = ["mysqlclient", "mysql-connector", "mysql-connector-pure", "pymysql"]
EMBEDDED = ["duckdb", "sqlite3"]


class HookOf(DbApiHook):
    """A hook for a driver that Airflow has none for: what it connects with is given."""

    conn_name_attr = "conn_id"

    def __init__(self, connect: Callable[[], Any]) -> None:
        super().__init__()
        self._connect = connect

    def get_conn(self) -> Any:
        return self._connect()


def hook_of(driver: str) -> DbApiHook:
    """Return the hook of Airflow's that uses a driver, or one like it."""
    if driver in POSTGRESQL:
        return _postgres_hook(driver)
    if driver in MARIADB:
        return _mysql_hook(driver)
    if driver == "duckdb":
        import duckdb

        return HookOf(duckdb.connect)
    from airflow.providers.sqlite.hooks.sqlite import SqliteHook

    return SqliteHook(sqlite_conn_id="sqlite")


def _postgres_hook(driver: str) -> DbApiHook:
    from airflow.providers.postgres.hooks import postgres

    if driver == "psycopg2":
        postgres.USE_PSYCOPG3 = False
    elif not postgres.USE_PSYCOPG3:  # So it is beside SQLAlchemy 1, which Airflow 2 needs.
        import psycopg

        options = connection_options("postgresql", user="login", dbname="schema")
        return HookOf(lambda: psycopg.connect(**options))
    return postgres.PostgresHook(postgres_conn_id="postgresql")


def _mysql_hook(driver: str) -> DbApiHook:
    if driver in ("mysqlclient", "mysql-connector"):
        from airflow.providers.mysql.hooks.mysql import MySqlHook

        name = "mariadb" if driver == "mysqlclient" else "mariadb_connector"
        return MySqlHook(mysql_conn_id=name)
    options = connection_options("mariadb", user="login", password="password", database="schema", port="port")
    if driver == "pymysql":
        import pymysql

        return HookOf(lambda: pymysql.connect(**options))
    import mysql.connector

    return HookOf(lambda: mysql.connector.connect(use_pure=True, **options))


def connection_options(name: str, **attributes: str) -> dict[str, Any]:
    """Return arguments for a driver: of the connection of that name, its host and these attributes."""
    connection = BaseHook.get_connection(name)
    return {
        option: getattr(connection, attribute)
        for option, attribute in ({"host": "host"} | attributes).items()
    }


def select_rows(driver: str, rows: int, width: int = 400) -> str:
    """Return a query with so many rows, which the database makes one after the other."""
    if driver in POSTGRESQL:
        return f"SELECT generate_series(1, {rows}::bigint) AS n, repeat('x', {width}) AS note"
    if driver in MARIADB:
        return f"SELECT seq AS n, repeat('x', {width}) AS note FROM seq_1_to_{rows}"
    if driver == "duckdb":
        return f"SELECT range + 1 AS n, repeat('x', {width}) AS note FROM range({rows})"
    return f"""
        WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {rows})
        SELECT n, hex(zeroblob({width // 2})) AS note FROM s
    """


def peak_kilobytes() -> int:
    """Return the most memory that this process had."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # On Linux, ru_maxrss also counts what the process that started this one had at that moment.
    [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1])


def for_each(*drivers: str) -> pytest.MarkDecorator:
    """Return a mark that runs a test with each of these drivers."""
    marked = [
        pytest.param(driver, marks=pytest.mark.mariadb) if driver in MARIADB else driver for driver in drivers
    ]
    return pytest.mark.parametrize("driver", marked, indirect=True)


every_driver = for_each(*POSTGRESQL, *MARIADB, *EMBEDDED)
drivers_of_postgresql = for_each(*POSTGRESQL)
drivers_of_mariadb = for_each(*MARIADB)


def read_all(driver: str, sql: str, parameters: Any = None) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Return the columns and all rows of a result."""
    with query(hook_of(driver), sql, parameters) as result:
        return result.columns, [tuple(row) for chunk in result.chunks for row in chunk]


# Reads the results of queries; prints how many rows each had, and the peak of the memory after it.
READ = """
import json, sys
from airflow_provider_fullstory.sources.query import query
from tests.sources.drivers.drivers import hook_of, peak_kilobytes

driver, *statements = sys.argv[1:]
counts, peaks = [], []
for sql in statements:
    with query(hook_of(driver), sql, None) as result:
        counts.append(sum(len(chunk) for chunk in result.chunks))
    peaks.append(peak_kilobytes())
print(json.dumps([counts, peaks]))
"""
# Reads the beginning of a result and leaves it.
LEAVE = """
import gc, sys
from airflow_provider_fullstory.sources.query import query
from tests.sources.drivers.drivers import hook_of

driver, sql = sys.argv[1:]
with query(hook_of(driver), sql, None) as result:
    rows = next(result.chunks)
assert rows[0][0] == 1
del result, rows
gc.collect()
print("left")
"""


def read_in_turn(driver: str, *statements: str) -> tuple[list[int], list[int]]:
    """Return how many rows each result had, and the peak of the memory after it in kilobytes."""
    counts, peaks = json.loads(run(READ, driver, *statements))
    return counts, peaks


def run(code: str, *arguments: str) -> str:
    """Run code in a process of its own, and return the last line that it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=dict(os.environ),
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # Python reports errors of its garbage collector so.
    assert "Exception ignored" not in done.stderr, done.stderr
    # Above, a driver may have logged something.
    return done.stdout.splitlines()[-1]
