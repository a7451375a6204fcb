"""What a person reads when the input is wrong: before anything is sent, or with what was sent before."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_fullstory.exceptions import (
    FullStoryAuthenticationError,
    FullStorySourceError,
    FullStoryTransportError,
)
from airflow_provider_fullstory.operators.fullstory import FullStoryImportEventsOperator

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provider_fullstory.emulator.client import EmulatorClient

EVENTS = [{"name": "A", "user.uid": "u"}]


def message_of(context: Any, error: type[Exception] = AirflowFailException, **arguments: Any) -> str:
    with pytest.raises(error) as caught:
        FullStoryImportEventsOperator(**{"task_id": "import", **arguments}).execute(context)
    return str(caught.value)


def connect(monkeypatch: pytest.MonkeyPatch, **connection: Any) -> None:
    monkeypatch.setenv(
        "AIRFLOW_CONN_FULLSTORY_DEFAULT",
        json.dumps({"conn_type": "fullstory", "password": "k", **connection}),
    )


def test_no_connection(context: Any) -> None:
    message = message_of(context, events=EVENTS, fullstory_conn_id="nowhere")
    assert "Airflow has no connection 'nowhere'" in message
    assert "airflow connections add nowhere --conn-type fullstory" in message


def test_wrong_key(emulator: EmulatorClient, context: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_FULLSTORY_DEFAULT", emulator.connection_json("na1.wrong"))
    message = message_of(context, FullStoryAuthenticationError, events=EVENTS)
    assert "HTTP 401" in message
    assert "check the password of the connection" in message
    assert emulator.events() == []


def test_wrong_host(
    context: Any, monkeypatch: pytest.MonkeyPatch, retry_for: Callable[[float], None]
) -> None:
    connect(monkeypatch, host="http://127.0.0.1:9")
    retry_for(0.0)
    message = message_of(context, FullStoryTransportError, events=EVENTS)
    assert "no answer from http://127.0.0.1:9" in message
    assert message.endswith("\nFullStory has accepted no batch.")


def test_http_to_another_machine(context: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, host="http://fullstory.example.com")
    message = message_of(context, events=EVENTS)
    assert "unencrypted to 'fullstory.example.com': only https is allowed" in message


def test_both_and_neither_of_events_and_sql(emulator: EmulatorClient, context: Any) -> None:
    both = message_of(context, events=EVENTS, sql="SELECT 1", sql_conn_id="warehouse")
    assert "exactly one of events and sql, not both" in both
    assert "exactly one of events and sql, not neither" in message_of(context)


def test_an_empty_source_is_said_and_is_no_failure(
    emulator: EmulatorClient, context: Any, caplog: pytest.LogCaptureFixture, capfd: Any
) -> None:
    report = FullStoryImportEventsOperator(task_id="import", events=[]).execute(context)
    assert (report["records"], report["imported"], report["rejected"]) == (0, 0, 0)
    output = capfd.readouterr()
    assert "The source gave no records: nothing was sent" in caplog.text + output.out + output.err
    assert [request["path"] for request in emulator.requests()] == ["/me"]


def test_unknown_field_path(emulator: EmulatorClient, context: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": ":memory:"}))
    message = message_of(context, sql='SELECT 1 AS "user.uuid"', sql_conn_id="warehouse", event_name="A")
    assert (
        "column 'user.uuid': FullStory's events have no field 'user.uuid' (did you mean 'user.uid'?)"
        in message
    )
    assert [request["path"] for request in emulator.requests()] == ["/me"]


def test_a_batch_size_beyond_the_limit(emulator: EmulatorClient, context: Any) -> None:
    message = message_of(context, events=EVENTS, batch_size=50_001)
    assert "batch_size is 50001; it must be 1 to 50,000, FullStory's limit for a batch" in message
    assert emulator.requests() == []


def test_a_record_without_a_name(emulator: EmulatorClient, context: Any) -> None:
    message = message_of(context, events=[{"user.uid": "u"}])
    assert "1 of 1 records is not in FullStory." in message
    assert "1 invalid, never sent" in message
    assert "\n1 record: required_field: name is missing; " in message
    assert message.endswith("\nNothing was sent.")


def test_two_identities(emulator: EmulatorClient, context: Any, caplog: Any, capfd: Any) -> None:
    message_of(context, events=[{"name": "A", "user": {"uid": "u", "id": "1"}}])
    output = capfd.readouterr()
    assert "record 1: user.uid and user.id are both given" in caplog.text + output.out + output.err
    assert emulator.events() == []


def test_a_missing_file(emulator: EmulatorClient, context: Any) -> None:
    message = message_of(context, events="file:///no/such/events.jsonl")
    assert message.startswith("file:///no/such/events.jsonl is not a file.")
    assert message.endswith("\nNothing was sent in this try.")


def test_an_unreadable_file(emulator: EmulatorClient, context: Any, tmp_path: Path) -> None:
    (tmp_path / "events.gz").write_bytes(b"\x1f\x8b\x08 cut off")
    message = message_of(context, FullStorySourceError, events=f"file://{tmp_path}/events.gz")
    assert f"{tmp_path}/events.gz could not be read" in message
    assert message.endswith("\nNothing was sent in this try.")


def test_a_scheme_that_nothing_installed_can_read(emulator: EmulatorClient, context: Any) -> None:
    message = message_of(context, events="carrier-pigeon://loft/events.jsonl")
    assert "carrier-pigeon" in message


def test_text_that_is_no_uri(emulator: EmulatorClient, context: Any) -> None:
    message = message_of(context, events="[{'name': 'A'}]")
    assert "The output of a task is passed as task.output" in message


def test_a_query_that_fails_midway(
    emulator: EmulatorClient, context: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "warehouse.db"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
        database.executemany("INSERT INTO orders VALUES (?)", [(number,) for number in range(2000)])
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    overflow = "abs(CASE WHEN id = 1700 THEN -9223372036854775807 - 1 ELSE id END)"
    message = message_of(
        context,
        FullStorySourceError,
        sql=f"""SELECT 'u' AS "user.uid", {overflow} AS number FROM orders ORDER BY id""",
        sql_conn_id="warehouse",
        event_name="A",
        batch_size=500,
    )
    assert "The query failed after 1500 rows: " in message
    assert "integer overflow" in message
    assert "FullStory has accepted 3 batches with 1,500 records" in message
    assert all(job["id"] in message for job in emulator.jobs())
    assert "under the same keys: for 24 hours FullStory takes none twice." in message
    assert len(emulator.events()) == 1500


def test_a_query_that_fails_at_once(
    emulator: EmulatorClient, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": ":memory:"}))
    message = message_of(context, FullStorySourceError, sql="SELECT * FROM nowhere", sql_conn_id="warehouse")
    assert "The query failed: OperationalError: no such table: nowhere" in message


def test_a_statement_that_returns_no_rows(
    emulator: EmulatorClient, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": ":memory:"}))
    message = message_of(context, sql="CREATE TABLE t (id INTEGER)", sql_conn_id="warehouse")
    assert "sql must be one SELECT" in message


def test_sql_without_a_connection(emulator: EmulatorClient, context: Any) -> None:
    assert "sql is given without sql_conn_id" in message_of(context, sql="SELECT 1")
    message = message_of(context, sql="SELECT 1", sql_conn_id="nowhere")
    assert "Airflow has no connection 'nowhere', which sql_conn_id names" in message


def test_a_connection_that_is_no_database(emulator: EmulatorClient, context: Any) -> None:
    message = message_of(context, sql="SELECT 1", sql_conn_id="fullstory_default")
    assert "'fullstory_default' is not a database that takes SQL" in message


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"timezone": "Mars/Olympus"}, "timezone is 'Mars/Olympus'"),
        ({"schema": {"price": "money"}}, "schema declares 'price' as 'money'"),
        ({"schema": {"a-b": "int"}}, "property names start with a letter"),
        ({"shared": {"properties": {}}}, "events can share only"),
        ({"shared": {"user": {"uid": 1.5}}}, "shared cannot be sent: user.uid must be text"),
        ({"max_parallel_uploads": 0}, "max_parallel_uploads is 0"),
        ({"max_outstanding_records": 0}, "max_outstanding_records is 0"),
        ({"max_batch_bytes": 0}, "max_batch_bytes is 0"),
        ({"events": 7}, "events is of type int"),
        ({"timeout": None}, "timeout is None; it must be seconds"),
        ({"timezone": None}, "timezone is None; it must be a name such as"),
        ({"batch_size": "ten"}, "batch_size is 'ten'; it must be 1 to 50,000"),
        ({"event_name": 5, "events": [{"user.uid": "u"}]}, "event_name is 5; it must be text"),
    ],
)
def test_arguments_that_cannot_work(
    emulator: EmulatorClient, context: Any, arguments: dict[str, Any], words: str
) -> None:
    assert words in message_of(context, **{"events": EVENTS, **arguments})
    # Whose key it is may be asked for before a source is opened; nothing else is.
    assert {request["path"] for request in emulator.requests()} <= {"/me"}
