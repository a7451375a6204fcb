"""Answers of FullStory over the tries of a task: faults, conflicts, and jobs that it has forgotten."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_fullstory.batch_import.batching.identity import RunIdentity
from airflow_provider_fullstory.exceptions import (
    FullStoryAmbiguousError,
    FullStoryBadRequestError,
    FullStoryError,
    FullStoryServerError,
)
from airflow_provider_fullstory.hooks.fullstory import FullStoryHook
from tests.tries import (
    QUERY,
    Clock,
    Task,
    crash,
    crash_after_all_were_sent,
    failure_of,
    make_warehouse,
    noting_job,
    numbers,
    orders,
    posts,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provider_fullstory.emulator.client import EmulatorClient

HOUR = 3600.0
UPLOADS = {"method": "POST", "path": "/v2/events/batch"}
IN_BOTH_WAYS = pytest.mark.parametrize("deferrable", [False, True], ids=["sync", "deferrable"])


pytestmark = pytest.mark.usefixtures("short_waits", "unknown_jobs_are_old")


def test_a_key_that_was_used_for_another_body_is_reported(emulator: EmulatorClient, task: Task) -> None:
    body = (
        b'{"requests":[{"name":"Order","user":{"uid":"u0"},"properties":{"number":0},'
        b'"schema":{"properties":{"number":"int"}}}]}'
    )
    key = RunIdentity("dag", "run-1", "import").idempotency_key(hashlib.sha256(body).hexdigest(), 0)
    with FullStoryHook() as hook:
        hook.create_import("events", b'{"requests":[{"name":"Other"}]}', key)

    with pytest.raises(FullStoryBadRequestError) as caught:
        task.attempt(events=orders(1))

    assert "this Idempotency-Key was used with another request body" in str(caught.value)
    assert "This was batch 1 (1 record)" in str(caught.value)
    assert len(emulator.events()) == 1


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 409},
        {"status": 429},
        {"status": 500},
        {"status": 503},
        {"status": 503, "work_done": True},
        {"reset": "before"},
        {"reset": "after"},
    ],
    ids=str,
)
def test_passing_faults_are_ridden_out_within_a_try(
    emulator: EmulatorClient, task: Task, retry_for: Callable[[float], None], fault: dict[str, Any]
) -> None:
    retry_for(30.0)
    emulator.order_fault(**UPLOADS, times=2, **fault)

    report = task.attempt(events=orders(25))

    assert numbers(emulator) == list(range(25))
    assert report["imported"] == 25
    assert len(posts(emulator)) == 5


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 409},
        {"status": 500},
        {"status": 503, "work_done": True},
        {"reset": "before"},
        {"reset": "after"},
    ],
    ids=str,
)
def test_faults_that_outlast_a_try_are_fixed_by_the_next(
    emulator: EmulatorClient, task: Task, fault: dict[str, Any]
) -> None:
    emulator.order_fault(**UPLOADS, after=1, times=10_000, **fault)
    with pytest.raises(FullStoryError) as caught:
        task.attempt(events=orders(25))
    assert caught.value.is_ambiguous
    emulator.forget_faults()

    report = task.attempt(events=orders(25))

    assert numbers(emulator) == list(range(25))
    assert report["imported"] == 25
    assert len({request["idempotency_key"] for request in posts(emulator)}) == 3


def test_an_answer_that_fullstory_keeps_repeating_is_got_past_where_that_is_allowed(
    emulator: EmulatorClient, task: Task
) -> None:
    emulator.configure(replay_server_errors=True)
    emulator.order_fault(**UPLOADS, status=500)
    for _ in range(2):
        with pytest.raises(FullStoryServerError, match="HTTP 500"):
            task.attempt(events=orders(5))
    assert numbers(emulator) == []

    report = task.attempt(events=orders(5), on_ambiguous="resend")

    assert numbers(emulator) == list(range(5))
    assert report["imported"] == 5


@IN_BOTH_WAYS
@pytest.mark.parametrize("source", ["values", "query"])
def test_jobs_that_fullstory_forgot_are_reported_and_nothing_is_sent(
    emulator: EmulatorClient, task: Task, database: Path, source: str, *, deferrable: bool
) -> None:
    make_warehouse(database, 25)
    arguments = QUERY if source == "query" else {"events": orders(25)}
    crash_after_all_were_sent(task, **arguments)
    emulator.reset()

    message = failure_of(task, FullStoryAmbiguousError, **arguments, deferrable=deferrable)

    assert posts(emulator) == []
    assert "No such job in this organization" in message
    assert 'set on_ambiguous="resend"' in message


@IN_BOTH_WAYS
@pytest.mark.parametrize("source", ["values", "query"])
def test_jobs_that_fullstory_forgot_are_sent_again_where_that_is_allowed(
    emulator: EmulatorClient, task: Task, database: Path, source: str, *, deferrable: bool
) -> None:
    make_warehouse(database, 25)
    arguments = QUERY if source == "query" else {"events": orders(25)}
    crash_after_all_were_sent(task, **arguments)
    emulator.reset()

    report = task.attempt(**arguments, deferrable=deferrable, on_ambiguous="resend")

    assert numbers(emulator) == list(range(25))
    assert (report["imported"], len(posts(emulator))) == (25, 3)
    assert sorted(report["job_ids"]) == sorted(job["id"] for job in emulator.jobs())


def test_only_the_job_that_fullstory_forgot_is_sent_again(emulator: EmulatorClient, task: Task) -> None:
    crash_after_all_were_sent(task, events=orders(30))
    vanished = task.entry(2)
    job_id = vanished["job_id"].replace("/", "%2F").replace("=", "%3D").replace("+", "%2B")
    emulator.order_fault(method="GET", path=f"/v2/events/batch/{job_id}", status=404, times=9)

    report = task.attempt(events=orders(30), on_ambiguous="resend")

    [again] = posts(emulator)[3:]
    assert again["idempotency_key"] != vanished["idempotency_key"]
    assert len(posts(emulator)) == 4
    assert report["imported"] == 30
    assert numbers(emulator) == sorted([*range(30), *range(10, 20)])


def test_halves_that_fullstory_forgot_are_sent_again_where_that_is_allowed(
    emulator: EmulatorClient, task: Task
) -> None:
    emulator.configure(max_body_bytes=400)
    crash_after_all_were_sent(task, events=orders(25))
    emulator.reset()
    emulator.configure(max_body_bytes=400)

    report = task.attempt(events=orders(25), on_ambiguous="resend")

    assert numbers(emulator) == list(range(25))
    assert report["imported"] == 25


# Time passes.


def test_a_batch_whose_day_ends_while_it_waits_for_capacity_is_not_sent_twice(
    emulator: EmulatorClient, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    emulator.configure(processing_seconds=25 * HOUR)
    arguments = {"events": orders(20), "max_parallel_uploads": 1, "max_outstanding_records": 20}
    crash(task, noting_job(2), **arguments)
    clock.now += 23 * HOUR
    poll = FullStoryHook.get_job_status

    def poll_three_hours_later(hook: FullStoryHook, resource: str, job_id: str) -> Any:
        clock.now += 3 * HOUR
        return poll(hook, resource, job_id)

    monkeypatch.setattr(FullStoryHook, "get_job_status", poll_three_hours_later)
    # The first batch is still being processed, and there is capacity for one.
    with suppress(AirflowFailException):
        task.attempt(**arguments | {"max_outstanding_records": 10}, wait_for_completion=False)

    assert numbers(emulator) == list(range(20))
