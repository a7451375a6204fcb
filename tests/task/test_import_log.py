"""What the log says before an import is sent: the start, the mapping, and what earlier tries sent."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import run
from tests.tries import (
    QUERY,
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

from tests.logs import START, Log, importing


@pytest.mark.parametrize("deferrable", [True, False])
def test_the_start_is_logged_once_with_all_that_decides(
    emulator: EmulatorClient, context: Any, database: Path, log: Log, *, deferrable: bool
) -> None:
    make_warehouse(database, 25)
    emulator.configure(processing_seconds=0.3)

    run(importing(**QUERY, deferrable=deferrable, max_batch_bytes=1_500_000), context)

    logged = [line for line in log.lines if "cannot be called outside" not in line]
    assert logged[:8] == [
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
    assert all(len(line) <= 100 for line in logged)


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

    assert log.having(START) == [f"{START}3 records that the task was given"]
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

    logged = log.lines
    start = logged.index("Earlier tries: 2 batches with 20 records were accepted and are not sent again.")
    sent = next(number for number, line in enumerate(logged) if line.startswith("All is sent"))
    assert start < sent
    assert re.fullmatch(
        r"All is sent: 3 batches with 25 records in this try \(0\.0 MB, [\d,]+ records a second\)\.",
        logged[sent],
    )
    assert logged[sent + 1 : sent + 4] == [
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
