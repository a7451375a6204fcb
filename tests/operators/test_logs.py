"""What the log says of an import: its jobs, the closing table, and never a value or a key."""

from __future__ import annotations

import json
import logging
import re
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_fullstory.batch_import.sending import importer as importers
from airflow_provider_fullstory.hooks.fullstory import FullStoryAsyncHook, FullStoryHook
from airflow_provider_fullstory.sensors.fullstory import FullStoryImportJobSensor
from tests.conftest import run
from tests.tries import (
    QUERY,
    REFUSED_BY_FULLSTORY,
    REFUSED_HERE,
    Breaking,
    Crash,
    Task,
    make_warehouse,
    noting_stage,
    orders,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provider_fullstory.emulator.client import EmulatorClient

from tests.logs import FINISHED, MIXED, PROGRESS, PROGRESS_LINE, SECRET, START, Log, importing

# Jobs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("processing_seconds", [0, 0.3])
@pytest.mark.parametrize("deferrable", [True, False])
def test_each_job_is_logged_once(
    emulator: EmulatorClient, context: Any, log: Log, *, processing_seconds: float, deferrable: bool
) -> None:
    emulator.configure(processing_seconds=processing_seconds)

    report = run(importing(events=orders(95), deferrable=deferrable), context)

    assert sorted(log.finished) == sorted(report["job_ids"])
    numbers = [
        (int(match["number"]), int(match["jobs"])) for line in log.lines if (match := FINISHED.search(line))
    ]
    assert numbers == [(n, 10) for n in range(1, 11)]


def test_each_job_is_logged_once_where_some_are_finished_before_the_deferral(
    emulator: EmulatorClient, context: Any, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One after the other: the first is finished when the task polls, the others when the trigger does.
    emulator.configure(processing_seconds=100, concurrent_batches=1)
    monkeypatch.setattr(FullStoryHook, "get_job_status", advancing(emulator, 100, FullStoryHook))
    monkeypatch.setattr(FullStoryAsyncHook, "get_job_status", advancing(emulator, 300, FullStoryAsyncHook))

    report = run(importing(events=orders(30), deferrable=True, max_parallel_uploads=1), context)

    assert sorted(log.finished) == sorted(report["job_ids"])


def advancing(emulator: EmulatorClient, seconds: float, hook: type) -> Any:
    """Let time pass before the first poll of a job."""
    original, is_first = hook.get_job_status, [True]

    def get_job_status(self: Any, *arguments: Any) -> Any:
        if is_first:
            is_first.clear()
            emulator.advance_clock(seconds)
        return original(self, *arguments)

    return get_job_status


def test_each_job_is_logged_once_where_the_task_waited_for_capacity(
    emulator: EmulatorClient, context: Any, log: Log
) -> None:
    emulator.configure(processing_seconds=0.05)

    report = run(importing(events=orders(60), max_outstanding_records=20), context)

    assert sorted(log.finished) == sorted(report["job_ids"])


def test_each_job_of_halves_is_logged_once(emulator: EmulatorClient, context: Any, log: Log) -> None:
    emulator.configure(max_body_bytes=1000)

    report = run(importing(events=orders(50), batch_size=50), context)

    assert len(report["job_ids"]) > 2
    assert sorted(log.finished) == sorted(report["job_ids"])


def test_a_sensor_tells_each_job_once(emulator: EmulatorClient, context: Any, log: Log) -> None:
    emulator.configure(processing_seconds=0.2)
    submitted = importing(events=orders(25), wait_for_completion=False).execute(context)
    assert log.finished == []

    run(
        FullStoryImportJobSensor(task_id="wait", job_ids=submitted, deferrable=True, poke_interval=0.01),
        context,
    )

    assert sorted(log.finished) == sorted(submitted["job_ids"])


# The end --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("deferrable", [True, False])
def test_the_closing_table_has_the_numbers_of_the_report(
    emulator: EmulatorClient, context: Any, log: Log, *, deferrable: bool
) -> None:
    emulator.configure(processing_seconds=0.2)

    report = run(importing(events=MIXED, max_rejected=3, deferrable=deferrable), context)

    assert log.table == {
        "records": 26,
        "imported": 23,
        "invalid": 1,
        "rejected": 2,
        "batches": 3,
        "user_not_found": 2,
        "required_field": 1,
        "undated": 25,
    }
    assert report["codes"] == {"required_field": 1, "user_not_found": 2}
    assert len(log.having("Import of events finished")) == 1
    assert len(log.having("3 records are not in FullStory")) == 1


def test_the_table_comes_before_the_verdict(emulator: EmulatorClient, context: Any, log: Log) -> None:
    with pytest.raises(AirflowFailException):
        run(importing(events=MIXED), context)
    assert log.table["imported"] == 23


def test_the_table_names_the_file(emulator: EmulatorClient, context: Any, tmp_path: Path, log: Log) -> None:
    run(importing(events=MIXED, max_rejected=3, rejected_uri=f"file://{tmp_path}/refused.jsonl"), context)
    [line] = log.having("  refused records are in ")
    assert line.endswith("refused.jsonl")


def test_large_numbers_are_read_easily() -> None:
    from airflow_provider_fullstory.batch_import.reporting.report import ImportReport

    report = ImportReport(
        "events", records=1_234_567, imported=1_234_560, rejected=7, job_ids=["a"] * 25, batches=25
    )
    assert any("1,234,567" in line for line in report.lines())


@pytest.mark.parametrize("kept", ["store", "folder"])
def test_the_span_of_timestamps_is_known_to_a_try_that_reads_no_source(
    emulator: EmulatorClient, make_task: Callable[..., Task], database: Path, log: Log, kept: str
) -> None:
    make_warehouse(database, 25)
    moment = "CASE WHEN number = 3 THEN NULL ELSE (2001 + number) || '-01-02T03:04:05Z' END"
    sql = QUERY["sql"].replace("SELECT number,", f"SELECT number, {moment} AS timestamp,")
    task = make_task(kept, **(QUERY | {"sql": sql}), allow_missing_timestamp=True)
    with pytest.raises(Crash):
        task.attempt(breaking=Breaking(matches=noting_stage("succeeded")))
    log.lines.clear()

    report = task.attempt()

    assert log.having(START) == []
    assert (report["earliest"], report["latest"]) == (
        "2001-01-02T03:04:05+00:00",
        "2025-01-02T03:04:05+00:00",
    )
    assert report["without_timestamp"] == 1
    assert log.having("earliest") == ["  earliest timestamp  2001-01-02T03:04:05+00:00"]
    assert log.having("latest") == ["  latest timestamp    2025-01-02T03:04:05+00:00"]
    assert log.table["undated"] == 1


# Progress -------------------------------------------------------------------------------------------------


def test_progress_is_logged_while_batches_are_sent(
    emulator: EmulatorClient, context: Any, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importers, "_SECONDS_BETWEEN_PROGRESS", 0.0)

    run(importing(events=orders(95)), context)

    logged = [line for line in log.having(PROGRESS) if line.startswith(PROGRESS)]
    assert len(logged) >= 6
    matches = [PROGRESS_LINE.match(line) for line in logged]
    assert all(matches)
    counts = [int(match["records"]) for match in matches if match]
    assert counts == sorted(counts)
    assert counts[-1] <= 95
    assert not any(re.search(r"\b(0 \w+ in flight|1 (batches|records|jobs)\b)", line) for line in logged)


def test_progress_is_not_logged_for_each_batch(emulator: EmulatorClient, context: Any, log: Log) -> None:
    run(importing(events=orders(300)), context)

    assert [line for line in log.having(PROGRESS) if line.startswith(PROGRESS)] == []
    [line] = log.having("All is sent")
    assert line.startswith("All is sent: 30 batches with 300 records in this try (")
    # Start, quota, the end of sending, a line for each job, and the table.
    assert len(log.lines) <= 10 + 30 + 10


# Secrets --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("deferrable", [True, False])
@pytest.mark.parametrize("with_file", [True, False])
def test_no_value_and_no_key_is_in_the_log(
    emulator: EmulatorClient,
    context: Any,
    tmp_path: Path,
    *,
    log: Log,
    capfd: Any,
    caplog: Any,
    deferrable: bool,
    with_file: bool,
) -> None:
    emulator.configure(processing_seconds=0.2)
    emulator.order_rejection(
        "properties.bad", code="user_not_found", message=f"no user {SECRET}-uid with plan {SECRET.upper()}"
    )
    good = {"name": f"{SECRET}-name", "user.uid": f"{SECRET}-uid", "note": f"{SECRET} note"}
    events = [
        *[good] * 12,
        good | {"bad": SECRET},
        good | {"bad": {"deep": [SECRET]}},
        good | {"x": SECRET.encode()},
        good | {"x": [SECRET, 1]},
        good | {"timestamp": SECRET},
        good | {"context.location.country": SECRET},
        good | {"session.id": SECRET},
        good | {"user": SECRET},
        SECRET,
        [SECRET],
        good | {"name": None},
    ]
    file = {"rejected_uri": f"file://{tmp_path}/refused.jsonl"} if with_file else {}

    with caplog.at_level(logging.DEBUG), pytest.raises(AirflowFailException) as caught:
        run(importing(events=events, deferrable=deferrable, **file), context)

    output = capfd.readouterr()
    xcoms = json.dumps(context["ti"].xcoms)
    logged = "\n".join([str(log), caplog.text, output.out, output.err, str(caught.value), xcoms])
    assert "Not sent: record" in logged
    assert SECRET not in logged
    assert SECRET.upper() not in logged
    assert not any(key in logged for key in emulator.keys)


def test_what_is_shared_is_not_in_the_log(emulator: EmulatorClient, context: Any, log: Log) -> None:
    emulator.order_rejection("properties.number", [3], message=f"user {SECRET} is not known")
    shared = {"user": {"uid": SECRET}}
    events = [{"name": "A", "number": number} for number in range(5)]

    with pytest.raises(AirflowFailException):
        run(importing(events=events, shared=shared), context)

    assert SECRET not in str(log)


def test_a_key_of_a_record_is_logged_where_it_is_asked_for(
    emulator: EmulatorClient, context: Any, log: Log
) -> None:
    with pytest.raises(AirflowFailException):
        run(importing(events=MIXED, record_key=["number"]), context)

    assert len(log.having("(number=-2)")) == 1
    assert len(log.having("(number=-1)")) == 2


def test_five_records_of_each_kind_are_explained(emulator: EmulatorClient, context: Any, log: Log) -> None:
    events = [*[REFUSED_HERE] * 12, *orders(3), *[REFUSED_BY_FULLSTORY] * 12]

    run(importing(events=events, max_rejected=24), context)

    assert len(log.having("Not sent: record")) == 5
    assert len(log.having("Rejected by FullStory: a record")) == 5


def test_values_are_shown_where_they_are_asked_for(emulator: EmulatorClient, context: Any, log: Log) -> None:
    events = [REFUSED_HERE | {"note": SECRET}, REFUSED_BY_FULLSTORY | {"note": SECRET}]
    run(importing(events=events, max_rejected=2, log_values=True), context)
    assert len(log.having(SECRET)) == 2
