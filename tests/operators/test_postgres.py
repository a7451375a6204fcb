"""Queries on a real PostgreSQL."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_fullstory.exceptions import FullStoryError
from airflow_provider_fullstory.operators.fullstory import FullStoryImportEventsOperator

if TYPE_CHECKING:
    from airflow_provider_fullstory.emulator.client import EmulatorClient
    from demo.warehouse import Warehouse

TYPES = """
    SELECT 'u1'                                             AS "user.uid",
           timestamptz '2026-03-01 12:00:00+02'             AS "timestamp",
           42::smallint                                     AS small,
           9223372036854775807::bigint                      AS big,
           79.10::numeric(10, 2)                            AS price,
           0.1::double precision                            AS ratio,
           true                                             AS paid,
           date '2026-02-28'                                AS due,
           timestamp '2026-02-28 23:30:00'                  AS due_at,
           time '08:15:00'                                  AS opens,
           interval '1 hour 30 minutes'                     AS took,
           'b5a1f1de-6d5c-4f0e-8f3a-1d5d0d7f3c11'::uuid     AS reference,
           'naïve "quoted" ☃'                               AS note,
           ''                                               AS empty,
           NULL::text                                       AS missing,
           ARRAY[1, NULL, 3]                                AS numbers,
           ARRAY['a', 'b']                                  AS letters,
           '{"code": 7, "city": {"name": "Köln"}, "gone": null}'::jsonb AS address
"""

# Prints the peak memory of a task that imports so many rows, in kilobytes.
IMPORT = """
import sys
from tests.conftest import FakeTaskInstance
from tests.sources.drivers.drivers import peak_kilobytes
from airflow_provider_fullstory.exceptions import FullStoryError
from airflow_provider_fullstory.operators.fullstory import FullStoryImportEventsOperator

rows = int(sys.argv[1])
report = FullStoryImportEventsOperator(
    task_id="import",
    sql="SELECT 'u' || n AS \\"user.uid\\", n, repeat('x', 400) AS note FROM generate_series(1, %s) AS n",
    parameters=[rows],
    sql_conn_id="warehouse",
    event_name="A",
    batch_size=1000,
).execute({"ti": FakeTaskInstance(run_id=f"run-{rows}")})
assert report["imported"] == rows, report
print(peak_kilobytes())
"""


@pytest.fixture(autouse=True)
def connection(postgresql: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the connection 'warehouse' lead to the server."""
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", postgresql.connection_json())


def test_every_type_of_column_arrives_as_decided(emulator: EmulatorClient, context: Any) -> None:
    FullStoryImportEventsOperator(
        task_id="import", sql=TYPES, sql_conn_id="warehouse", event_name="A", timezone="Europe/Berlin"
    ).execute(context)
    [event] = emulator.events()
    assert event["event"] == {
        "name": "A",
        "timestamp": "2026-03-01T10:00:00Z",
        "user": {"uid": "u1"},
        "properties": {
            "small": 42,
            "big": 9223372036854775807,
            "price": 79.10,
            "ratio": 0.1,
            "paid": True,
            "due": "2026-02-28",
            "due_at": "2026-02-28T22:30:00Z",
            "opens": "08:15:00",
            "took": 5400.0,
            "reference": "b5a1f1de-6d5c-4f0e-8f3a-1d5d0d7f3c11",
            "note": 'naïve "quoted" ☃',
            "empty": "",
            "numbers": [1, 3],
            "letters": ["a", "b"],
            "address": {"code": 7, "city": {"name": "Köln"}},
        },
        "schema": {
            "properties": {
                "small": "int",
                "big": "int",
                "due": "date",
                "due_at": "date",
                "numbers": "ints",
                "address.code": "int",
            }
        },
    }


def test_columns_that_hold_whole_objects_are_spread(emulator: EmulatorClient, context: Any) -> None:
    sql = """
        SELECT jsonb_build_object('uid', 'u' || n) AS "user",
               jsonb_build_object('n', n) AS properties,
               jsonb_build_object('browser', jsonb_build_object('url', 'https://example.com')) AS context
        FROM generate_series(1, 3) AS n
    """
    FullStoryImportEventsOperator(task_id="import", sql=sql, sql_conn_id="warehouse", event_name="A").execute(
        context
    )
    assert [event["event"]["properties"] for event in emulator.events()] == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert emulator.events()[0]["event"]["context"] == {"browser": {"url": "https://example.com"}}


def test_an_error_that_quotes_the_cursor_says_what_that_is(
    emulator: EmulatorClient, context: Any, postgresql: Warehouse
) -> None:
    operator = FullStoryImportEventsOperator(
        task_id="import",
        sql="SELECT 'u' AS \"user.uid\", missing FROM generate_series(1, 3)",
        sql_conn_id="warehouse",
        event_name="A",
    )
    with pytest.raises(FullStoryError, match=r"CURSOR (?s:.*)\nThe words before sql there"):
        operator.execute(context)
    assert emulator.jobs() == []


def test_the_connection_is_closed_when_the_task_is_done(
    emulator: EmulatorClient, context: Any, postgresql: Warehouse
) -> None:
    FullStoryImportEventsOperator(
        task_id="import", sql="SELECT 'u' AS \"user.uid\"", sql_conn_id="warehouse", event_name="A"
    ).execute(context)
    with postgresql.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE query LIKE '%fullstory_import%' AND pid <> pg_backend_pid()"
        )
        assert cursor.fetchone() == (0,)


def test_memory_does_not_grow_with_the_result(emulator: EmulatorClient, postgresql: Warehouse) -> None:
    emulator.configure(event_quota=10_000_000)

    def peak(rows: int) -> int:
        environment = os.environ | {
            "AIRFLOW_CONN_WAREHOUSE": postgresql.connection_json(),
            "AIRFLOW_CONN_FULLSTORY_DEFAULT": emulator.connection_json(),
        }
        done = subprocess.run(
            [sys.executable, "-c", IMPORT, str(rows)],
            env=environment,
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return int(done.stdout.splitlines()[-1])

    small, large = peak(100_000), peak(400_000)
    # The text alone of the rows that are more has 120 MB; allocators need some memory to settle.
    assert large < small + 30_000, json.dumps({"small": small, "large": large})
