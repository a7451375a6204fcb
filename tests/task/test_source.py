"""The operator takes files however they are named, and says what events without a timestamp become."""

from __future__ import annotations

import json
import logging
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, BaseOperator

from tests.operators.test_fullstory import importing, orders

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_fullstory.emulator.client import EmulatorClient
    from airflow_provider_fullstory.operators.fullstory import FullStoryImportEventsOperator

NO_TIMESTAMP = "No timestamp in the first 2 events: FullStory gives each the time of its import."


@pytest.fixture
def query(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Give the arguments of a query on two orders, one without a date."""
    path = tmp_path / "warehouse.db"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE orders (number INTEGER, ordered_at TEXT)")
        database.execute("INSERT INTO orders VALUES (1, '2026-01-31 09:30:00+00'), (2, NULL)")
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    return {
        "sql": """SELECT number, 'u' AS "user.uid", ordered_at AS timestamp FROM orders ORDER BY number""",
        "sql_conn_id": "warehouse",
        "event_name": "Order",
    }


def logged(
    operator: FullStoryImportEventsOperator, context: Any, caplog: Any, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    # Some Airflows' operators log through structlog.
    logger = logging.getLogger("airflow_provider_fullstory.test")
    monkeypatch.setattr(BaseOperator, "log", property(lambda _: logger), raising=False)
    with caplog.at_level(logging.INFO, "airflow_provider_fullstory"):
        operator.execute(context)
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize(
    "form",
    [
        lambda folder: f"file://{folder}/",
        lambda folder: f"{folder}/*.jsonl",
        lambda folder: [f"file://{folder}/2.jsonl", f"file://{folder}/1.jsonl"],
    ],
    ids=["folder", "pattern", "list"],
)
def test_files_are_one_import(emulator: EmulatorClient, context: Any, tmp_path: Path, form: Any) -> None:
    events = orders(5)
    for name, part in (("1", events[:3]), ("2", events[3:])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(event) + "\n" for event in part))
    (tmp_path / "_SUCCESS").touch()

    report = importing(events=form(tmp_path)).execute(context)

    assert (report["records"], report["imported"], report["batches"]) == (5, 5, 1)
    assert [event["event"]["properties"]["number"] for event in emulator.events()] == [0, 1, 2, 3, 4]


def test_refused_records_are_read_only_from_files(
    emulator: EmulatorClient, context: Any, tmp_path: Path
) -> None:
    """The same dict is a line of a file of refused records, or a record with two properties."""
    line = {"event": {"properties": {"number": 5}}, "refusal": {"code": "c"}}
    (tmp_path / "1.jsonl").write_text(json.dumps(line) + "\n")
    file = f"file://{tmp_path}/1.jsonl"
    sources: list[Any] = [[line], line, {1: line}.values(), file, [file], {1: file}.values()]

    for salt, events in enumerate(sources):
        importing(events=events, event_name="A", allow_anonymous=True, idempotency_salt=str(salt)).execute(
            context
        )

    as_they_are, from_files = [line] * 3, [{"number": 5}] * 3
    assert [event["event"]["properties"] for event in emulator.events()] == as_they_are + from_files


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"uid,name\nu,A\nv,B\n", "No line of "),
        ('{"name": "A", "user": {"uid": "u"}}\n'.encode("utf-16"), "text in UTF-16"),
    ],
)
def test_a_file_of_something_else_sends_nothing(
    emulator: EmulatorClient, context: Any, tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "a").write_bytes(content)

    with pytest.raises(AirflowFailException, match=message):
        importing(events=f"{tmp_path}/a", max_rejected=100).execute(context)

    assert not emulator.events()


def test_a_null_timestamp_is_refused(emulator: EmulatorClient, context: Any, query: dict[str, Any]) -> None:
    report = importing(**query, max_rejected=1).execute(context)

    assert (report["imported"], report["invalid"], report["codes"]) == (1, 1, {"required_field": 1})
    [event] = emulator.events()
    assert event["event"]["timestamp"] == "2026-01-31T09:30:00Z"


def test_a_null_timestamp_is_sent_where_that_is_wanted(
    emulator: EmulatorClient, context: Any, query: dict[str, Any]
) -> None:
    report = importing(**query, allow_missing_timestamp=True).execute(context)

    assert report["imported"] == 2
    assert ["timestamp" in event["event"] for event in emulator.events()] == [True, False]


def test_what_is_allowed_is_part_of_what_a_retry_must_find_unchanged(query: dict[str, Any]) -> None:
    operators = [importing(**query, allow_missing_timestamp=value) for value in (False, True)]

    assert len({operator._checked_arguments().fingerprint for operator in operators}) == 2


def test_the_start_of_the_log_says_what_a_source_without_timestamps_means(
    emulator: EmulatorClient, context: Any, caplog: Any, monkeypatch: Any
) -> None:
    operator = importing(events=orders(2))

    lines = logged(operator, context, caplog, monkeypatch)

    assert lines.count(NO_TIMESTAMP) == 1
    started = next(number for number, line in enumerate(lines) if line.startswith("Importing events from"))
    accepted = next(number for number, line in enumerate(lines) if line.startswith("All is sent"))
    assert started < lines.index(NO_TIMESTAMP) < accepted
    assert all("timestamp" not in event["event"] for event in emulator.events())


def test_a_query_without_a_column_for_it_is_told_so(
    emulator: EmulatorClient, context: Any, query: dict[str, Any], caplog: Any, monkeypatch: Any
) -> None:
    query["sql"] = query["sql"].replace("ordered_at AS timestamp", "ordered_at")

    assert NO_TIMESTAMP in logged(importing(**query), context, caplog, monkeypatch)


def test_the_log_says_nothing_where_there_are_timestamps(
    emulator: EmulatorClient, context: Any, query: dict[str, Any], caplog: Any, monkeypatch: Any
) -> None:
    lines = logged(importing(**query, allow_missing_timestamp=True), context, caplog, monkeypatch)

    assert not any("no timestamp" in line for line in lines)
