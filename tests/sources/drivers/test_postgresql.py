"""The drivers of PostgreSQL, on a real server."""

from __future__ import annotations

import datetime
import json
import threading
from contextlib import closing
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_fullstory.api.encoding import ENCODER
from airflow_provider_fullstory.exceptions import FullStorySourceError
from airflow_provider_fullstory.records.kinds import EVENTS
from airflow_provider_fullstory.records.mapping import map_rows
from airflow_provider_fullstory.records.options import MappingOptions
from airflow_provider_fullstory.sources.query import query
from demo.processes import wait_for
from tests.sources.drivers.drivers import (
    HookOf,
    drivers_of_postgresql,
    for_each,
    hook_of,
    read_all,
    read_in_turn,
    select_rows,
)

if TYPE_CHECKING:
    from demo.warehouse import Warehouse


@drivers_of_postgresql
def test_memory_does_not_grow_with_the_width_of_rows(driver: str) -> None:
    counts, peaks = read_in_turn(driver, select_rows(driver, 2_000, 10), select_rows(driver, 2_000, 100_000))

    assert counts == [2_000, 2_000]
    # All rows have 200 MB, the first hundred 10 MB.
    assert peaks[1] < peaks[0] + 60_000, peaks


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
def test_a_statement_without_a_cursor_is_refused_with_advice(
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
        wait_for("rows to be made ahead", lambda: made() == 100 + 400 + 1600)
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
def test_a_style_of_dates_that_cannot_be_read_fails_the_query(driver: str) -> None:
    def connect() -> Any:
        connection = hook_of(driver).get_conn()
        connection.cursor().execute("SET datestyle TO SQL, DMY")
        return connection

    with pytest.raises(FullStorySourceError, match=r"^The query failed"):  # noqa: SIM117
        with query(HookOf(connect), "SELECT timestamptz '2026-01-31 00:00:00' AS at", None) as result:
            list(result.chunks)


@drivers_of_postgresql
@pytest.mark.parametrize(
    "value",
    [
        "time '24:00'",
        "timetz '24:00+02'",
        "ARRAY[date '2026-01-31', date 'infinity']",
        "ARRAY[timestamptz '-infinity']",
        "ARRAY[time '24:00']",
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
    options = MappingOptions(EVENTS, name="A")

    with query(hook_of(driver), sql, None) as result:
        [chunk] = map_rows(result.columns, result.chunks, options)
        [text] = [row for row in read_all(driver, sql.replace(value, f"({value})::text"))[1] if row[2]]

    assert chunk.positions == [1, 3]
    [record] = chunk.invalid
    assert record.position == 2
    assert "'due' is of type TimeBeyondPython" in record.refusal.reason
    beyond = text[2].strip("{}").rpartition(",")[2].strip('"')
    assert beyond in json.dumps(record.record)


@drivers_of_postgresql
def test_a_number_in_json_that_nothing_can_hold_does_not_fail_the_query(driver: str) -> None:
    _, rows = read_all(driver, "SELECT '1e99999999999999999999'::json AS n UNION ALL SELECT '1.10'::json")

    assert [str(row[0]) for row in rows] == ["inf", "1.10"]


@drivers_of_postgresql
def test_json_that_has_no_utf8_form_does_not_fail_the_query(driver: str) -> None:
    _, rows = read_all(driver, """SELECT '"\\ud800"'::json AS document UNION ALL SELECT '"fine"'::json""")

    assert rows == [("\ud800",), ("fine",)]


@pytest.fixture
def moods(postgresql: Warehouse) -> None:
    with postgresql.cursor() as cursor:
        cursor.execute("DROP TYPE IF EXISTS mood CASCADE")
        cursor.execute("""CREATE TYPE mood AS ENUM ('happy', 'so, so', 'he said "no"', 'C:\\', 'NULL')""")


@drivers_of_postgresql
@pytest.mark.usefixtures("moods")
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("'happy'::mood", "happy"),
        ("inet '10.0.0.1/8'", "10.0.0.1/8"),
        ("cidr '10.0.0.0/8'", "10.0.0.0/8"),
        ("macaddr '08:00:2b:01:02:03'", "08:00:2b:01:02:03"),
        ("'1.50'::money", "$1.50"),
        ("int4range(1, 5)", "[1,5)"),
        ("daterange('2026-01-01', 'infinity')", "[2026-01-01,infinity)"),
        ("point(1, 2)", "(1,2)"),
        ("tsvector 'a b'", "'a' 'b'"),
    ],
)
def test_a_column_of_an_odd_type_leaves_the_others_exact(driver: str, value: str, expected: str) -> None:
    due = "CASE n WHEN 2 THEN timestamptz 'infinity' ELSE '2026-01-31 12:00:00+00' END AS due"
    sql = f"SELECT {value} AS odd, {due}, 1.10 AS price FROM generate_series(1, 3) AS n"

    _, rows = read_all(driver, sql)

    assert [row[0] for row in rows] == [expected] * 3
    assert [str(row[1]) for row in rows] == ["2026-01-31 12:00:00+00:00", "infinity", str(rows[0][1])]
    assert [spelled(row[2]) for row in rows] == [(Decimal, "1.10")] * 3


@drivers_of_postgresql
@pytest.mark.usefixtures("moods")
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("ARRAY['happy', 'so, so', NULL]::mood[]", ["happy", "so, so", None]),
        ("""ARRAY['he said "no"', 'C:\\', 'NULL']::mood[]""", ['he said "no"', "C:\\", "NULL"]),
        ("'{}'::mood[]", []),
        ("'[2:3]={happy,NULL}'::mood[]", ["happy", None]),
        ("ARRAY[['happy'], ['so, so']]::mood[]", [["happy"], ["so, so"]]),
        ("NULL::mood[]", None),
    ],
)
def test_an_array_of_an_enum_is_an_array_of_text(driver: str, value: str, expected: Any) -> None:
    assert read_all(driver, f"SELECT {value} AS moods")[1] == [(expected,)]


@drivers_of_postgresql
def test_an_array_of_uuids_is_an_array(driver: str) -> None:
    number = "00000000-0000-0000-0000-000000000001"

    _, [(ids,)] = read_all(driver, f"SELECT ARRAY['{number}'::uuid, NULL] AS ids")

    assert [item and str(item) for item in ids] == [number, None]


@drivers_of_postgresql
def test_arrays_of_times_hold_times(driver: str) -> None:
    _, [row] = read_all(driver, "SELECT ARRAY[date '2026-01-31', NULL], ARRAY[time '12:00', '23:59:59.5']")

    assert row == (
        [datetime.date(2026, 1, 31), None],
        [datetime.time(12), datetime.time(23, 59, 59, 500_000)],
    )
