"""
How the result of a query is read piece by piece, with what each driver has for that.

PEP 249 does not say where rows wait until somebody asks for them, and many a driver keeps all of them in the
worker's memory. ``_DRIVERS`` holds what is known, from the driver's documentation or source.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any, Final

from airflow_provider_fullstory.sources.chunks import CHUNK_ROWS
from airflow_provider_fullstory.sources.drivers.clickhouse import ClickHouse
from airflow_provider_fullstory.sources.drivers.driver import Driver
from airflow_provider_fullstory.sources.drivers.mysql import MySQLClient, MySQLConnector, PyMySQL
from airflow_provider_fullstory.sources.drivers.postgresql import Psycopg, Psycopg2

log = logging.getLogger(__name__)

_PARTS: Final = (
    "read it in parts (dynamic task mapping), or export it to files of newline-delimited JSON and import "
    "these with events="
)
_UNKNOWN: Final = (
    "It is not known how the driver %s hands over a result: rows are asked for a few hundred at a time, but "
    f"it may hold all of them in the worker's memory. Should memory grow with the result, {_PARTS}."
)
_ALL_AT_ONCE: Final = (
    "The driver %s fetches the whole result into the worker's memory before it gives the first row. Where "
    f"that is too much, {_PARTS}."
)


class _Sized(Driver):
    """Drivers that fetch ``arraysize`` rows at once, whatever one asks for; Oracle's default is 100."""

    def cursor(self, connection: Any) -> Any:
        cursor = connection.cursor()
        # PEP 249 asks for the attribute, but not every driver has it.
        with suppress(AttributeError):
            cursor.arraysize = CHUNK_ROWS
        return cursor


#: By the module that a connection's class comes from.
_DRIVERS: Final = {
    "psycopg2": Psycopg2("psycopg2"),
    "psycopg": Psycopg("psycopg"),
    "MySQLdb": MySQLClient("mysqlclient"),
    "pymysql": PyMySQL("PyMySQL"),
    "mysql.connector": MySQLConnector("mysql-connector-python"),
    "clickhouse_driver": ClickHouse("clickhouse-driver"),
    "oracledb": _Sized("python-oracledb"),
    # These compute rows as they are asked for.
    "sqlite3": Driver("sqlite3"),
    "duckdb": Driver("DuckDB"),
    "_duckdb": Driver("DuckDB"),
    # These read rows from the connection as they are asked for.
    "pymssql": Driver("pymssql"),
    "vertica_python": Driver("vertica-python"),
    # These fetch parts of a size that the database or the driver decides, some of them ahead; arraysize would
    # make the parts of some smaller.
    "airflow.providers.google": Driver("BigQuery"),
    "google.cloud.bigquery": Driver("BigQuery"),
    "databricks.sql": Driver("databricks-sql-connector"),
    "snowflake.connector": Driver("snowflake-connector-python"),
    "trino": Driver("trino"),
    # These hold the whole result.
    "clickhouse_connect": Driver("clickhouse-connect", _ALL_AT_ONCE),
    "redshift_connector": Driver("redshift-connector", _ALL_AT_ONCE),
}


def driver_of(connection: Any) -> Driver:
    """
    Return how a connection's results are read, and say in the log where memory may be a concern.

    :param connection: A driver's own connection, or one behind a proxy, such as those that trace queries.
    """
    driver = _known_driver(connection) or _Sized(_root_module(connection), _UNKNOWN)
    if driver.caution:
        log.info(driver.caution, driver.name)
    return driver


def _known_driver(connection: Any) -> Driver | None:
    # A proxy has the __class__ of what it stands for; and a class may be derived from the driver's.
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
    Return the driver's connection, which is the caller's to close.

    :param connection: What a hook gave: a driver's connection, or one out of a pool of SQLAlchemy's.
    """
    if _root_module(connection) != "sqlalchemy":
        return connection
    own = connection.driver_connection
    # Else the pool would use it again, with whatever is left of its result.
    connection.detach()
    return own
