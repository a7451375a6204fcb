"""Which driver a connection is of, and what the log says about its memory."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from airflow_provider_fullstory.sources.drivers import known
from airflow_provider_fullstory.sources.query import query
from tests.sources.drivers.drivers import (
    HookOf,
    drivers_of_postgresql,
    every_driver,
    for_each,
    hook_of,
    select_rows,
)


@for_each("psycopg2", "pymysql", "sqlite3")
def test_a_connection_of_sqlalchemy_is_read_as_its_driver_is(driver: str) -> None:
    from sqlalchemy import create_engine
    from sqlalchemy.pool import QueuePool

    dialect = {"psycopg2": "postgresql+psycopg2", "pymysql": "mysql+pymysql", "sqlite3": "sqlite"}[driver]
    engine = create_engine(f"{dialect}://", creator=hook_of(driver).get_conn, poolclass=QueuePool)

    with query(HookOf(engine.raw_connection), select_rows(driver, 10_000), None) as result:
        next(result.chunks)

    assert engine.pool.checkedout() == 0
    # The pool has nothing left of that result.
    with closing(engine.raw_connection()) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT 1")
        assert cursor.fetchall() in ([(1,)], ((1,),))


class Proxy:
    """Stands for a connection, as those of libraries do that trace queries."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return type(self._connection)


@drivers_of_postgresql
def test_the_driver_behind_a_proxy_is_found(driver: str) -> None:
    with closing(hook_of(driver).get_conn()) as connection:
        assert known.driver_of(Proxy(connection)).name == driver


def test_a_class_of_ones_own_is_read_as_the_drivers_that_it_is_derived_from() -> None:
    class Audited(sqlite3.Connection):
        pass

    with closing(Audited(":memory:")) as connection:
        assert known.driver_of(connection).name == "sqlite3"


def test_an_unknown_driver_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    class Connection:
        """Another driver's, which works as PEP 249 has it."""

        __module__ = "someones_driver.connections"

        def __init__(self) -> None:
            self._connection = sqlite3.connect(":memory:")

        def cursor(self) -> Any:
            return self._connection.cursor()

        def close(self) -> None:
            self._connection.close()

    with (
        caplog.at_level(logging.INFO),
        query(HookOf(Connection), select_rows("sqlite3", 2_000), None) as result,
    ):
        assert sum(map(len, result.chunks)) == 2_000

    [record] = caplog.records
    assert record.levelname == "INFO"
    assert record.message.startswith("It is not known how the driver someones_driver reads a result: ")
    assert "it may hold all of them in the worker's memory" in record.message
    assert record.message.endswith(" and import these files.")


@pytest.mark.parametrize("module", ["redshift_connector.core", "clickhouse_connect.dbapi.connection"])
def test_a_driver_that_holds_the_whole_result_is_logged(
    module: str, caplog: pytest.LogCaptureFixture
) -> None:
    connection = type("Connection", (), {"__module__": module})()

    with caplog.at_level(logging.INFO):
        known.driver_of(connection)

    [message] = caplog.messages
    assert "fetches the whole result into the worker's memory before it returns the first row" in message


@every_driver
def test_a_driver_that_takes_little_memory_is_not_logged(
    driver: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO), query(hook_of(driver), "SELECT 1 AS n", None):
        pass

    # Airflow's hooks have something to say.
    assert not [record for record in caplog.records if record.name.startswith("airflow_provider_fullstory")]
