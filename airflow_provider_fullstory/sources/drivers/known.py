"""
The known database drivers, and how each reads a result piece by piece.

PEP 249 does not say where rows are held until they are fetched, and many drivers hold all of them in the
worker's memory. ``_DRIVERS`` is based on the documentation or the source of each driver.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any, Final

from airflow_provider_fullstory.sources import CHUNK_ROWS
from airflow_provider_fullstory.sources.drivers import bigquery, types
from airflow_provider_fullstory.sources.drivers.driver import Driver
from airflow_provider_fullstory.sources.drivers.mysql import MySQLClient, MySQLConnector, PyMySQL
from airflow_provider_fullstory.sources.drivers.postgresql import Psycopg, Psycopg2

log = logging.getLogger(__name__)

_PARTS: Final = (
    "read it in parts (dynamic task mapping), or export it to files of newline-delimited JSON and import "
    "these files"
)
_UNKNOWN: Final = (
    "It is not known how the driver %s reads a result: rows are fetched a few hundred at a time, but it may "
    f"hold all of them in the worker's memory. If memory grows with the result, {_PARTS}."
)
_ALL_AT_ONCE: Final = (
    "The driver %s fetches the whole result into the worker's memory before it returns the first row. If "
    f"that is too much, {_PARTS}."
)


class _ClickHouse(Driver):
    """clickhouse-driver, which holds the whole result unless it streams blocks of rows."""

    def cursor(self, connection: Any) -> Any:
        cursor = connection.cursor()
        cursor.set_stream_results(True, 10_000)
        return cursor


class _Sized(Driver):
    """Drivers that always fetch ``arraysize`` rows at once; the default of Oracle is 100."""

    def cursor(self, connection: Any) -> Any:
        cursor = connection.cursor()
        # PEP 249 requires the attribute, but not every driver has it.
        with suppress(AttributeError):
            cursor.arraysize = CHUNK_ROWS
        return cursor


#: By the module of a connection's class.
_DRIVERS: Final = {
    "psycopg2": Psycopg2("psycopg2"),
    "psycopg": Psycopg("psycopg"),
    "MySQLdb": MySQLClient("mysqlclient", reader_of=types.mysql),
    "pymysql": PyMySQL("PyMySQL", reader_of=types.mysql),
    "mysql.connector": MySQLConnector("mysql-connector-python", reader_of=types.mysql),
    "clickhouse_driver": _ClickHouse("clickhouse-driver", reader_of=types.clickhouse),
    "oracledb": _Sized("python-oracledb"),
    # These compute rows as they are fetched.
    "sqlite3": Driver("sqlite3"),
    "duckdb": Driver("DuckDB", reader_of=types.duckdb),
    "_duckdb": Driver("DuckDB", reader_of=types.duckdb),
    # These read rows from the connection as they are fetched.
    "pymssql": Driver("pymssql"),
    "vertica_python": Driver("vertica-python"),
    # These fetch parts whose size the database or the driver decides, some of them ahead; arraysize would
    # make some parts smaller.
    "airflow.providers.google": bigquery.AirflowBigQuery("BigQuery", reader_of=bigquery.reader_of),
    "google.cloud.bigquery": Driver("BigQuery"),
    "databricks.sql": Driver("databricks-sql-connector", reader_of=types.databricks),
    "snowflake.connector": Driver("snowflake-connector-python", reader_of=types.snowflake),
    "trino": Driver("trino", reader_of=types.trino),
    # These hold the whole result.
    "clickhouse_connect": Driver("clickhouse-connect", _ALL_AT_ONCE, types.clickhouse),
    "redshift_connector": Driver("redshift-connector", _ALL_AT_ONCE, types.redshift),
}


def driver_of(connection: Any) -> Driver:
    """
    Return the driver of a connection, and log if it may take much memory.

    :param connection: A driver's own connection, or a proxy of one, such as those of tracing libraries.
    """
    driver = _known_driver(connection) or _Sized(_root_module(connection), _UNKNOWN)
    if driver.caution:
        log.info(driver.caution, driver.name)
    return driver


def _known_driver(connection: Any) -> Driver | None:
    # A proxy has the __class__ of the object behind it, and a class may be derived from the driver's.
    for ancestor in connection.__class__.__mro__:
        parts = ancestor.__module__.split(".")
        for length in range(1, len(parts) + 1):
            if driver := _DRIVERS.get(".".join(parts[:length])):
                return driver
    return None


def _root_module(connection: Any) -> str:
    module: str = connection.__class__.__module__
    return module.partition(".")[0]


def unpooled(connection: Any) -> Any:
    """
    Return the driver's connection, which the caller closes.

    :param connection: The connection of a hook: the driver's, or one of a pool of SQLAlchemy.
    """
    if _root_module(connection) != "sqlalchemy":
        return connection
    own = connection.driver_connection
    # Otherwise the pool would use it again, with the rest of its result.
    connection.detach()
    return own
