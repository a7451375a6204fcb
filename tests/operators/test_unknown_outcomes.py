"""Batches of unknown outcome, and what is sent again where that is allowed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_fullstory.exceptions import (
    FullStoryAmbiguousError,
    FullStoryError,
    FullStoryRecordsRefusedError,
    FullStorySourceChangedError,
    FullStoryTransportError,
)
from tests.tries import (
    DAY,
    REFUSED_BY_FULLSTORY,
    Clock,
    Task,
    clear_later,
    creating_imports,
    failure_of,
    numbers,
    orders,
    posts,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provider_fullstory.emulator.client import EmulatorClient

UPLOADS = {"method": "POST", "path": "/v2/events/batch"}
WITH_A_LEDGER = pytest.mark.parametrize("task", ["store", "state", "folder"], indirect=True)


pytestmark = pytest.mark.usefixtures("short_waits")


@WITH_A_LEDGER
def test_an_answer_that_was_lost_before_server_errors_is_not_sent_under_another_key(
    emulator: EmulatorClient, task: Task
) -> None:
    emulator.order_fault(**UPLOADS, reset="after")
    emulator.order_fault(**UPLOADS, status=503, times=500)
    with pytest.raises(FullStoryError):
        task.attempt(events=orders(5))
    emulator.forget_faults()

    assert task.attempt(events=orders(5))["imported"] == 5
    assert numbers(emulator) == list(range(5))


@WITH_A_LEDGER
def test_a_job_that_ended_without_counts_is_an_unknown_outcome(emulator: EmulatorClient, task: Task) -> None:
    def create(really: Callable[[], Any], body: bytes) -> Any:
        emulator.configure(fail_jobs=not emulator.jobs())
        return really()

    with creating_imports(create):
        message = failure_of(task, FullStoryAmbiguousError, events=orders(20), max_parallel_uploads=1)

    lost, other = emulator.jobs()
    assert "whether FullStory has their records.\nLook for these records in FullStory" in message
    assert f"\n10 records of the other jobs are in FullStory.\nJobs without counts: {lost['id']}." in message
    assert other["id"] not in message
    assert 'on_ambiguous="resend"' in message
    report = task.attempt(events=orders(20), on_ambiguous="resend")
    assert (report["records"], report["imported"], report["batches"]) == (20, 20, 2)
    assert numbers(emulator) == list(range(20))
    assert len(posts(emulator)) == 3


@WITH_A_LEDGER
def test_nothing_is_posted_before_a_change_of_the_source_is_found(
    emulator: EmulatorClient, task: Task
) -> None:
    def create(really: Callable[[], Any], body: bytes) -> Any:
        # The first batch gets no answer, while the second is taken.
        while b'"number":0}' in bytes(body) and not emulator.jobs():
            pass
        if b'"number":0}' in bytes(body):
            raise FullStoryTransportError("No answer.")
        return really()

    with creating_imports(create), pytest.raises(FullStoryTransportError):
        task.attempt(events=orders(20), max_parallel_uploads=2)
    assert numbers(emulator) == list(range(10, 20))

    failure_of(task, FullStorySourceChangedError, events=[*orders(10), *orders(10, 100)])

    assert len(posts(emulator)) == 1
    assert task.attempt(events=orders(20))["imported"] == 20
    assert numbers(emulator) == list(range(20))


@WITH_A_LEDGER
def test_one_lost_answer_before_an_outage_is_replayed_whatever_is_allowed(
    emulator: EmulatorClient, task: Task
) -> None:
    emulator.order_fault(**UPLOADS, reset="after")
    emulator.order_fault(**UPLOADS, status=503, times=500)
    with pytest.raises(FullStoryError):
        task.attempt(events=orders(5), on_ambiguous="resend")
    emulator.forget_faults()

    assert task.attempt(events=orders(5), on_ambiguous="resend")["imported"] == 5
    assert numbers(emulator) == list(range(5))


@WITH_A_LEDGER
def test_a_red_task_is_checked_again_where_unknown_outcomes_are_sent_again(
    emulator: EmulatorClient, task: Task, clock: Clock, tmp_path: Path
) -> None:
    file = tmp_path / "orders.jsonl"
    file.write_text("\n".join(map(json.dumps, [*orders(19), REFUSED_BY_FULLSTORY])))
    given = {"events": f"file://{file}", "on_ambiguous": "resend"}
    failure_of(task, FullStoryRecordsRefusedError, **given)
    clear_later(task, clock, 3 * DAY)
    file.unlink()

    assert task.attempt(**given, max_rejected=1)["imported"] == 19
