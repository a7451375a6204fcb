"""Hooks for the drivers of databases, and SQL for them; also for processes that a test starts."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseHook
from airflow.providers.common.sql.hooks.sql import DbApiHook

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
