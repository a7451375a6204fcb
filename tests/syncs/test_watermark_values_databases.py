"""A database that is given a stored watermark returns the rows after it, and no other."""

# ruff: noqa: DTZ001 - Datetimes without an offset are among what is tested.

from __future__ import annotations

import datetime
import json
import sqlite3
import zoneinfo
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from airflow_provider_fullstory.sources.query import query
from airflow_provider_fullstory.syncs.parameters import with_value
from airflow_provider_fullstory.syncs.record import StoredValue
from airflow_provider_fullstory.syncs.watermark_lag import less
from airflow_provider_fullstory.syncs.watermark_values import restored, stored
from airflow_provider_fullstory.watermark import Watermark
from tests.sources.drivers.drivers import HookOf, hook_of

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    from demo.warehouse import Warehouse

UTC = datetime.UTC
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
SINCE = Watermark("v", initial=None)
MOMENT = datetime.datetime(2026, 10, 25, 0, 30, 0, 123456)
STEPS = [datetime.timedelta(microseconds=n) for n in (0, 1, 2, 3_600_000_000)]
NUMBERS = [Decimal("9007199254740993.10"), Decimal("9007199254740993.11"), Decimal(9007199254740994)]

#: Values in their order, by the type of a column.
VALUES: dict[str, list[Any]] = {
    "timestamptz": [(MOMENT + step).replace(tzinfo=UTC) for step in STEPS],
    "timestamp": [MOMENT + step for step in STEPS],
    "date": [datetime.date(2026, 2, 28), datetime.date(2026, 3, 1), datetime.date(2026, 3, 2)],
    "bigint": [2**53, 2**53 + 1, 2**53 + 2, 2**63 - 1],
    "numeric(30, 2)": NUMBERS,
    "double precision": [0.1, 0.1 + 2**-56, 0.30000000000000004, 1e300],
    "text": ["01J9ZZ", "01JA", "01JA'; --", "01JA☃"],
    "bytea": [b"\x00\x00", b"\x00\x01", b"\x00\x01\x00", b"\xff"],
}
SQLITE_TYPES = {"bigint", "double precision", "text", "bytea"}


def rows_after(hook: DbApiHook, placeholder: str, parameters: Any, position: int) -> list[Any]:
    """Return the values that the database finds above the one at a place in the order."""
    # As a driver gave it, and not as it was written.
    with query(hook, "SELECT v FROM orders ORDER BY v", None) as result:
        values = [row[0] for chunk in result.chunks for row in chunk]
    content = msgspec.json.encode(stored(values[position], "v"))
    value = restored(msgspec.json.decode(content, type=StoredValue))
    sql = f"SELECT v FROM orders WHERE v > {placeholder} ORDER BY v"
    with query(hook, sql, with_value(parameters, value)) as result:
        after = [row[0] for chunk in result.chunks for row in chunk]
    assert [bytes(row) if isinstance(row, memoryview) else row for row in after] == [
        bytes(row) if isinstance(row, memoryview) else row for row in values[position + 1 :]
    ]
    return after


@pytest.fixture
def orders(request: pytest.FixtureRequest, postgresql: Warehouse) -> Any:
    """Create a table with a column of a type, in PostgreSQL, and fill it."""
    column = request.param
    with postgresql.cursor() as cursor:
        collation = ' COLLATE "C"' if column == "text" else ""
        cursor.execute(f"DROP TABLE IF EXISTS orders; CREATE TABLE orders (v {column}{collation})")
        for value in reversed(VALUES[column]):
            cursor.execute("INSERT INTO orders VALUES (%s)", [value])
    return column


@pytest.mark.parametrize("orders", VALUES, indirect=True)
@pytest.mark.parametrize("driver", ["psycopg2", "psycopg"])
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_postgresql(
    driver: str, zone: str, orders: str, postgresql: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.providers.postgres.hooks import postgres

    monkeypatch.setattr(postgres, "USE_PSYCOPG3", postgres.USE_PSYCOPG3)  # hook_of() may change it
    monkeypatch.setenv("PGTZ", zone)
    monkeypatch.setenv("AIRFLOW_CONN_POSTGRESQL", postgresql.connection_json())
    hook = hook_of(driver)
    for position in range(len(VALUES[orders])):
        rows_after(hook, "%(since)s", {"since": SINCE}, position)
        rows_after(hook, "%s", [SINCE], position)


@pytest.mark.parametrize("column", VALUES)
def test_duckdb(column: str) -> None:
    import duckdb

    if column == "timestamptz":
        pytest.importorskip("pytz", reason="DuckDB gives timestamps with a time zone by pytz")
    connection = duckdb.connect()
    connection.execute(f"SET TimeZone = 'Europe/Berlin'; CREATE TABLE orders (v {column})")
    for value in VALUES[column]:
        connection.execute("INSERT INTO orders VALUES (?)", [value])
    hook = HookOf(connection.cursor)
    for position in range(len(VALUES[column])):
        rows_after(hook, "$since", {"since": SINCE}, position)
        rows_after(hook, "?", [SINCE], position)
        rows_after(hook, "$1", [SINCE], position)


@pytest.fixture
def sqlite(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Any:
    """Give a database of SQLite, to which Airflow's connection leads."""
    path = str(tmp_path / "orders.db")
    monkeypatch.setenv("AIRFLOW_CONN_SQLITE", json.dumps({"conn_type": "sqlite", "host": path}))
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE orders (v)")
    yield connection
    connection.close()


@pytest.mark.parametrize(
    "values",
    [
        *(VALUES[column] for column in sorted(SQLITE_TYPES)),
        [str(moment) for moment in VALUES["timestamp"]],
        [moment.isoformat() for moment in VALUES["timestamptz"]],
    ],
)
def test_sqlite(sqlite: sqlite3.Connection, values: list[Any]) -> None:
    sqlite.executemany("INSERT INTO orders VALUES (?)", [(value,) for value in reversed(values)])
    sqlite.commit()
    for position in range(len(values)):
        rows_after(hook_of("sqlite3"), ":since", {"since": SINCE}, position)
        rows_after(hook_of("sqlite3"), "?", (SINCE,), position)


def test_rows_of_an_hour_that_occurs_twice_are_all_found(sqlite: sqlite3.Connection) -> None:
    start = datetime.datetime(2026, 10, 24, 22, tzinfo=UTC)
    instants = [start + datetime.timedelta(minutes=5 * n) for n in range(72)]
    local = [str(instant.astimezone(BERLIN).replace(tzinfo=None)) for instant in instants]
    sqlite.executemany("INSERT INTO orders VALUES (?)", [(text,) for text in local])
    sqlite.commit()
    for count in range(1, len(instants)):
        # What the run before this one has seen.
        kept = stored(max(local[:count]), "v")
        since = less(restored(kept), None, BERLIN, column="v", may_go_back=True)
        found = sqlite.execute("SELECT rowid FROM orders WHERE v >= ?", [since]).fetchall()
        assert {number + 1 for number in range(count, len(local))} <= {row[0] for row in found}
