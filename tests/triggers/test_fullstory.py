"""How the trigger waits."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest
from airflow.providers.common.compat.sdk import AirflowNotFoundException

from airflow_provider_fullstory.api import protocol
from airflow_provider_fullstory.batch_import.waiting.job_watch import JobWatch
from airflow_provider_fullstory.exceptions import (
    FullStoryError,
    FullStoryNotFoundError,
    FullStoryTimeoutError,
)
from airflow_provider_fullstory.hooks import connections
from airflow_provider_fullstory.hooks.fullstory import FullStoryAsyncHook, FullStoryHook
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


def test_later_jobs_are_not_asked_for_before_the_first_ones_are_finished(
    emulator: EmulatorClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator.configure(processing_seconds=60)
    job_ids = submit(25)
    pause, rounds = JobWatch.pause, []

    def finish_after_three_rounds(watch: JobWatch, now: float) -> float:
        rounds.append(len(polls(emulator)))
        if len(rounds) == 3:
            emulator.advance_clock(60)
        return pause(watch, now)

    monkeypatch.setattr(JobWatch, "pause", finish_after_three_rounds)
    event = event_of(watching(job_ids))
    assert [outcome.job_id for outcome in outcomes_of(event)] == job_ids
    assert rounds == [10, 20, 30]
    assert len(polls(emulator)) == 30 + 25


class CountingLoop(asyncio.SelectorEventLoop):
    """An event loop that counts the connections that are opened on it."""

    connections = 0

    async def create_connection(self, *arguments: Any, **keywords: Any) -> Any:
        self.connections += 1
        return await super().create_connection(*arguments, **keywords)


def test_a_thousand_waits_share_one_lookup_and_few_connections(
    emulator: EmulatorClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_ids = submit(20)
    read, lookups = FullStoryAsyncHook._read_settings, []

    async def counted(hook: FullStoryAsyncHook) -> Any:
        lookups.append(hook)
        return await read(hook)

    monkeypatch.setattr(FullStoryAsyncHook, "_read_settings", counted)

    async def follow() -> tuple[list[Any], int]:
        waits = [anext(watching([job_ids[number % 20]]).run()) for number in range(1000)]
        events = await asyncio.gather(*waits)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, CountingLoop)
        return [outcomes_of(event.payload) for event in events], loop.connections

    with asyncio.Runner(loop_factory=CountingLoop) as runner:
        outcomes, connections = runner.run(follow())
    assert [outcome.job_id for [outcome] in outcomes] == job_ids * 50
    assert len(polls(emulator)) == 1000
    assert len(lookups) == 1
    assert 1 <= connections <= 100


HEAVY = ["aiohttp", "airflow_provider_fullstory.hooks.clients", "requests", "tenacity", "urllib3"]
IMPORTS = """
import asyncio, json, sys, threading, time
from airflow_provider_fullstory.triggers import fullstory

class Finder:
    imported = {}
    def find_spec(name, path, target=None):
        Finder.imported[name] = threading.current_thread() is threading.main_thread()

sys.meta_path.insert(0, Finder)
fullstory._worker_exit_seconds = lambda: 0.0
now = time.time()
trigger = fullstory.FullStoryImportJobTrigger(job_ids=[sys.argv[1]], started_at=now, deadline=now + 60)
event = asyncio.run(anext(trigger.run())).payload
print(json.dumps([event["outcomes"], Finder.imported]))
"""


def test_what_takes_long_to_import_is_not_imported_in_the_event_loop(emulator: EmulatorClient) -> None:
    [job_id] = submit(1)
    ran = subprocess.run([sys.executable, "-c", IMPORTS, job_id], capture_output=True, check=True, text=True)
    [outcome], in_event_loop = json.loads(ran.stdout.splitlines()[-1])
    assert outcome["job_id"] == job_id
    assert [name for name in HEAVY if in_event_loop.get(name)] == []
    assert in_event_loop["airflow_provider_fullstory.hooks.clients"] is False


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
    assert "20 polls in a row failed" in event["message"]
    assert job_ids[0] in event["message"]


def test_an_unknown_job_that_is_not_young_ends_the_wait_at_once(emulator: EmulatorClient) -> None:
    with pytest.raises(FullStoryNotFoundError, match="'gone'"):
        outcomes_of(event_of(watching(["gone"], started_at=time.time() - 60)))
    assert len(polls(emulator)) == 1


def test_a_job_that_was_just_accepted_may_not_be_found_at_first(
    emulator: EmulatorClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "FIRST_RETRY_SECONDS", 0.0)
    job_ids = submit(1)
    emulator.order_fault(method="GET", times=2, status=404)
    assert [outcome.imports for outcome in outcomes_of(event_of(watching(job_ids)))] == [1]


def test_the_deadline_is_a_time_of_day_that_a_restart_does_not_move(emulator: EmulatorClient) -> None:
    emulator.configure(processing_seconds=3600)
    job_ids = submit(1)
    long_ago = time.time() - 1000
    trigger = watching(job_ids, started_at=long_ago, deadline=long_ago + 900)
    with pytest.raises(FullStoryTimeoutError, match=r"within 900 s\..*\n.*cannot cancel"):
        outcomes_of(event_of(trigger))


def test_a_job_that_finished_while_the_triggerer_was_down_counts(emulator: EmulatorClient) -> None:
    long_ago = time.time() - 1000
    trigger = watching(submit(1), started_at=long_ago, deadline=long_ago + 900)
    assert outcomes_of(event_of(trigger))[0].imports == 1


def test_a_connection_that_stays_missing_ends_the_wait(
    emulator: EmulatorClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "FIRST_RETRY_SECONDS", 0.0)
    event = event_of(watching(["a"], fullstory_conn_id="nowhere", poll_interval=0.0))
    assert event["error"] == "FullStoryMissingConnectionError"
    assert "nowhere" in event["message"]
    assert "20 polls in a row failed" in event["message"]


@pytest.mark.parametrize("error", [ConnectionError("refused"), AirflowNotFoundException("not defined")])
def test_a_lookup_of_the_connection_that_fails_once_is_a_passing_fault(
    emulator: EmulatorClient, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    [job_id] = submit(1)
    look_up, failures = connections.get_async_connection, [error]

    async def fail_once(*arguments: Any) -> Any:
        if failures:
            raise failures.pop()
        return await look_up(*arguments)

    monkeypatch.setattr(protocol, "FIRST_RETRY_SECONDS", 0.0)
    monkeypatch.setattr(connections, "get_async_connection", fail_once)
    assert [outcome.job_id for outcome in outcomes_of(event_of(watching([job_id])))] == [job_id]
    assert not failures


def test_an_unexpected_error_ends_in_an_event_that_names_the_jobs(
    emulator: EmulatorClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(JobWatch, "note", Mock(side_effect=ZeroDivisionError("odd")))
    [job_id] = submit(1)
    with pytest.raises(FullStoryError, match="ZeroDivisionError: odd") as caught:
        outcomes_of(event_of(watching([job_id])))
    assert job_id in str(caught.value)


def test_the_event_loop_is_not_blocked(emulator: EmulatorClient) -> None:
    """While the trigger waits for a slow answer, other triggers get their turn."""
    job_ids = submit(1)
    emulator.order_fault(method="GET", delay_seconds=0.2)

    async def count_turns() -> int:
        waiting = asyncio.ensure_future(anext(watching(job_ids).run()))
        turns = 0
        while not waiting.done():
            await asyncio.sleep(0)
            turns += bool(polls_in_flight)
        await waiting
        return turns

    polls_in_flight = [True]
    assert asyncio.run(count_turns()) > 100


def test_the_event_comes_only_after_the_worker_that_deferred_has_ended(
    emulator: EmulatorClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    started_at = time.time()
    waits: list[float] = []

    async def sleep_until(moment: float) -> None:
        waits.append(moment - started_at)

    monkeypatch.setattr(
        "airflow_provider_fullstory.triggers.fullstory._worker_exit_seconds", lambda: 10_000.0
    )
    monkeypatch.setattr("airflow_provider_fullstory.triggers.fullstory._sleep_until", sleep_until)
    event_of(watching(submit(1), started_at=started_at))
    assert waits[-1] == pytest.approx(10_000)


def test_before_the_event_may_come_fullstory_is_asked_only_once(
    emulator: EmulatorClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    started_at = time.time()
    waits: list[tuple[float, int]] = []

    async def sleep_until(moment: float) -> None:
        waits.append((moment - started_at, len(polls(emulator))))

    monkeypatch.setattr(
        "airflow_provider_fullstory.triggers.fullstory._worker_exit_seconds", lambda: 10_000.0
    )
    monkeypatch.setattr("airflow_provider_fullstory.triggers.fullstory._sleep_until", sleep_until)
    event_of(watching(submit(1), started_at=started_at, poll_interval=2.0))
    [(before, asked_before), (after, asked_after)] = waits
    assert 9_998 <= before <= after == pytest.approx(10_000)
    assert (asked_before, asked_after) == (0, 1)


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
        polled = asyncio.Event()
        monkeypatch.setattr(JobWatch, "pause", lambda *_: polled.set() or 600.0)
        waiting = asyncio.ensure_future(anext(trigger.run()))
        await polled.wait()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await trigger.on_kill()

    asyncio.run(end())

    [call] = log.warning.call_args_list
    message = call.args[0] % call.args[1:]
    assert "working on 2 jobs" in message
    assert finished[0] not in message
