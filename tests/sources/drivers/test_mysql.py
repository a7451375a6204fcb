"""The drivers of MySQL, on a real MariaDB."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from airflow_provider_fullstory.sources.drivers import mysql
from airflow_provider_fullstory.sources.query import query
from demo.processes import wait_for
from tests.sources.drivers.drivers import (
    drivers_of_mariadb,
    for_each,
    hook_of,
    read_all,
    select_rows,
)

if TYPE_CHECKING:
    from tests.mariadb import MariaDb


@drivers_of_mariadb
def test_a_query_ends_on_the_server_when_its_result_is_left(driver: str, mariadb: MariaDb) -> None:
    with query(hook_of(driver), select_rows(driver, 10**12), None) as result:
        next(result.chunks)
        assert running_queries(mariadb) == 1

    wait_for("the query to end", lambda: running_queries(mariadb) == 0)


def running_queries(mariadb: MariaDb) -> int:
    [(count,)] = mariadb.run(
        "SELECT count(*) FROM information_schema.processlist WHERE info LIKE '%seq_1_to%' AND user = 'reader'"
    )
    return int(count)


@drivers_of_mariadb
def test_a_pause_that_mysql_would_not_allow_by_itself_does_no_harm(driver: str, mariadb: MariaDb) -> None:
    rows = 100_000
    with query(hook_of(driver), select_rows(driver, rows), None) as result:
        read = len(next(result.chunks))
        wait_until_an_impatient_connection_is_cut(mariadb, rows)

        assert read + sum(map(len, result.chunks)) == rows


def wait_until_an_impatient_connection_is_cut(mariadb: MariaDb, rows: int) -> None:
    """Start a query now without asking the server for patience, and wait until it has none."""
    import MySQLdb
    from MySQLdb.cursors import SSCursor

    with closing(hook_of("mysqlclient").get_conn()) as connection:
        cursor = connection.cursor(SSCursor)
        cursor.execute(select_rows("mysqlclient", rows))

        def is_cut() -> bool:
            [(count,)] = mariadb.run(
                f"SELECT count(*) FROM information_schema.processlist WHERE id = {connection.thread_id()}"
            )
            return not count

        assert not is_cut()
        wait_for("the server to cut the connection", is_cut)
        with pytest.raises(MySQLdb.OperationalError, match="Lost connection"):
            cursor.fetchall()


@for_each("mysqlclient")
@pytest.mark.parametrize("kind", ["DictCursor", "SSDictCursor", "SSCursor"])
def test_the_kind_of_cursor_that_a_connection_asks_for_changes_nothing(
    driver: str, kind: str, mariadb: MariaDb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MARIADB", mariadb.connection_json(cursor=kind))

    assert read_all(driver, "SELECT 1 AS n, 'x' AS note") == (["n", "note"], [(1, "x")])


@drivers_of_mariadb
def test_bits_and_booleans_are_numbers_with_every_driver(driver: str, mariadb: MariaDb) -> None:
    mariadb.run(
        "CREATE OR REPLACE TABLE warehouse.flags (id int, flag boolean, one bit, many bit(10)) ENGINE=MyISAM"
    )
    mariadb.run("INSERT INTO warehouse.flags VALUES (1, TRUE, b'1', 773), (2, NULL, NULL, NULL)")

    _, rows = read_all(driver, "SELECT flag, one, many FROM flags ORDER BY id")

    assert rows == [(1, 1, 773), (None, None, None)]
    assert {type(value) for value in rows[0]} == {int}


def test_a_driver_without_its_kind_of_cursor_cannot_be_made() -> None:
    class Incomplete(mysql._MySQL):
        """A driver whose author forgot the cursor."""

    with pytest.raises(TypeError, match="unbuffered_cursor"):
        Incomplete("incomplete")  # type: ignore[abstract]
