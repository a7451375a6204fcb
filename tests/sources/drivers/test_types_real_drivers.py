"""What real drivers describe and give, over the protocols of their databases on this machine."""

from __future__ import annotations

import datetime
import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_fullstory.exceptions import FullStoryInputError, FullStorySourceError
from airflow_provider_fullstory.sources.query import query
from tests.sources.drivers.drivers import HookOf, for_each, read_all
from tests.sources.drivers.servers import (
    bigquery as bq,
    databricks as dbx,
    redshift as rs,
    sqlserver as mssql,
)
from tests.sources.drivers.servers.clickhouse import clickhouse_connect, clickhouse_driver
from tests.sources.drivers.servers.mysql import mysql
from tests.sources.drivers.servers.snowflake import snowflake
from tests.sources.drivers.servers.trino import row, simple, trino

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from demo.warehouse import Warehouse

TEXT = '{"plan": "pro", "price": 1.10}'
DOCUMENT = {"plan": "pro", "price": Decimal("1.10")}
MOMENT = datetime.datetime.fromisoformat("2026-07-01T10:00:00.123457")


def read(connect: Callable[[], Any], sql: str = "SELECT 1") -> list[tuple[Any, ...]]:
    with query(HookOf(connect), sql, None) as result:
        return [tuple(values) for chunk in result.chunks for values in chunk]


def test_trino() -> None:
    pytest.importorskip("trino")
    document, text = simple("json"), simple("varchar", 2**31 - 1)
    order = row(plan=text, details=document)
    columns = [
        ("json", document, TEXT),
        ("array(json)", simple("array", document), [TEXT, None]),
        ("map(varchar, json)", simple("map", text, document), {"k": TEXT}),
        ("row(plan varchar, details json)", order, ["{}", TEXT]),
        ("array(row(plan varchar, details json))", simple("array", order), [["pro", "[1]"]]),
        ("varchar", text, TEXT),
        ("decimal(9,2)", simple("decimal", 9, 2), "1.10"),
        ("timestamp(6)", simple("timestamp", 6), "2026-07-01 10:00:00.123457"),
    ]

    with trino(*columns) as connect:
        first, nulls = read(connect)

    assert first == (
        DOCUMENT,
        [DOCUMENT, None],
        {"k": DOCUMENT},
        {"plan": "{}", "details": DOCUMENT},
        [{"plan": "pro", "details": [1]}],
        TEXT,
        Decimal("1.10"),
        MOMENT,
    )
    assert nulls == (None,) * len(columns)


#: The keys and the values of a map.
TEXTS = {"type": "text", "length": 100, "nullable": False}


def test_snowflake(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("snowflake.connector")
    # Otherwise the connector asks the clouds in which of them it runs.
    monkeypatch.setenv("SNOWFLAKE_DISABLE_PLATFORM_DETECTION", "true")
    columns: list[tuple[dict[str, Any], str]] = [
        ({"type": "variant"}, TEXT),
        ({"type": "variant"}, '"pro"'),
        ({"type": "variant"}, "undefined"),
        ({"type": "object"}, TEXT),
        ({"type": "array"}, '[\n  "a"\n]'),
        ({"type": "map", "fields": [TEXTS, TEXTS]}, '{"k": "v"}'),
        ({"type": "text", "length": 100}, TEXT),
        ({"type": "fixed", "precision": 9, "scale": 2}, "1.10"),
        ({"type": "timestamp_ntz", "scale": 9}, "1782900000.123457000"),
        ({"type": "boolean"}, "1"),
    ]

    with snowflake(*columns) as connect:
        first, nulls = read(connect)

    assert first == (
        DOCUMENT,
        "pro",
        "undefined",
        DOCUMENT,
        ["a"],
        {"k": "v"},
        TEXT,
        Decimal("1.10"),
        MOMENT,
        True,
    )
    assert nulls == (None,) * len(columns)


#: Fields, the values of BigQuery's API, and what is read.
BIGQUERY: list[tuple[dict[str, Any], Any, Any]] = [
    ({"type": "JSON"}, TEXT, DOCUMENT),
    ({"type": "STRING"}, TEXT, TEXT),
    ({"type": "INTEGER"}, "5", 5),
    ({"type": "BOOLEAN"}, "true", True),
    ({"type": "NUMERIC"}, "79.10", Decimal("79.10")),
    ({"type": "BIGNUMERIC"}, "1e-20", Decimal("1e-20")),
    ({"type": "DATE"}, "2026-07-01", datetime.date(2026, 7, 1)),
    ({"type": "DATETIME"}, "2026-07-01T10:00:00.123457", MOMENT),
    ({"type": "STRING", "mode": "REPEATED"}, [{"v": "a"}, {"v": "b"}], ["a", "b"]),
    ({"type": "NUMERIC", "mode": "REPEATED"}, [{"v": "1.10"}], [Decimal("1.10")]),
    ({"type": "JSON", "mode": "REPEATED"}, [{"v": TEXT}], [DOCUMENT]),
]
STRUCT = (
    {"type": "RECORD", "fields": [{"name": "x", "type": "INTEGER", "mode": "NULLABLE"}]},
    {"f": [{"v": "1"}]},
)
NUMBERS = ({"type": "INTEGER", "mode": "REPEATED"}, [{"v": "1"}])


@pytest.fixture
def bigquery_hook(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    pytest.importorskip("airflow.providers.google")
    monkeypatch.setenv("AIRFLOW_CONN_BIGQUERY", json.dumps({"conn_type": "google_cloud_platform"}))
    return bq.airflow_hook


def test_the_cursor_of_airflows_hook_of_bigquery(bigquery_hook: Callable[[str], Any]) -> None:
    moment = ({"type": "TIMESTAMP"}, "1.782900000123457E9", MOMENT.replace(tzinfo=datetime.UTC))
    columns = [*BIGQUERY, moment]

    with (
        bq.bigquery(*[(field, value) for field, value, _ in columns]) as url,
        query(bigquery_hook(url), "SELECT 1", None) as result,
    ):
        [[first, nulls]] = list(result.chunks)

    assert tuple(first) == tuple(expected for *_, expected in columns)
    assert all(value in (None, []) for value in nulls)


def test_a_struct_is_refused_with_advice_where_the_hook_of_bigquery_does_not_tell_its_fields(
    bigquery_hook: Callable[[str], Any],
) -> None:
    with (
        bq.bigquery(STRUCT) as url,
        pytest.raises(FullStoryInputError, match=r"column c0 is a STRUCT.*Write TO_JSON\(c0\) AS c0 in sql"),
        query(bigquery_hook(url), "SELECT 1", None),
    ):
        pass


def test_an_array_of_numbers_that_the_hook_of_bigquery_fails_for_comes_with_advice(
    bigquery_hook: Callable[[str], Any],
) -> None:
    with (
        bq.bigquery(NUMBERS) as url,
        pytest.raises(FullStorySourceError, match=r"(?s)TypeError.*write TO_JSON"),
        query(bigquery_hook(url), "SELECT 1", None),
    ):
        pass


def test_bigquerys_own_client() -> None:
    pytest.importorskip("google.cloud.bigquery")
    moment = ({"type": "TIMESTAMP"}, "1782900000123457", MOMENT.replace(tzinfo=datetime.UTC))
    columns = [*BIGQUERY[1:-1], moment, (*STRUCT, {"x": 1}), (*NUMBERS, [1])]

    with bq.bigquery(*[(field, value) for field, value, _ in columns]) as url:
        first, _ = read(lambda: bq.client_connection(url))

    assert first == tuple(expected for *_, expected in columns)


def test_databricks() -> None:
    pytest.importorskip("databricks.sql")
    pyarrow = pytest.importorskip("pyarrow")
    pairs = pyarrow.map_(pyarrow.string(), pyarrow.list_(pyarrow.int32()))
    columns: list[tuple[str, list[Any], Any, str | None, Any]] = [
        ("STRING_TYPE", [TEXT], None, None, TEXT),
        ("STRING_TYPE", [TEXT], None, "VARIANT", DOCUMENT),
        ("STRUCT_TYPE", [TEXT], None, None, DOCUMENT),
        ("ARRAY_TYPE", ['["a"]'], None, None, ["a"]),
        ("MAP_TYPE", ['{"k":1}'], None, None, {"k": 1}),
        ("STRUCT_TYPE", [{"x": [1]}], None, None, {"x": [1]}),
        ("ARRAY_TYPE", [["a", "b"]], None, None, ["a", "b"]),
        ("ARRAY_TYPE", [[["a"], []]], None, None, [["a"], []]),
        ("MAP_TYPE", [[("k", [1])]], pairs, None, {"k": [1]}),
        ("MAP_TYPE", [[]], pairs, None, {}),
    ]
    arrays = [(kind, pyarrow.array([*values, None], arrow), name) for kind, values, arrow, name, _ in columns]

    with dbx.databricks(*arrays) as connect:
        first, nulls = read(connect)

    assert first == tuple(expected for *_, expected in columns)
    assert nulls == (None,) * len(columns)


@pytest.mark.parametrize("serve", [clickhouse_connect, clickhouse_driver])
def test_clickhouse(serve: Callable[[], AbstractContextManager[Callable[[], Any]]]) -> None:
    pytest.importorskip(serve.__name__)
    pytest.importorskip("chdb")
    sql = f"""
        SELECT '{TEXT}'::JSON, ['{TEXT}'::JSON], map('k', '{TEXT}'::JSON), '{TEXT}',
            toDecimal64('1.25', 2), toDateTime64('2026-07-01 10:00:00.123457', 6),
            CAST(NULL AS Nullable(String))
    """

    with serve() as connect:
        [first] = read(connect, sql)

    # The drivers read JSON themselves, and numbers in it as floats.
    document = {"plan": "pro", "price": 1.1}
    assert first == (document, [document], {"k": document}, TEXT, Decimal("1.25"), MOMENT, None)


@pytest.mark.parametrize(
    "driver", ["pymysql", "mysql.connector", "mysql.connector in pure Python", "MySQLdb"]
)
def test_mysql(driver: str) -> None:
    pytest.importorskip("mysql_mimic")
    module = pytest.importorskip(driver.partition(" ")[0])
    options: dict[str, Any] = {"use_pure": True} if driver.endswith("pure") else {}

    with mysql(document=("JSON", TEXT), text=("VAR_STRING", TEXT), flag=("TINY", 1)) as port:
        options |= {"host": "127.0.0.1", "port": port, "user": "reader"}
        rows = read(lambda: module.connect(**options), "SELECT * FROM t")

    assert rows == [(DOCUMENT, TEXT, 1), (None, None, None)]
    assert not isinstance(rows[0][2], bool)


@for_each("psycopg2", "psycopg")
def test_super_of_redshift_through_postgresqls_drivers(driver: str, postgresql: Warehouse) -> None:
    rs.add_super(postgresql)

    sql = f"SELECT '{TEXT}'::super AS x UNION ALL SELECT '[1]' UNION ALL SELECT NULL"
    assert read_all(driver, sql) == (["x"], [(DOCUMENT,), ([1],), (None,)])


def test_super_of_redshift(postgresql: Warehouse) -> None:
    pytest.importorskip("redshift_connector")
    rs.add_super(postgresql)
    settings = json.loads(postgresql.connection_json())

    with rs.redshift(settings["host"], settings["login"], settings["schema"]) as connect:
        rows = read(connect, f"SELECT '{TEXT}'::super, '{TEXT}'::varchar, 1.10::numeric(9,2), now() - now()")

    assert rows[0][:3] == (DOCUMENT, TEXT, Decimal("1.10"))


def test_sql_server() -> None:
    pytest.importorskip("pymssql")
    columns = {
        "document": mssql.text(TEXT),
        "flag": mssql.bit(1),
        "price": mssql.decimal(110, 2),
        "local": mssql.datetime2(MOMENT),
        "moment": mssql.datetimeoffset(MOMENT, 120),
    }

    with mssql.sqlserver(**columns) as connect:
        first, nulls = read(connect)

    # JSON is text like any other there.
    moment = MOMENT.replace(tzinfo=datetime.UTC)
    assert first == (TEXT, True, Decimal("1.10"), MOMENT, moment)
    assert type(first[1]) is bool
    assert nulls == (None,) * len(columns)
