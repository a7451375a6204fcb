"""What is told while an import runs: the log, the report in XCom, and Airflow's metrics."""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred

from airflow_provider_fullstory.batch_import.sending import importer as importers
from airflow_provider_fullstory.hooks.fullstory import FullStoryAsyncHook, FullStoryHook
from airflow_provider_fullstory.operators.fullstory import FullStoryImportEventsOperator
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
    noting_job,
    noting_stage,
    orders,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provider_fullstory.emulator.client import EmulatorClient

SECRET = "Zq7secret"
START = "Importing events from "
FINISHED = re.compile(
    r"Job (?P<number>\d+) of (?P<jobs>\d+) is finished: \d+ imported, \d+ rejected \((?P<id>\S+)\)\.$"
)
PROGRESS = "Sent: "
PROGRESS_LINE = re.compile(
    r"Sent: \d+ batch(es)? with (?P<records>\d+) records? \(\d+\.\d MB, [\d,]+ records a second\)"
    r"(, \d+ batch(es)? under way)?(, \d+ jobs? not known to be finished)?\.$"
)


def importing(**arguments: Any) -> FullStoryImportEventsOperator:
    given = {"task_id": "import", "poll_interval": 0.01, "batch_size": 10, **arguments}
    return FullStoryImportEventsOperator(**given)


class Log:
    """All lines that the package logs, whichever way Airflow carries them."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __str__(self) -> str:
        return "\n".join(self.lines)

    def having(self, text: str) -> list[str]:
        return [line for line in self.lines if text in line]

    @property
    def finished(self) -> list[str]:
        """The ids of jobs, as often as they are said to be finished."""
        return [match["id"] for line in self.lines if (match := FINISHED.search(line))]

    @property
    def table(self) -> dict[str, int]:
        """The numbers of the closing table."""
        start = next(n for n, line in enumerate(self.lines) if re.match("Import of events finished", line))
        rows = (line.split() for line in self.lines[start + 1 :] if line.startswith("  "))
        return {
            (row[2].strip(",:") if row[0] == "reason" else row[0]): int(row[1].replace(",", ""))
            for row in rows
            if len(row) > 1 and row[1].replace(",", "").isdigit()
        }


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    """Give the log of the package; where operators log through structlog, that too."""
    log = Log()

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            log.lines.append(record.getMessage())

    package = logging.getLogger("airflow_provider_fullstory")
    handler = Handler()
    package.addHandler(handler)
    before = package.level
    package.setLevel(logging.DEBUG)

    from airflow.providers.common.compat.sdk import BaseOperator
    from airflow.triggers.base import BaseTrigger

    logger = logging.getLogger("airflow_provider_fullstory.test")
    for kind in (BaseOperator, BaseTrigger, FullStoryHook):
        monkeypatch.setattr(kind, "log", property(lambda _: logger), raising=False)
    yield log
    package.removeHandler(handler)
    package.setLevel(before)


class FakeStats:
    """Airflow's Stats, with what it was told."""

    def __init__(self) -> None:
        self.counts: list[tuple[str, Any, Any]] = []
        self.times: list[tuple[str, Any, Any]] = []

    def total(self, name: str) -> int:
        return sum(count for key, count, _ in self.counts if key == f"fullstory.{name}")

    @property
    def totals(self) -> dict[str, int]:
        return {name.removeprefix("fullstory."): self.total(name[10:]) for name, *_ in self.counts}


@pytest.fixture
def stats(monkeypatch: pytest.MonkeyPatch) -> FakeStats:
    from airflow.providers.common.compat.sdk import Stats

    fake = FakeStats()

    def incr(stat: str, count: int = 1, rate: float = 1, *, tags: Any = None) -> None:
        if stat.startswith("fullstory"):
            fake.counts.append((stat, count, tags))

    def timing(stat: str, dt: Any, *, tags: Any = None) -> None:
        if stat.startswith("fullstory"):
            fake.times.append((stat, dt, tags))

    monkeypatch.setattr(Stats, "incr", incr)
    monkeypatch.setattr(Stats, "timing", timing)
    return fake


def resume(operator: Any, context: Any, deferral: TaskDeferred) -> Any:
    """Go on after a deferral, with nothing but what Airflow stores."""
    path, arguments = deferral.trigger.serialize()
    module, _, name = path.rpartition(".")
    trigger = getattr(importlib.import_module(module), name)(**json.loads(json.dumps(arguments)))
    event = json.loads(json.dumps(asyncio.run(anext(trigger.run())).payload))
    return getattr(operator, deferral.method_name)(context, event=event)


MIXED = [*orders(23), REFUSED_HERE, REFUSED_BY_FULLSTORY, REFUSED_BY_FULLSTORY]


# The start ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("deferrable", [True, False])
def test_the_start_is_told_once_with_all_that_decides(
    emulator: EmulatorClient, context: Any, database: Path, log: Log, *, deferrable: bool
) -> None:
    make_warehouse(database, 25)
    emulator.configure(processing_seconds=0.3)

    run(importing(**QUERY, deferrable=deferrable, max_batch_bytes=1_500_000), context)

    told = [line for line in log.lines if "cannot be called outside" not in line]
    assert told[:8] == [
        "Importing events from the query on 'warehouse'",
        f"into {emulator.url}, organization EMULATOR (API key of level Architect).",
        "State: no ledger, since state_uri is not set and Airflow has a task state store from 3.3 on only.",
        "Idempotency keys alone keep a retry from sending a batch twice, for 24 hours.",
        "Limits: 10 records or 1.5 MB a batch, 4 uploads at once, 500,000 records unfinished.",
        "Mapping of 2 columns:",
        "  number -> properties.number",
        "  user.uid -> user.uid",
    ]
    assert len(log.having(START)) == 1
    assert all(len(line) <= 100 for line in told)


@pytest.mark.parametrize(
    ("kept", "words"),
    [
        ("store", "a ledger in Airflow's task state store."),
        ("state", "a ledger in file://"),
        ("both", "a ledger in file://"),
    ],
)
def test_the_start_tells_the_protection(
    emulator: EmulatorClient, make_task: Callable[..., Task], log: Log, kept: str, words: str
) -> None:
    make_task(kept, events=orders(3)).attempt()

    assert log.having(START) == [f"{START}<3 records>"]
    [line] = log.having("State: ")
    assert line.startswith(f"State: {words}")


def test_the_start_tells_the_file(emulator: EmulatorClient, context: Any, tmp_path: Path, log: Log) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text(json.dumps(orders(1)[0]))
    run(importing(events=f"file://{file}"), context)
    [line] = log.having(START)
    assert f"file://{file}" in line


@pytest.mark.parametrize("kept", ["store", "folder", "both"])
def test_each_try_tells_its_start_once_and_where_it_goes_on(
    emulator: EmulatorClient, make_task: Callable[..., Task], database: Path, log: Log, kept: str
) -> None:
    make_warehouse(database, 25)
    task = make_task(kept, **QUERY)
    with pytest.raises(Crash):
        task.attempt(breaking=Breaking(matches=noting_job(2)))
    assert len(log.having(START)) == 1
    log.lines.clear()

    task.attempt()

    assert len(log.having(START)) == 1
    assert log.table == {
        "records": 25, "imported": 25, "invalid": 0, "rejected": 0, "batches": 3, "undated": 25
    }  # fmt: skip


def test_a_try_that_sends_nothing_tells_so(
    emulator: EmulatorClient, make_task: Callable[..., Task], database: Path, log: Log
) -> None:
    make_warehouse(database, 25)
    task = make_task("store", **QUERY)
    with pytest.raises(Crash):
        task.attempt(breaking=Breaking(matches=noting_stage("succeeded")))
    log.lines.clear()

    task.attempt()

    assert log.having(START) == []
    assert (
        len(log.having("Earlier tries have sent all 3 batches with 25 records: nothing is sent again")) == 1
    )
    assert sorted(log.finished) == sorted(job["id"] for job in emulator.jobs())


def test_a_cleared_import_whose_counts_are_known_shows_them_and_waits_for_nothing(
    emulator: EmulatorClient, make_task: Callable[..., Task], database: Path, log: Log
) -> None:
    make_warehouse(database, 25)
    task = make_task("store", **QUERY)
    task.attempt()
    log.lines.clear()
    task.clear()

    task.attempt()

    assert log.having("Waiting for") == []
    assert "  imported            25  in FullStory" in log.lines


def test_a_retry_says_what_earlier_tries_have_sent_and_what_it_sends_and_waits_for(
    emulator: EmulatorClient, make_task: Callable[..., Task], database: Path, log: Log
) -> None:
    make_warehouse(database, 45)
    task = make_task("store", **QUERY, max_parallel_uploads=1)
    with pytest.raises(Crash):
        task.attempt(breaking=Breaking(matches=noting_job(3)))
    log.lines.clear()

    task.attempt()

    told = log.lines
    start = told.index("Earlier tries: 2 batches with 20 records were accepted and are not sent again.")
    sent = next(number for number, line in enumerate(told) if line.startswith("All is sent"))
    assert start < sent
    assert re.fullmatch(
        r"All is sent: 3 batches with 25 records in this try \(0\.0 MB, [\d,]+ records a second\)\.",
        told[sent],
    )
    assert told[sent + 1 : sent + 4] == [
        "Of these, 1 batch with 10 records under their old keys: FullStory takes none twice.",
        "By earlier tries, 2 batches with 20 records were accepted and are not sent again.",
        "Waiting for 5 jobs.",
    ]


def test_a_mapping_of_many_columns_is_cut(
    emulator: EmulatorClient, context: Any, database: Path, log: Log
) -> None:
    make_warehouse(database, 1)
    columns = ", ".join(f"{n} AS c{n}" for n in range(60))
    run(importing(**(QUERY | {"sql": f"SELECT {columns}, 'u' AS \"user.uid\" FROM orders"})), context)

    assert "Mapping of 61 columns:" in log.lines
    assert len(log.having(" -> ")) == 50
    assert "  and 11 more columns" in log.lines


# Jobs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("processing_seconds", [0, 0.3])
@pytest.mark.parametrize("deferrable", [True, False])
def test_each_job_is_told_once(
    emulator: EmulatorClient, context: Any, log: Log, *, processing_seconds: float, deferrable: bool
) -> None:
    emulator.configure(processing_seconds=processing_seconds)

    report = run(importing(events=orders(95), deferrable=deferrable), context)

    assert sorted(log.finished) == sorted(report["job_ids"])
    numbers = [
        (int(match["number"]), int(match["jobs"])) for line in log.lines if (match := FINISHED.search(line))
    ]
    assert numbers == [(n, 10) for n in range(1, 11)]


def test_each_job_is_told_once_where_some_are_finished_before_the_deferral(
    emulator: EmulatorClient, context: Any, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One after the other: the first is finished when the task looks, the others once the trigger does.
    emulator.configure(processing_seconds=100, concurrent_batches=1)
    monkeypatch.setattr(FullStoryHook, "get_job_status", advancing(emulator, 100, FullStoryHook))
    monkeypatch.setattr(FullStoryAsyncHook, "get_job_status", advancing(emulator, 300, FullStoryAsyncHook))

    report = run(importing(events=orders(30), deferrable=True, max_parallel_uploads=1), context)

    assert sorted(log.finished) == sorted(report["job_ids"])


def advancing(emulator: EmulatorClient, seconds: float, hook: type) -> Any:
    """Let time pass before a job is looked at for the first time."""
    original, is_first = hook.get_job_status, [True]

    def get_job_status(self: Any, *arguments: Any) -> Any:
        if is_first:
            is_first.clear()
            emulator.advance_clock(seconds)
        return original(self, *arguments)

    return get_job_status


def test_each_job_is_told_once_where_the_task_waited_for_room(
    emulator: EmulatorClient, context: Any, log: Log
) -> None:
    emulator.configure(processing_seconds=0.05)

    report = run(importing(events=orders(60), max_outstanding_records=20), context)

    assert sorted(log.finished) == sorted(report["job_ids"])


def test_each_job_of_halves_is_told_once(emulator: EmulatorClient, context: Any, log: Log) -> None:
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

    report = ImportReport(records=1_234_567, imported=1_234_560, rejected=7, job_ids=["a"] * 25, batches=25)
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


def test_progress_is_told_while_batches_are_sent(
    emulator: EmulatorClient, context: Any, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importers, "_SECONDS_BETWEEN_PROGRESS", 0.0)

    run(importing(events=orders(95)), context)

    told = [line for line in log.having(PROGRESS) if line.startswith(PROGRESS)]
    assert len(told) >= 6
    matches = [PROGRESS_LINE.match(line) for line in told]
    assert all(matches)
    counts = [int(match["records"]) for match in matches if match]
    assert counts == sorted(counts)
    assert counts[-1] <= 95
    assert not any(re.search(r"\b(0 \w+ under way|1 (batches|records|jobs)\b)", line) for line in told)


def test_progress_is_not_told_of_each_batch(emulator: EmulatorClient, context: Any, log: Log) -> None:
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
    told = "\n".join([str(log), caplog.text, output.out, output.err, str(caught.value), xcoms])
    assert "Not sent: record" in told
    assert SECRET not in told
    assert SECRET.upper() not in told
    assert not any(key in told for key in emulator.keys)


def test_what_is_shared_is_not_in_the_log(emulator: EmulatorClient, context: Any, log: Log) -> None:
    emulator.order_rejection("properties.number", [3], message=f"user {SECRET} is not known")
    shared = {"user": {"uid": SECRET}}
    events = [{"name": "A", "number": number} for number in range(5)]

    with pytest.raises(AirflowFailException):
        run(importing(events=events, shared=shared), context)

    assert SECRET not in str(log)


def test_a_key_of_a_record_is_told_where_it_is_asked_for(
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


# XCom -----------------------------------------------------------------------------------------------------


def test_the_report_is_there_before_the_task_waits(
    emulator: EmulatorClient, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    original = FullStoryHook.get_job_status

    def get_job_status(hook: Any, *arguments: Any) -> Any:
        seen.append(json.loads(json.dumps(context["ti"].xcoms)))
        return original(hook, *arguments)

    monkeypatch.setattr(FullStoryHook, "get_job_status", get_job_status)
    report = importing(events=MIXED, max_rejected=3).execute(context)

    assert seen[0]["return_value"]["job_ids"] == report["job_ids"]
    assert (seen[0]["return_value"]["records"], seen[0]["return_value"]["imported"]) == (26, None)


@pytest.mark.parametrize("processing_seconds", [0, 3600])
def test_the_report_is_there_before_the_task_defers(
    emulator: EmulatorClient, context: Any, *, processing_seconds: float
) -> None:
    emulator.configure(processing_seconds=processing_seconds)
    try:
        importing(events=orders(25), deferrable=True).execute(context)
    except TaskDeferred:
        assert processing_seconds
    assert len(context["ti"].xcoms["return_value"]["job_ids"]) == 3


def test_the_report_is_there_though_the_wait_fails(emulator: EmulatorClient, context: Any) -> None:
    emulator.configure(processing_seconds=3600)
    with pytest.raises(Exception, match="did not finish"):
        run(importing(events=orders(25), timeout=0.3), context)
    job_ids = context["ti"].xcoms["return_value"]["job_ids"]
    assert sorted(job_ids) == sorted(job["id"] for job in emulator.jobs())


def test_no_report_is_pushed_where_none_is_wanted(emulator: EmulatorClient, context: Any) -> None:
    run(importing(events=orders(25), do_xcom_push=False), context)
    with pytest.raises(AirflowFailException):
        run(importing(events=MIXED, do_xcom_push=False), context)
    assert context["ti"].xcoms == {}


# Metrics --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("deferrable", [True, False])
def test_metrics_have_the_numbers_of_the_report(
    emulator: EmulatorClient, context: Any, stats: FakeStats, *, deferrable: bool
) -> None:
    emulator.configure(processing_seconds=0.3)

    with pytest.raises(AirflowFailException):
        run(importing(events=MIXED, deferrable=deferrable), context)

    assert stats.totals == {
        "records.imported": 23,
        "records.invalid": 1,
        "records.rejected": 2,
        "batches": 3,
        "retries": 0,
    }
    [(name, waited, tags)] = stats.times
    assert name == "fullstory.waited"
    assert isinstance(waited, timedelta)
    assert timedelta(seconds=0.2) < waited < timedelta(seconds=60)
    assert all(told == tags for *_, told in stats.counts)
    assert set(tags) == {"dag_id", "task_id"}
    assert tags["task_id"] == "import"


@pytest.mark.parametrize("deferrable", [True, False])
def test_retries_are_counted_wherever_they_were(
    emulator: EmulatorClient, context: Any, stats: FakeStats, *, deferrable: bool
) -> None:
    emulator.configure(processing_seconds=0.3)
    emulator.order_fault(method="POST", status=503, headers={"Retry-After": "0.01"}, times=2)

    run(importing(events=orders(25), deferrable=deferrable), context)

    assert stats.total("retries") == 2


def test_an_import_that_is_not_waited_for_is_counted_by_its_sensor_once(
    emulator: EmulatorClient, context: Any, stats: FakeStats
) -> None:
    submitted = importing(events=orders(25), wait_for_completion=False).execute(context)
    assert stats.counts == []

    run(FullStoryImportJobSensor(task_id="wait", job_ids=submitted, poke_interval=0.01), context)

    assert stats.total("records.imported") == 25
    assert {tags["task_id"] for *_, tags in stats.counts} == {"wait"}


def test_an_import_that_ended_is_counted_once_though_its_task_runs_again(
    emulator: EmulatorClient, make_task: Callable[..., Task], database: Path, stats: FakeStats
) -> None:
    make_warehouse(database, 25)
    task = make_task("store", **QUERY)
    # The task dies after it has told its end, before Airflow knows.
    task.attempt()
    assert task.attempt()["imported"] == 25

    assert stats.total("records.imported") == 25
    assert stats.total("batches") == 3


def test_an_empty_import_counts_nothing(emulator: EmulatorClient, context: Any, stats: FakeStats) -> None:
    run(importing(events=[]), context)
    assert set(stats.totals.values()) <= {0}


def test_an_import_that_fails_midway_is_not_counted(
    emulator: EmulatorClient, context: Any, stats: FakeStats
) -> None:
    emulator.configure(processing_seconds=3600)
    with pytest.raises(Exception, match="did not finish"):
        run(importing(events=orders(25), timeout=0.3), context)
    assert stats.counts == []
