"""What the operator sends, waits for and reports."""

from __future__ import annotations

import datetime
import json
import sqlite3
from contextlib import closing
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred

from airflow_provider_fullstory.exceptions import FullStoryTimeoutError
from airflow_provider_fullstory.operators.fullstory import FullStoryImportEventsOperator
from airflow_provider_fullstory.sensors.fullstory import FullStoryImportJobSensor
from tests.conftest import run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provider_fullstory.emulator.client import EmulatorClient


def importing(**arguments: Any) -> FullStoryImportEventsOperator:
    return FullStoryImportEventsOperator(**{"task_id": "import", "poll_interval": 0.01, **arguments})


def orders(count: int) -> list[dict[str, Any]]:
    return [{"name": "Order", "user.uid": f"u{number}", "number": number} for number in range(count)]


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a SQLite database with 2,000 orders behind the connection 'warehouse'."""
    path = tmp_path / "warehouse.db"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE orders (id INTEGER, customer TEXT, ordered_at TEXT, total REAL)")
        database.executemany(
            "INSERT INTO orders VALUES (?, ?, ?, ?)",
            [
                (number, f"c{number % 7}", f"2026-01-01T00:{number % 60:02}:00", number / 4)
                for number in range(2000)
            ],
        )
    connection = {"conn_type": "sqlite", "host": str(path)}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(connection))
    return path


def wait_in_task(events: list[dict[str, Any]], context: Any) -> dict[str, Any]:
    report: dict[str, Any] = importing(events=events, batch_size=10, deferrable=False).execute(context)
    return report


def wait_in_triggerer(events: list[dict[str, Any]], context: Any) -> dict[str, Any]:
    report: dict[str, Any] = run(importing(events=events, batch_size=10, deferrable=True), context)
    return report


def wait_in_sensor(events: list[dict[str, Any]], context: Any) -> dict[str, Any]:
    submitted = importing(events=events, batch_size=10, wait_for_completion=False).execute(context)
    assert submitted["imported"] is None
    report: dict[str, Any] = run(
        FullStoryImportJobSensor(task_id="wait", job_ids=submitted, deferrable=True, poke_interval=0.01),
        context,
    )
    return report


WAYS = pytest.mark.parametrize("import_in", [wait_in_task, wait_in_triggerer, wait_in_sensor])


@WAYS
def test_all_ways_to_wait_give_the_same_report(
    emulator: EmulatorClient, context: Any, import_in: Callable[..., dict[str, Any]]
) -> None:
    emulator.configure(processing_seconds=0.3)
    report = import_in(orders(25), context)
    assert report == {
        "resource": "events",
        "job_ids": report["job_ids"],
        "records": 25,
        "imported": 25,
        "invalid": 0,
        "rejected": 0,
        "skipped": 0,
        "rejected_uri": None,
        "batches": 3,
        "codes": {},
        "reasons": {},
        "earliest": None,
        "latest": None,
        "without_timestamp": 25,
        "dropped_properties": {},
        "watermark": None,
    }
    assert sorted(report["job_ids"]) == sorted(job["id"] for job in emulator.jobs())
    numbers = sorted(event["event"]["properties"]["number"] for event in emulator.events())
    assert numbers == list(range(25))


@WAYS
def test_partial_failure_fails_the_task_with_counts_and_codes(
    emulator: EmulatorClient, context: Any, import_in: Callable[..., dict[str, Any]]
) -> None:
    emulator.configure(processing_seconds=0.3)
    refused = [{"name": "Order", "user.uid": "u", "only_fullstory_refuses": True}] * 2
    with pytest.raises(AirflowFailException) as caught:
        import_in([*orders(23), *refused], context)
    message = str(caught.value)
    assert message.startswith("2 of 25 records are not in FullStory.\n")
    assert "\n0 invalid, never sent, 2 rejected by FullStory.\n" in message
    [(code, count)] = context["ti"].xcoms["return_value"]["codes"].items()
    assert count == 2
    assert f"\n2 records: {code}, says FullStory\n" in message
    assert "23 imported" in message
    assert len(emulator.events()) == 23


def test_counts_decide_not_the_status_of_the_job(emulator: EmulatorClient, context: Any) -> None:
    status = {"imports": 1, "errors": 1, "job": {"id": "x", "status": "COMPLETED"}}
    emulator.order_fault(method="GET", path="/v2/events/batch/*", status=200, body=status)
    with pytest.raises(AirflowFailException, match="1 rejected by FullStory"):
        importing(events=orders(2)).execute(context)


def test_counts_that_do_not_add_up_fail_the_task(emulator: EmulatorClient, context: Any) -> None:
    status = {"imports": 1, "job": {"id": "x", "status": "COMPLETED"}}
    emulator.order_fault(method="GET", path="/v2/events/batch/*", status=200, body=status)
    with pytest.raises(Exception, match="sent 2 records, but its jobs count 1 imported and 0 rejected"):
        importing(events=orders(2)).execute(context)


def test_a_key_that_may_not_read_codes_keeps_the_counts(
    emulator: EmulatorClient, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_FULLSTORY_DEFAULT", emulator.connection_json(emulator.standard_key))
    refused = {"name": "Order", "user.uid": "u", "only_fullstory_refuses": True}
    with pytest.raises(
        AirflowFailException, match="Which 1 record FullStory rejected, and why, could not be read:"
    ):
        importing(events=[*orders(2), refused]).execute(context)


def test_a_record_refused_here_does_not_stop_the_others(emulator: EmulatorClient, context: Any) -> None:
    events = [*orders(3), {"user.uid": "u"}, *orders(2)]
    with pytest.raises(AirflowFailException, match="1 invalid, never sent, 0 rejected"):
        importing(events=events).execute(context)
    assert len(emulator.events()) == 5
    assert context["ti"].xcoms["return_value"]["codes"] == {"required_field": 1}


def test_a_query_is_streamed_into_batches(emulator: EmulatorClient, context: Any, warehouse: Path) -> None:
    report = importing(
        sql='SELECT id, customer AS "user.uid", ordered_at AS "timestamp", total FROM orders ORDER BY id;',
        sql_conn_id="warehouse",
        event_name="Order",
        timezone="Europe/Berlin",
        batch_size=300,
    ).execute(context)
    assert (report["records"], report["imported"], report["batches"]) == (2000, 2000, 7)
    sent = {event["event"]["properties"]["id"]: event["event"] for event in emulator.events()}
    assert len(sent) == 2000
    assert sent[1] == {
        "name": "Order",
        "timestamp": "2025-12-31T23:01:00Z",
        "user": {"uid": "c1"},
        "properties": {"id": 1, "total": 0.25},
        "schema": {"properties": {"id": "int"}},
    }


def test_parameters_and_mapping_are_used(emulator: EmulatorClient, context: Any, warehouse: Path) -> None:
    report = importing(
        sql="SELECT id, customer FROM orders WHERE id < :limit ORDER BY id",
        parameters={"limit": 3},
        sql_conn_id="warehouse",
        mapping={"user.uid": "CUSTOMER"},
        event_name="Order",
    ).execute(context)
    assert report["imported"] == 3
    assert [event["event"]["user"]["uid"] for event in emulator.events()] == ["c0", "c1", "c2"]


def test_a_file_in_object_storage_is_read(emulator: EmulatorClient, context: Any, tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text('{"name": "A", "user": {"uid": "u"}, "properties": {"price": 79.10}}\n\n')
    report = importing(events=f"file://{file}").execute(context)
    assert report["imported"] == 1
    [event] = emulator.events()
    assert event["event"]["properties"] == {"price": 79.10}


def test_outputs_of_mapped_tasks_are_one_import(emulator: EmulatorClient, context: Any) -> None:
    report = importing(events=(part for part in [orders(2), orders(3), orders(1)[0]])).execute(context)
    assert report["imported"] == 6


def test_what_is_shared_is_sent_once(emulator: EmulatorClient, context: Any) -> None:
    shared = {"context": {"browser": {"url": "https://example.com"}}}
    importing(events=orders(2), shared=shared).execute(context)
    assert [event["shared"] for event in emulator.events()] == [shared, shared]


def test_declared_types_are_sent(emulator: EmulatorClient, context: Any) -> None:
    event = {"name": "A", "user.uid": "u", "price": 1, "day": "2026-01-01", "at": datetime.date(2026, 1, 1)}
    importing(events=[event], schema={"price": "real", "day": "date"}).execute(context)
    assert emulator.events()[0]["event"]["schema"] == {
        "properties": {"price": "real", "day": "date", "at": "date"}
    }


def test_decimals_keep_their_digits(emulator: EmulatorClient, context: Any) -> None:
    importing(events=[{"name": "A", "user.uid": "u", "price": Decimal("11.10")}]).execute(context)
    assert emulator.requests()[-2]["body_bytes"] == len(
        b'{"requests":[{"name":"A","user":{"uid":"u"},"properties":{"price":11.10}}]}'
    )


def test_a_try_that_sends_the_same_again_doubles_nothing(
    emulator: EmulatorClient, make_context: Callable[..., Any]
) -> None:
    first = importing(events=orders(25), batch_size=10).execute(make_context())
    again = importing(events=orders(25), batch_size=10).execute(make_context())
    assert again == first
    assert len(emulator.events()) == 25


def test_another_run_sends_equal_data_again(
    emulator: EmulatorClient, make_context: Callable[..., Any]
) -> None:
    importing(events=orders(5)).execute(make_context(run_id="run-1"))
    importing(events=orders(5)).execute(make_context(run_id="run-2"))
    importing(events=orders(5)).execute(make_context(run_id="run-2", map_index=3))
    importing(events=orders(5), idempotency_salt="again").execute(make_context(run_id="run-2"))
    assert len(emulator.events()) == 20


def test_equal_batches_of_one_run_are_all_sent(emulator: EmulatorClient, context: Any) -> None:
    event = {"name": "A", "user.uid": "u"}
    report = importing(events=[event] * 6, batch_size=2).execute(context)
    assert (report["imported"], report["batches"]) == (6, 3)
    assert len(emulator.events()) == 6


def test_a_body_that_is_too_large_is_sent_in_halves(emulator: EmulatorClient, context: Any) -> None:
    emulator.configure(max_body_bytes=1000)
    report = importing(events=orders(50)).execute(context)
    assert report["imported"] == 50
    assert report["batches"] > 1
    assert len(emulator.events()) == 50


def test_unfinished_records_never_exceed_the_limit(emulator: EmulatorClient, context: Any) -> None:
    # Beyond 20 unfinished records the emulator answers 429, which would be among the requests.
    emulator.configure(processing_seconds=0.05, max_unfinished_records=20)
    report = importing(events=orders(60), batch_size=5, max_outstanding_records=20).execute(context)
    assert report["imported"] == 60
    assert {request["status"] for request in emulator.requests()} == {200}


def test_the_limit_on_the_wait_names_the_jobs_that_go_on(emulator: EmulatorClient, context: Any) -> None:
    emulator.configure(processing_seconds=3600)
    with pytest.raises(FullStoryTimeoutError) as caught:
        importing(events=orders(2), timeout=2.0).execute(context)
    [job] = emulator.jobs()
    assert job["id"] in str(caught.value)
    assert "cannot cancel" in str(caught.value)


def test_the_limit_on_the_wait_holds_while_fullstory_fails(emulator: EmulatorClient, context: Any) -> None:
    emulator.order_fault(method="GET", status=503, headers={"Retry-After": "30"}, times=100)
    with pytest.raises(FullStoryTimeoutError, match="did not finish"):
        importing(events=orders(2), timeout=0.5).execute(context)
    assert len(emulator.events()) == 2


def test_codes_that_cannot_be_read_do_not_hide_the_verdict(emulator: EmulatorClient, context: Any) -> None:
    refused = {"name": "Order", "user.uid": "u", "only_fullstory_refuses": True}
    emulator.order_fault(method="GET", path="/v2/events/batch/*/errors", status=404)
    with pytest.raises(
        AirflowFailException, match="Which 1 record FullStory rejected, and why, could not be read:"
    ):
        importing(events=[*orders(2), refused]).execute(context)
    assert context["ti"].xcoms["return_value"]["imported"] == 2


@pytest.mark.parametrize("limit", [{"timeout": 2.0}, {"execution_timeout": datetime.timedelta(seconds=2.0)}])
def test_the_limits_hold_in_the_triggerer(
    emulator: EmulatorClient, context: Any, limit: dict[str, Any]
) -> None:
    emulator.configure(processing_seconds=3600)
    with pytest.raises(FullStoryTimeoutError, match="did not finish"):
        run(importing(events=orders(2), deferrable=True, **limit), context)


def test_an_import_that_is_finished_needs_no_deferral(emulator: EmulatorClient, context: Any) -> None:
    assert importing(events=orders(2), deferrable=True).execute(context)["imported"] == 2


def test_neither_rows_nor_the_key_go_into_the_trigger(emulator: EmulatorClient, context: Any) -> None:
    emulator.configure(processing_seconds=3600)
    with pytest.raises(TaskDeferred) as caught:
        importing(events=[{"name": "A", "user.uid": "somebody-special"}], deferrable=True).execute(context)
    arguments = json.dumps(caught.value.trigger.serialize())
    assert "somebody-special" not in arguments
    assert emulator.architect_key not in arguments


def test_rows_are_in_no_log(emulator: EmulatorClient, context: Any, caplog: Any, capfd: Any) -> None:
    events = [
        {"name": "A", "user.uid": "somebody-special", "note": "a-secret-note"},
        {"user.uid": "somebody-special", "note": "a-secret-note"},
    ]
    with pytest.raises(AirflowFailException) as caught:
        importing(events=events).execute(context)
    output = capfd.readouterr()
    seen = caplog.text + output.out + output.err + str(caught.value)
    assert "somebody-special" not in seen
    assert "a-secret-note" not in seen
    assert "record 2: name is missing" in seen
