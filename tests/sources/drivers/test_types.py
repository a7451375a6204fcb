"""What descriptions say about columns: on a real DuckDB, and as the sources of other drivers have them."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import pytest

from airflow_provider_fullstory.sources.drivers import known
from airflow_provider_fullstory.sources.drivers.times import TimeBeyondPython
from airflow_provider_fullstory.sources.query import query
from tests.sources.drivers.drivers import HookOf, for_each, read_all

TEXT = '{"plan": "pro"}'
DOCUMENT = {"plan": "pro"}
BIGQUERY = "airflow.providers.google.cloud.hooks.bigquery"

#: Module of the connection, type in the description, value as the driver gives it, and what is read.
DESCRIBED: list[tuple[str, Any, Any, Any]] = [
    ("MySQLdb.connections", 245, TEXT, DOCUMENT),
    ("MySQLdb.connections", 252, TEXT, TEXT),
    ("MySQLdb.connections", 1, 1, 1),
    ("MySQLdb.connections", 16, b"\x03\x05", 773),
    ("mysql.connector.connection", 16, 773, 773),
    ("pymysql.connections", 245, TEXT, DOCUMENT),
    ("mysql.connector.connection", 245, TEXT, DOCUMENT),
    ("snowflake.connector.connection", 2, TEXT, TEXT),
    ("snowflake.connector.connection", 5, TEXT, DOCUMENT),
    ("snowflake.connector.connection", 9, TEXT, DOCUMENT),
    ("snowflake.connector.connection", 5, "undefined", "undefined"),
    ("snowflake.connector.connection", 10, '[\n  "a"\n]', ["a"]),
    ("redshift_connector.core", 4000, TEXT, DOCUMENT),
    ("redshift_connector.core", 1043, TEXT, TEXT),
    ("trino.dbapi", "json", TEXT, DOCUMENT),
    ("trino.dbapi", "varchar(20)", TEXT, TEXT),
    ("trino.dbapi", "map(varchar, integer)", {"a": 1}, {"a": 1}),
    ("clickhouse_driver.dbapi.connection", "JSON", TEXT, DOCUMENT),
    ("clickhouse_driver.dbapi.connection", "Nullable(JSON)", TEXT, DOCUMENT),
    ("clickhouse_driver.dbapi.connection", "Object('json')", TEXT, DOCUMENT),
    ("clickhouse_driver.dbapi.connection", "Nullable(String)", TEXT, TEXT),
    ("clickhouse_connect.dbapi.connection", "JSON(max_dynamic_paths=8)", DOCUMENT, DOCUMENT),
    ("databricks.sql.client", "string", TEXT, TEXT),
    ("databricks.sql.client", "struct", TEXT, DOCUMENT),
    ("databricks.sql.client", "variant", TEXT, DOCUMENT),
    ("databricks.sql.client", "array", '["a"]', ["a"]),
    ("databricks.sql.client", "map", [("a", 1)], {"a": 1}),
    ("databricks.sql.client", "map", '{"a":1}', {"a": 1}),
    (BIGQUERY, "JSON", TEXT, DOCUMENT),
    (BIGQUERY, "STRING", TEXT, TEXT),
    (BIGQUERY, "NUMERIC", "79.10", Decimal("79.10")),
    (BIGQUERY, "BIGNUMERIC", "1e-20", Decimal("1e-20")),
    (BIGQUERY, "DATE", "2026-07-01", datetime.date(2026, 7, 1)),
    (BIGQUERY, "DATETIME", "2026-07-01T10:00:00.5", datetime.datetime.fromisoformat("2026-07-01T10:00:00.5")),
    (
        BIGQUERY,
        "TIMESTAMP",
        1782900000.123457,
        datetime.datetime(2026, 7, 1, 10, 0, 0, 123_457, tzinfo=datetime.UTC),
    ),
    (BIGQUERY, "NUMERIC", [{"v": "1"}], [Decimal(1)]),
]


class Cursor:
    """Gives one row with a value, and one with NULL."""

    def __init__(self, kind: Any, value: Any) -> None:
        self.description = [("n", None), ("x", kind)]
        self.rows = [[1, value], [2, None]]


@pytest.mark.parametrize(("module", "kind", "value", "expected"), DESCRIBED)
def test_a_column_is_read_by_its_description(module: str, kind: Any, value: Any, expected: Any) -> None:
    driver = known.driver_of(type("Connection", (), {"__module__": module})())
    cursor = Cursor(kind, value)

    read = [tuple(row) for row in driver.reader(cursor)(cursor.rows)]

    assert read == [(1, expected), (2, None)]
    assert type(read[0][1]) is type(expected)


@for_each("duckdb")
@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (f"'{TEXT}'::JSON", DOCUMENT),
        (f"'{TEXT}'", TEXT),
        ("{'plan': 'pro'}", DOCUMENT),
        ("map{'plan': 'pro'}", DOCUMENT),
        ("1.10::decimal(9,2)", Decimal("1.10")),
        ("['a']", ["a"]),
        (f"['{TEXT}'::JSON, NULL]", [DOCUMENT, None]),
        (f"[['{TEXT}'::JSON]]", [[DOCUMENT]]),
        (f"array_value('{TEXT}'::JSON)", [DOCUMENT]),
        (f"{{'details': '{TEXT}'::JSON, 'text': '[1]'}}", {"details": DOCUMENT, "text": "[1]"}),
        (f"row('{TEXT}'::JSON, '[1]')", [DOCUMENT, "[1]"]),
        (f"map{{'details': ['{TEXT}'::JSON]}}", {"details": [DOCUMENT]}),
        (f"['{TEXT}']", [TEXT]),
        ("'2026-07-01'::date", datetime.date(2026, 7, 1)),
        ("'10000-01-01'::date", TimeBeyondPython("10000-01-01")),
        ("'290000-12-22 00:00:00'::timestamp", TimeBeyondPython("290000-12-22 00:00:00")),
        ("'24:00:00'::time", TimeBeyondPython("24:00:00")),
        # The driver gives the last day of Python's, and tells it by nothing from that day itself.
        ("'infinity'::date", datetime.date.max),
    ],
)
def test_values_of_duckdb_are_of_their_types(driver: str, expression: str, expected: Any) -> None:
    assert read_all(driver, f"SELECT {expression} AS x") == (["x"], [(expected,)])


def test_rows_that_a_driver_gives_as_dicts_are_read_too() -> None:
    class DictCursor:
        def __init__(self) -> None:
            self.description = [("x", 5)]
            self.pieces = [[{"x": TEXT}]]

        def execute(self, sql: str) -> None: ...

        def fetchmany(self, _: int) -> list[dict[str, str]]:
            return self.pieces.pop() if self.pieces else []

        def close(self) -> None: ...

    class Connection:
        __module__ = "snowflake.connector.connection"

        def cursor(self) -> Any:
            return DictCursor()

        def close(self) -> None: ...

    with query(HookOf(Connection), "SELECT x", None) as result:
        assert list(result.chunks) == [[(DOCUMENT,)]]
