"""Each driver reads a result piece by piece: on real databases, as far as they can be had."""

from __future__ import annotations

import datetime
import json
import logging
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_fullstory.api.encoding import ENCODER
from airflow_provider_fullstory.exceptions import FullStorySourceError
from airflow_provider_fullstory.records.kinds import EVENTS
from airflow_provider_fullstory.records.mapping import map_rows
from airflow_provider_fullstory.records.options import MappingOptions
from airflow_provider_fullstory.sources import query as sources
from airflow_provider_fullstory.sources.drivers import known as cursors
from airflow_provider_fullstory.sources.query import query
from demo.processes import wait_for
from tests.mariadb import PROGRAMS, MariaDb
from tests.sources.drivers.drivers import (
    EMBEDDED,
    MARIADB,
    POSTGRESQL,
    HookOf,
    connection_options,
    hook_of,
    select_rows,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from demo.warehouse import Warehouse

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


@pytest.fixture(scope="module")
def mariadb() -> Iterator[MariaDb]:
    if None in PROGRAMS:
        pytest.skip("MariaDB (Debian's package mariadb-server) is not installed")
    pytest.importorskip("pymysql", reason="the dependency group 'mariadb' is not installed")
    with tempfile.TemporaryDirectory(prefix="mariadb-") as directory:
        # Nobody has to wait a minute to see that a wait is too long.
        server = MariaDb(Path(directory), "net-write-timeout=1")
        try:
            server.start()
            yield server
        finally:
            server.stop()


@pytest.fixture
def driver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Give the name of a driver; Airflow's connections lead to a database that it is for."""
    driver: str = request.param
    if driver in POSTGRESQL:
        from airflow.providers.postgres.hooks import postgres

        monkeypatch.setattr(postgres, "USE_PSYCOPG3", postgres.USE_PSYCOPG3)  # hook_of() may change it
        server = request.getfixturevalue("postgresql")
        monkeypatch.setenv("AIRFLOW_CONN_POSTGRESQL", server.connection_json())
    elif driver in MARIADB:
        server = request.getfixturevalue("mariadb")
        monkeypatch.setenv("AIRFLOW_CONN_MARIADB", server.connection_json())
        extra = {"client": "mysql-connector-python"}
        monkeypatch.setenv("AIRFLOW_CONN_MARIADB_CONNECTOR", server.connection_json(**extra))
    else:
        connection = {"conn_type": "sqlite", "host": str(tmp_path / "empty.db")}
        monkeypatch.setenv("AIRFLOW_CONN_SQLITE", json.dumps(connection))
    return driver


def for_each(*drivers: str) -> pytest.MarkDecorator:
    marked = [
        pytest.param(driver, marks=pytest.mark.mariadb) if driver in MARIADB else driver for driver in drivers
    ]
    return pytest.mark.parametrize("driver", marked, indirect=True)


every_driver = for_each(*POSTGRESQL, *MARIADB, *EMBEDDED)
drivers_of_postgresql = for_each(*POSTGRESQL)
drivers_of_mariadb = for_each(*MARIADB)


def run(code: str, *arguments: str) -> str:
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
    # So Python tells of errors while it collects garbage.
    assert "Exception ignored" not in done.stderr, done.stderr
    # Above, a driver may have logged something.
    return done.stdout.splitlines()[-1]


def read_all(driver: str, sql: str, parameters: Any = None) -> tuple[list[str], list[tuple[Any, ...]]]:
    with query(hook_of(driver), sql, parameters) as result:
        return result.columns, [tuple(row) for chunk in result.chunks for row in chunk]


@every_driver
def test_the_rows_are_those_of_the_result_in_chunks(driver: str) -> None:
    with query(hook_of(driver), select_rows(driver, 25_000), None) as result:
        chunks = list(result.chunks)

    assert result.columns == ["n", "note"]
    assert [row[0] for chunk in chunks for row in chunk] == list(range(1, 25_001))
    assert max(map(len, chunks)) <= 500


@every_driver
def test_memory_does_not_grow_with_the_result(driver: str) -> None:
    counts, peaks = read_in_turn(driver, select_rows(driver, 3_000), select_rows(driver, 300_000))

    assert counts == [3_000, 300_000]
    # The text alone of the rows that are more has 119 MB.
    assert peaks[1] < peaks[0] + 40_000, peaks


@drivers_of_postgresql
def test_memory_does_not_grow_with_the_width_of_rows(driver: str) -> None:
    counts, peaks = read_in_turn(driver, select_rows(driver, 2_000, 10), select_rows(driver, 2_000, 100_000))

    assert counts == [2_000, 2_000]
    # All rows have 200 MB, the first hundred 10 MB.
    assert peaks[1] < peaks[0] + 60_000, peaks


def read_in_turn(driver: str, *statements: str) -> tuple[list[int], list[int]]:
    """Return how many rows each result had, and the peak of the memory after it in kilobytes."""
    counts, peaks = json.loads(run(READ, driver, *statements))
    return counts, peaks


@every_driver
def test_a_result_can_be_left_however_much_of_it_is_left(driver: str) -> None:
    assert run(LEAVE, driver, select_rows(driver, 10**12)) == "left"


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


@every_driver
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT '100%' AS n",
        "SELECT '100%' AS n;",
        "\n SELECT '100%' AS n ;\n",
        "SELECT '100%' AS n -- all of them",
        "SELECT '100%' AS n; -- all of them",
        "-- all of them\nSELECT '100%' AS n /* ; */",
        "WITH a AS (SELECT '100%' AS n) SELECT * FROM a",
    ],
)
def test_a_statement_may_have_comments_a_semicolon_and_percent_signs(driver: str, sql: str) -> None:
    assert read_all(driver, sql) == (["n"], [("100%",)])


@drivers_of_postgresql
@pytest.mark.parametrize(
    "sql",
    [
        "SHOW server_version",
        "EXPLAIN SELECT 1",
        "CALL nothing()",
        "CREATE TABLE unwanted (n integer)",
        "INSERT INTO numbers VALUES (1) RETURNING n",
        "WITH gone AS (DELETE FROM numbers RETURNING n) SELECT * FROM gone",
    ],
)
def test_what_no_cursor_can_be_declared_for_is_refused_with_what_can(
    driver: str, sql: str, postgresql: Warehouse
) -> None:
    with postgresql.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS numbers AS SELECT 7 AS n")

    with pytest.raises(FullStorySourceError, match=r"so it must be one SELECT, VALUES, TABLE, or WITH"):
        read_all(driver, sql)

    assert read_all(driver, "TABLE numbers") == (["n"], [(7,)])


@drivers_of_postgresql
def test_an_error_that_says_enough_by_itself_is_left_alone(driver: str) -> None:
    with pytest.raises(FullStorySourceError, match=r'"absent" does not exist[^$]*$') as caught:
        read_all(driver, "SELECT * FROM absent")
    assert "CURSOR FOR" not in str(caught.value).partition("LINE")[0]


@drivers_of_postgresql
def test_a_connection_in_autocommit_is_read_piece_by_piece_too(driver: str) -> None:
    def connect() -> Any:
        connection = hook_of(driver).get_conn()
        connection.autocommit = True
        return connection

    with query(HookOf(connect), select_rows(driver, 1_000), None) as result:
        assert sum(map(len, result.chunks)) == 1_000


@drivers_of_postgresql
def test_the_server_makes_the_next_rows_while_others_are_on_their_way(
    driver: str, postgresql: Warehouse
) -> None:
    with postgresql.cursor() as cursor:
        cursor.execute("DROP SEQUENCE IF EXISTS made; CREATE SEQUENCE made")

    def made() -> int:
        with postgresql.cursor() as cursor:
            cursor.execute("SELECT last_value FROM made")
            return int(cursor.fetchone()[0])

    with query(hook_of(driver), "SELECT nextval('made') AS n FROM generate_series(1, 5000)", None) as result:
        taken = [row[0] for row in next(result.chunks)]
        # The first rows are few, and nothing is fetched with them.
        assert taken == list(range(1, 101))
        assert made() == 100
        taken += [row[0] for row in next(result.chunks)]
        assert taken == list(range(1, 501))
        wait_for("rows that nobody has asked for", lambda: made() == 100 + 400 + 1600)
        taken += [row[0] for chunk in result.chunks for row in chunk]

    assert taken == list(range(1, 5001))


@drivers_of_postgresql
def test_a_result_is_left_at_once_while_the_server_is_busy_with_the_next_rows(
    driver: str, postgresql: Warehouse
) -> None:
    # Nothing waits for an hour: neither leaving the result nor the server.
    slow = "SELECT n, CASE WHEN n > 500 THEN pg_sleep(3600) END AS nothing FROM generate_series(1, 5000) AS n"

    def is_busy() -> bool:
        with postgresql.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE wait_event = 'PgSleep' AND pid <> pg_backend_pid()"
            )
            return bool(cursor.fetchone()[0])

    with query(hook_of(driver), slow, None) as result:
        assert sum(len(next(result.chunks)) for _ in range(2)) == 500
        wait_for("the server to be busy", is_busy)

    wait_for("the server to be idle", lambda: not is_busy())
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("fullstory-fetch")]


@drivers_of_postgresql
@pytest.mark.parametrize("chunks", [0, 1, 2])
def test_a_result_is_left_at_once_before_the_server_has_begun_with_the_next_rows(
    driver: str, chunks: int
) -> None:
    slow = "SELECT n, CASE WHEN n > 500 THEN pg_sleep(3600) END AS nothing FROM generate_series(1, 5000) AS n"

    with query(hook_of(driver), slow, None) as result:
        for _ in range(chunks):
            next(result.chunks)

    assert not [thread for thread in threading.enumerate() if thread.name.startswith("fullstory-fetch")]


@drivers_of_postgresql
@pytest.mark.parametrize(("chunks", "is_told"), [(2, True), (6, False)])
def test_a_pause_is_told_only_where_it_came_before_what_failed(
    driver: str, chunks: int, is_told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(sources, "time", SimpleNamespace(monotonic=lambda: now))
    sql = "SELECT 10000 / (3000 - n) AS share FROM generate_series(1, 5000) AS n"

    with query(hook_of(driver), sql, None) as result:
        for _ in range(chunks):
            next(result.chunks)
        # After six chunks, the rows with the error are already on their way.
        now += 100.0
        with pytest.raises(FullStorySourceError, match="division by zero") as caught:
            list(result.chunks)

    assert ("nothing was read for 100 s" in str(caught.value)) is is_told


@drivers_of_postgresql
def test_an_error_midway_is_raised_after_the_rows_before_it(driver: str) -> None:
    sql = "SELECT 10000 / (3000 - n) AS share FROM generate_series(1, 5000) AS n"

    rows: list[Any] = []
    with query(hook_of(driver), sql, None) as result:
        every_row = (row for chunk in result.chunks for row in chunk)
        with pytest.raises(FullStorySourceError, match=r"^The query failed after 2100 rows: .*division by z"):
            rows.extend(every_row)

    assert len(rows) == 100 + 400 + 1600


@every_driver
@pytest.mark.parametrize("rows", [0, 1, 100, 101, 500])
def test_short_results_are_whole(driver: str, rows: int) -> None:
    sql = f"SELECT n FROM ({select_rows(driver, 600)}) AS numbers WHERE n <= {rows}"

    assert read_all(driver, sql) == (["n"], [(n,) for n in range(1, rows + 1)])


# In the first case nothing is fetched ahead yet; in the second, rows that came before the pause are left.
@pytest.mark.parametrize(("chunks", "rows_before"), [(1, 100), (2, 2100)])
@drivers_of_postgresql
def test_a_pause_that_the_database_does_not_allow_is_told_with_what_helps(
    driver: str,
    chunks: int,
    rows_before: int,
    postgresql: Warehouse,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connection = json.loads(postgresql.connection_json())
    connection["extra"] = {"options": "-c idle_in_transaction_session_timeout=1500"}
    monkeypatch.setenv("AIRFLOW_CONN_POSTGRESQL", json.dumps(connection))
    hook = hook_of(driver)
    if isinstance(hook, HookOf):  # It knows nothing of extras.
        import psycopg

        options = connection_options("postgresql", user="login", dbname="schema")
        hook = HookOf(lambda: psycopg.connect(**options, **connection["extra"]))

    def sessions() -> Any:
        with postgresql.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%fullstory_import%'"
                " AND pid <> pg_backend_pid()"
            )
            return cursor.fetchone()[0]

    with query(hook, select_rows(driver, 100_000), None) as result:
        for _ in range(chunks):
            next(result.chunks)
        assert sessions() == 1
        wait_for("PostgreSQL to end the session", lambda: sessions() == 0)
        with pytest.raises(FullStorySourceError) as caught:
            list(result.chunks)

    message = str(caught.value)
    assert message.startswith(f"The query failed after {rows_before} rows: ")
    assert " Before that, nothing was read for " in message
    assert (
        "(PostgreSQL after idle_in_transaction_session_timeout), let it wait longer, or set stage_batches"
        in message
    )


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


@drivers_of_postgresql
def test_rows_are_tuples_whatever_a_connection_of_postgresql_asks_for(
    driver: str, postgresql: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = json.loads(postgresql.connection_json()) | {"extra": {"cursor": "dictcursor"}}
    monkeypatch.setenv("AIRFLOW_CONN_POSTGRESQL", json.dumps(connection))

    with query(hook_of(driver), "SELECT 1 AS n", None) as result:
        assert list(result.chunks) == [[(1,)]]


@drivers_of_postgresql
@pytest.mark.parametrize("kind", ["json", "jsonb"])
def test_numbers_in_json_of_postgresql_keep_their_digits(driver: str, kind: str) -> None:
    document = '{"price": 1.10, "whole": 123456789012345678901234567890, "tiny": 0.1000000000000000055}'

    _, [(value,)] = read_all(driver, f"SELECT '{document}'::{kind} AS document")

    assert ENCODER.encode({name: value[name] for name in ("price", "tiny")}) == (
        b'{"price":1.10,"tiny":0.1000000000000000055}'
    )
    assert value["whole"] == 123456789012345678901234567890


@drivers_of_postgresql
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "America/St_Johns", "Europe/Amsterdam"])
def test_numbers_and_times_of_postgresql_are_those_of_its_drivers(
    driver: str, zone: str, postgresql: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    with postgresql.cursor() as cursor:
        cursor.execute("ALTER ROLE postgres SET TimeZone TO %s", [zone])
    try:
        values = [
            "'2026-01-01 00:00:00'",
            "'2026-07-01 12:34:56.5'",
            "'1890-01-01 00:00:00.000001'",
            "'0001-01-02 00:00:00'",
            "'9999-12-30 23:59:59.999999'",
            "NULL",
        ]
        types = [f"{value}::{kind}" for value in values for kind in ("timestamptz", "timestamp", "date")]
        numbers = ["0.10", "-12345678901234567890.12345", "1e-20", "0", "7.00", "NULL", "'NaN'"]
        types += [f"{number}::numeric" for number in numbers]
        sql = "SELECT " + ", ".join(f"{value} AS c{number}" for number, value in enumerate(types))

        _, [row] = read_all(driver, sql)
        with closing(hook_of(driver).get_conn()) as connection, closing(connection.cursor()) as cursor:
            cursor.execute(sql)
            plain = cursor.fetchone()
    finally:
        with postgresql.cursor() as cursor:
            cursor.execute("ALTER ROLE postgres RESET TimeZone")

    # Spelled, since numbers and times may be equal and yet say different things.
    assert [spelled(value) for value in row] == [spelled(value) for value in plain]


def spelled(value: Any) -> tuple[type, str]:
    return type(value), value.isoformat() if isinstance(value, datetime.date) else str(value)


@for_each("psycopg2")
def test_composites_that_a_user_reads_have_values_of_their_types(driver: str, postgresql: Warehouse) -> None:
    from psycopg2.extras import CompositeCaster, register_composite

    with postgresql.cursor() as cursor:
        cursor.execute("DROP TYPE IF EXISTS price CASCADE")
        cursor.execute("CREATE TYPE price AS (amount numeric, at timestamptz)")

    class AsDict(CompositeCaster):
        def make(self, values: list[Any]) -> dict[str, Any]:
            return dict(zip(self.attnames, values, strict=True))

    def connect() -> Any:
        connection = hook_of(driver).get_conn()
        register_composite("price", connection, factory=AsDict)
        return connection

    price = "(1.50, timestamptz '2026-01-01 00:00:00+02')::price"
    sql = f"SELECT {price} AS price, 2.50 AS total, '{{}}'::json AS more"
    with query(HookOf(connect), sql, None) as result:
        [[values]] = result.chunks

    at = datetime.datetime(2025, 12, 31, 22, tzinfo=datetime.UTC)
    assert values == ({"amount": Decimal("1.50"), "at": at}, Decimal("2.50"), {})


@for_each("psycopg2")
def test_the_way_in_which_a_user_reads_a_type_stays(driver: str) -> None:
    from psycopg2.extensions import new_type, register_type

    def connect() -> Any:
        connection = hook_of(driver).get_conn()
        register_type(new_type((1700,), "FLOAT", lambda text, _: text and float(text)), connection)
        register_type(new_type((1082,), "TEXT", lambda text, _: text), connection)
        return connection

    with query(HookOf(connect), "SELECT 1.50 AS total, date 'infinity' AS due, now() AS at", None) as result:
        [[(total, due, at)]] = result.chunks

    assert (total, type(total), due) == (1.5, float, "infinity")
    assert isinstance(at, datetime.datetime)


@drivers_of_postgresql
def test_a_style_of_dates_that_nobody_can_read_fails_the_query(driver: str) -> None:
    def connect() -> Any:
        connection = hook_of(driver).get_conn()
        connection.cursor().execute("SET datestyle TO SQL, DMY")
        return connection

    with pytest.raises(FullStorySourceError, match=r"^The query failed"):  # noqa: SIM117
        with query(HookOf(connect), "SELECT timestamptz '2026-01-31 00:00:00' AS at", None) as result:
            list(result.chunks)


@for_each("psycopg2")
@pytest.mark.parametrize(
    "value",
    [
        "timestamptz 'infinity'",
        "timestamp '-infinity'",
        "date 'infinity'",
        "timestamptz '12026-01-01 00:00:00+00'",
        "timestamp '294276-12-31 23:59:59'",
        "date '12026-01-01'",
        "date '120210-01-01'",
        "timestamp '0044-03-15 00:00:00 BC'",
        "date '0044-03-15 BC'",
    ],
)
def test_a_time_beyond_those_of_python_is_refused_with_its_record_alone(driver: str, value: str) -> None:
    due = f"CASE n WHEN 2 THEN {value} END AS due"
    sql = f"SELECT 'u' AS \"user.uid\", n, {due} FROM generate_series(1, 3) AS n"
    options = MappingOptions(EVENTS, event_name="A")

    with query(hook_of(driver), sql, None) as result:
        [chunk] = map_rows(result.columns, result.chunks, options)
        [text] = [row for row in read_all(driver, sql.replace(value, f"({value})::text"))[1] if row[2]]

    assert chunk.positions == [1, 3]
    [record] = chunk.invalid
    assert record.position == 2
    assert "'due' is of type TimeBeyondPython" in record.refusal.reason
    assert str(text[2]) in json.dumps(record.record)


@drivers_of_postgresql
def test_a_number_in_json_that_nothing_can_hold_does_not_fail_the_query(driver: str) -> None:
    _, rows = read_all(driver, "SELECT '1e99999999999999999999'::json AS n UNION ALL SELECT '1.10'::json")

    assert [str(row[0]) for row in rows] == ["inf", "1.10"]


@drivers_of_postgresql
def test_json_that_has_no_utf8_form_does_not_fail_the_query(driver: str) -> None:
    _, rows = read_all(driver, """SELECT '"\\ud800"'::json AS document UNION ALL SELECT '"fine"'::json""")

    assert rows == [("\ud800",), ("fine",)]


@every_driver
def test_parameters_are_passed_in_the_form_of_the_driver(driver: str) -> None:
    marker = "?" if driver in EMBEDDED else "%s"

    assert read_all(driver, f"SELECT {marker} AS n", ("100%",)) == (["n"], [("100%",)])


@every_driver
def test_a_statement_that_fails_at_once_leaves_no_connection_behind(driver: str) -> None:
    opened: list[Any] = []
    hook = hook_of(driver)

    def connect() -> Any:
        opened.append(hook.get_conn())
        return opened[-1]

    with (
        pytest.raises(FullStorySourceError, match=r"^The query failed: "),
        query(HookOf(connect), "SELECT * FROM absent", None),
    ):
        pass
    [connection] = opened
    with pytest.raises(Exception, match=r"(?i)clos|not connected|gone away|not available|\((0|2006), ''\)"):
        connection.cursor().execute("SELECT 1")


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
        assert cursors.driver_of(Proxy(connection)).name == driver


def test_a_class_of_ones_own_is_read_as_the_drivers_that_it_is_derived_from() -> None:
    class Audited(sqlite3.Connection):
        pass

    with closing(Audited(":memory:")) as connection:
        assert cursors.driver_of(connection).name == "sqlite3"


def test_that_a_driver_is_unknown_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
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
    assert record.message.startswith("It is not known how the driver someones_driver hands over a result: ")
    assert "it may hold all of them in the worker's memory" in record.message
    assert "import these with events=." in record.message


@pytest.mark.parametrize("module", ["redshift_connector.core", "clickhouse_connect.dbapi.connection"])
def test_that_a_driver_holds_the_whole_result_is_said(module: str, caplog: pytest.LogCaptureFixture) -> None:
    connection = type("Connection", (), {"__module__": module})()

    with caplog.at_level(logging.INFO):
        cursors.driver_of(connection)

    [message] = caplog.messages
    assert "fetches the whole result into the worker's memory before it gives the first row" in message


@every_driver
def test_nothing_is_said_of_a_driver_whose_memory_is_no_concern(
    driver: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO), query(hook_of(driver), "SELECT 1 AS n", None):
        pass

    # Airflow's hooks have something to say.
    assert not [record for record in caplog.records if record.name.startswith("airflow_provider_fullstory")]
