"""How the trigger waits."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest

from airflow_provider_fullstory.api import protocol
from airflow_provider_fullstory.batch_import.waiting import JobWatch
from airflow_provider_fullstory.exceptions import FullStoryNotFoundError, FullStoryTimeoutError
from airflow_provider_fullstory.hooks.fullstory import FullStoryHook
from airflow_provider_fullstory.triggers.fullstory import FullStoryImportJobTrigger, outcomes_of

if TYPE_CHECKING:
    from airflow_provider_fullstory.emulator.client import EmulatorClient


def watching(job_ids: list[str], **arguments: Any) -> FullStoryImportJobTrigger:
    now = time.time()
    return FullStoryImportJobTrigger(
        **{"job_ids": job_ids, "started_at": now, "deadline": now + 60, "poll_interval": 0.01, **arguments}
    )


def event_of(trigger: FullStoryImportJobTrigger) -> dict[str, Any]:
    payload: dict[str, Any] = asyncio.run(anext(trigger.run())).payload
    return payload


def submit(count: int) -> list[str]:
    body = json.dumps({"requests": [{"name": "A", "user": {"uid": "u"}}]}).encode()
    with FullStoryHook() as hook:
        return [hook.create_import("events", body, f"key-{number}").id for number in range(count)]


def polls(emulator: EmulatorClient) -> list[dict[str, Any]]:
    return [request for request in emulator.requests() if request["method"] == "GET"]


def test_what_is_stored_makes_an_equal_trigger() -> None:
    path, arguments = watching(["a"], report={"records": 1}).serialize()
    assert path == "airflow_provider_fullstory.triggers.fullstory.FullStoryImportJobTrigger"
    again = FullStoryImportJobTrigger(**json.loads(json.dumps(arguments)))
    assert again.serialize() == (path, arguments)


def test_many_jobs_are_followed_to_the_end_in_one_event(emulator: EmulatorClient) -> None:
    emulator.configure(processing_seconds=0.05)
    job_ids = submit(25)
    event = event_of(watching(job_ids, report={"records": 25}))
    assert [outcome.job_id for outcome in outcomes_of(event)] == job_ids
    assert sum(outcome.imports for outcome in outcomes_of(event)) == 25
    assert event["report"] == {"records": 25}


def test_the_event_carries_ids_and_counts_only(emulator: EmulatorClient) -> None:
    [job_id] = submit(1)
    event = event_of(watching([job_id]))
    assert event.pop("waited") > 0
    assert event == {
        "report": None,
        "outcomes": [{"job_id": job_id, "status": "COMPLETED", "imports": 1, "errors": 0}],
    }


def test_finished_jobs_are_not_asked_for_again(emulator: EmulatorClient) -> None:
    done = submit(3)
    emulator.configure(processing_seconds=0.5)
    body = b'{"requests":[{"name":"A","user":{"uid":"u"}}]}'
    with FullStoryHook() as hook:
        slow = hook.create_import("events", body, "slow").id
    before = len(polls(emulator))
    event_of(watching([*done, slow]))
    asked = [request["path"] for request in polls(emulator)[before:]]
    assert max(asked.count(path) for path in asked) > 1
    assert sum(asked.count(path) == 1 for path in set(asked)) == 3


@pytest.mark.parametrize("fault", [{"status": 503}, {"status": 429}, {"reset": "before"}], ids=str)
def test_passing_faults_are_tolerated(
    emulator: EmulatorClient, monkeypatch: pytest.MonkeyPatch, fault: dict[str, Any]
) -> None:
    monkeypatch.setattr(protocol, "FIRST_RETRY_SECONDS", 0.001)
    job_ids = submit(1)
    emulator.order_fault(method="GET", times=5, **fault)
    assert [outcome.imports for outcome in outcomes_of(event_of(watching(job_ids)))] == [1]


def test_faults_that_do_not_pass_end_the_wait(
    emulator: EmulatorClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "FIRST_RETRY_SECONDS", 0.0)
    job_ids = submit(1)
    emulator.order_fault(method="GET", times=1000, status=503)
    event = event_of(watching(job_ids, poll_interval=0.0))
    assert event["error"] == "FullStoryServerError"
    assert "20 looks in a row failed" in event["message"]
    assert job_ids[0] in event["message"]


def test_an_unknown_job_ends_the_wait_at_once(emulator: EmulatorClient) -> None:
    with pytest.raises(FullStoryNotFoundError, match="'gone'"):
        outcomes_of(event_of(watching(["gone"])))
    assert len(polls(emulator)) == 1


def test_the_deadline_is_a_time_of_day_that_a_restart_does_not_move(emulator: EmulatorClient) -> None:
    emulator.configure(processing_seconds=3600)
    job_ids = submit(1)
    long_ago = time.time() - 1000
    trigger = watching(job_ids, started_at=long_ago, deadline=long_ago + 900)
    with pytest.raises(FullStoryTimeoutError, match=r"within 900 s.*cannot cancel"):
        outcomes_of(event_of(trigger))


def test_a_job_that_finished_while_the_triggerer_was_down_counts(emulator: EmulatorClient) -> None:
    long_ago = time.time() - 1000
    trigger = watching(submit(1), started_at=long_ago, deadline=long_ago + 900)
    assert outcomes_of(event_of(trigger))[0].imports == 1


def test_a_missing_connection_ends_the_wait(emulator: EmulatorClient) -> None:
    event = event_of(watching(["a"], fullstory_conn_id="nowhere"))
    assert event["error"] == "FullStoryInputError"
    assert "nowhere" in event["message"]


def test_the_event_loop_is_not_blocked(emulator: EmulatorClient) -> None:
    """While the trigger waits for a slow answer, other triggers get their turn."""
    job_ids = submit(1)
    emulator.order_fault(method="GET", delay_seconds=0.2)

    async def count_turns() -> int:
        waiting = asyncio.ensure_future(anext(watching(job_ids).run()))
        turns = 0
        while not waiting.done():
            await asyncio.sleep(0)
            turns += bool(polls_under_way)
        await waiting
        return turns

    polls_under_way = [True]
    assert asyncio.run(count_turns()) > 100


def test_the_event_comes_only_after_the_worker_that_deferred_has_ended(
    emulator: EmulatorClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr("airflow_provider_fullstory.triggers.fullstory._worker_exit_seconds", lambda: 100.0)
    monkeypatch.setattr("airflow_provider_fullstory.triggers.fullstory.asyncio.sleep", sleep)
    event_of(watching(submit(1), started_at=time.time()))
    assert 90 < waits[-1] <= 100


def test_a_wait_that_a_user_ends_names_the_jobs_that_go_on(
    emulator: EmulatorClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator.configure(processing_seconds=60)
    log = Mock()
    monkeypatch.setattr(FullStoryImportJobTrigger, "log", log)
    finished = submit(1)
    emulator.advance_clock(60)
    trigger = watching([*finished, *submit(3)[1:]])

    async def end() -> None:
        looked = asyncio.Event()
        monkeypatch.setattr(JobWatch, "pause", lambda *_: looked.set() or 600.0)
        waiting = asyncio.ensure_future(anext(trigger.run()))
        await looked.wait()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await trigger.on_kill()

    asyncio.run(end())

    [call] = log.warning.call_args_list
    message = call.args[0] % call.args[1:]
    assert "working on 2 of its jobs" in message
    assert finished[0] not in message
