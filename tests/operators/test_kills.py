"""A task that is stopped, or killed without notice, ends at once, and the next try continues."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_fullstory.api import protocol
from airflow_provider_fullstory.exceptions import FullStoryError, FullStoryKilledError
from airflow_provider_fullstory.hooks.fullstory import FullStoryHook
from airflow_provider_fullstory.sources import CHUNK_ROWS
from tests.processes import execute
from tests.tries import Task, join_uploads, numbers, orders, posts, prepare_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.process import BaseProcess
    from pathlib import Path

    from airflow_provider_fullstory.emulator.client import EmulatorClient

HOUR = 3600.0
UPLOADS = {"method": "POST", "path": "/v2/events/batch"}
LOOKS = {"method": "GET", "path": "/v2/events/batch/*"}


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "FIRST_RETRY_SECONDS", 0.01)


def kill_from_thread(
    emulator: EmulatorClient,
    task: Task,
    is_time: Callable[[], bool],
    then: Callable[[], Any] = lambda: None,
    error: type[FullStoryError] = FullStoryKilledError,
    **arguments: Any,
) -> str:
    """Run a try, call its on_kill from another thread once it is time, and return what it says."""
    operator, context = task.operator(**arguments), task.next_context()
    with ThreadPoolExecutor(1, initializer=prepare_thread) as pool:
        execution = pool.submit(operator.execute, context)
        end = time.monotonic() + 60
        try:
            while not is_time():
                assert not execution.done(), execution.exception()
                assert time.monotonic() < end, "It never was time to kill."
            operator.on_kill()
            then()
            # Far below the hour for which what is in flight would hold it up.
            ending = execution.exception(timeout=10)
        finally:
            # Lets the thread end where the task did not.
            emulator.forget_faults()
    assert isinstance(ending, error), ending
    return str(ending)


def kill_by_signal(
    emulator: EmulatorClient,
    task: Task,
    is_time: Callable[[], bool],
    then: Callable[[], Any] = lambda: None,
    **arguments: Any,
) -> str:
    """Run a try in the main thread, whose handler of a signal calls on_kill, and return what it says."""
    operator, context = task.operator(**arguments), task.next_context()
    has_ended, was_held_up = threading.Event(), threading.Event()

    def send() -> None:
        while not is_time():
            if has_ended.is_set():
                return
        os.kill(os.getpid(), signal.SIGUSR1)
        if not has_ended.wait(10):
            was_held_up.set()
        emulator.forget_faults()

    def handle(*_: Any) -> None:
        operator.on_kill()
        then()

    before = signal.signal(signal.SIGUSR1, handle)
    sender = threading.Thread(target=send)
    sender.start()
    try:
        with pytest.raises(FullStoryKilledError) as caught:
            operator.execute(context)
    finally:
        has_ended.set()
        sender.join()
        signal.signal(signal.SIGUSR1, before)
    assert not was_held_up.is_set()
    return str(caught.value)


KILLS = pytest.mark.parametrize("kill", [kill_from_thread, kill_by_signal], ids=["thread", "signal"])


@KILLS
def test_a_task_that_is_killed_while_it_sends_does_not_wait_for_slow_uploads(
    emulator: EmulatorClient, task: Task, kill: Callable[..., str]
) -> None:
    emulator.order_fault(**UPLOADS, after=2, delay_seconds=HOUR, times=100)

    def two_are_noted() -> bool:
        return len(jobs_of(task)) == 2 and len(posts(emulator)) == 4

    noted: list[str] = []
    message = kill(
        emulator,
        task,
        two_are_noted,
        # An upload in flight may still be noted afterwards.
        lambda: noted.extend(jobs_of(task)),
        events=orders(60),
        max_parallel_uploads=2,
    )

    join_uploads()
    assert "The task was stopped." in message
    assert len(noted) == 2
    assert all(job_id in message for job_id in noted)
    assert "FullStory may still be working on 2 jobs, and cannot cancel them" in message
    assert "A retry waits for these jobs and sends only the rest." in message
    assert task.attempt(events=orders(60))["imported"] == 60
    assert numbers(emulator) == list(range(60))


def jobs_of(task: Task) -> list[str]:
    """Return the jobs that a ledger knows of."""
    try:
        entries = list(task.ledger.values())
    except ValueError:
        # Not there yet.
        return []
    return [entry["job_id"] for entry in entries if "job_id" in entry]


@KILLS
def test_a_task_that_is_killed_while_it_waits_for_its_jobs_names_them(
    emulator: EmulatorClient, task: Task, kill: Callable[..., str]
) -> None:
    emulator.configure(processing_seconds=HOUR)

    message = kill(emulator, task, lambda: has_polled(emulator), events=orders(25), deferrable=False)

    assert all(job["id"] in message for job in emulator.jobs())
    assert len(posts(emulator)) == 3
    emulator.advance_clock(HOUR)
    assert task.attempt(events=orders(25))["imported"] == 25
    assert len(posts(emulator)) == 3
    assert numbers(emulator) == list(range(25))


def polls(emulator: EmulatorClient) -> list[dict[str, Any]]:
    requests = emulator.requests()
    return [request for request in requests if request["method"] == "GET" and "/batch/" in request["path"]]


def has_polled(emulator: EmulatorClient) -> bool:
    return bool(polls(emulator))


def test_a_task_that_is_killed_polls_its_jobs_no_further(emulator: EmulatorClient, task: Task) -> None:
    emulator.configure(processing_seconds=HOUR)
    # Of many jobs, the poll of the second takes a while; the one after it would take endlessly.
    emulator.order_fault(**LOOKS, after=1, delay_seconds=0.3)
    emulator.order_fault(**LOOKS, after=1, delay_seconds=HOUR, times=100)

    kill_from_thread(emulator, task, lambda: len(polls(emulator)) == 2, events=orders(60))

    emulator.advance_clock(HOUR)
    assert task.attempt(events=orders(60))["imported"] == 60


@KILLS
def test_a_task_that_is_killed_while_it_waits_for_room_names_what_runs(
    emulator: EmulatorClient, task: Task, kill: Callable[..., str]
) -> None:
    emulator.configure(processing_seconds=HOUR)

    def has_polled_at_both() -> bool:
        return len({request["path"] for request in polls(emulator)}) == 2

    message = kill(emulator, task, has_polled_at_both, events=orders(40), max_outstanding_records=20)

    assert len(posts(emulator)) == 2
    assert all(job["id"] in message for job in emulator.jobs())
    emulator.advance_clock(HOUR)
    emulator.configure(processing_seconds=0)
    assert task.attempt(events=orders(40))["imported"] == 40
    assert numbers(emulator) == list(range(40))


def test_what_was_sent_after_a_wait_for_room_is_named_as_well(
    emulator: EmulatorClient, make_task: Callable[..., Task]
) -> None:
    task = make_task("store", max_batch_bytes=1500, max_parallel_uploads=1, max_outstanding_records=10)
    events = [*orders(10), *({**event, "note": "x" * 1000} for event in orders(3, 10))]
    emulator.configure(processing_seconds=HOUR)
    emulator.order_fault(**UPLOADS, after=3, delay_seconds=HOUR)
    is_finished = False

    def fourth_is_under_way() -> bool:
        nonlocal is_finished
        if not is_finished and has_polled(emulator):
            # The ten are done, which makes room for all that follow.
            emulator.advance_clock(HOUR)
            is_finished = True
        return len(jobs_of(task)) == 3 and len(posts(emulator)) == 4

    message = kill_from_thread(emulator, task, fourth_is_under_way, events=events)

    join_uploads()
    _, second, third = emulator.jobs()[:3]
    assert second["id"] in message
    assert third["id"] in message


@KILLS
def test_a_task_that_is_killed_while_it_stages_sends_nothing(
    emulator: EmulatorClient, make_task: Callable[..., Task], kill: Callable[..., str]
) -> None:
    task, is_read, is_killed = make_task("folder", batch_size=100), threading.Event(), threading.Event()

    def source() -> Iterator[dict[str, Any]]:
        yield from orders(15)
        is_read.set()
        # In steps, since a signal that another thread gets does not end the main thread's wait.
        assert any(is_killed.wait(0.1) for _ in range(300))
        yield from orders(985, 15)

    message = kill(emulator, task, is_read.is_set, is_killed.set, events=source())

    assert posts(emulator) == []
    assert "No job of " in message
    assert not list(task.folder.glob("bodies/**/*.json.gz"))
    assert task.attempt(events=orders(1000))["imported"] == 1000
    assert numbers(emulator) == list(range(1000))


def test_a_task_that_is_killed_does_not_wait_for_uploads_that_a_failure_lets_finish(
    emulator: EmulatorClient, make_task: Callable[..., Task]
) -> None:
    task = make_task("store", max_parallel_uploads=2)
    emulator.configure(max_body_bytes=200_000)
    emulator.order_fault(**UPLOADS, delay_seconds=HOUR)

    def source() -> Iterator[dict[str, Any]]:
        yield from orders(CHUNK_ROWS)
        yield {**orders(CHUNK_ROWS, 1)[0], "note": "x" * 200_000}
        while not posts(emulator):
            pass

    def is_refused() -> bool:
        return any(request["status"] == 413 for request in emulator.requests())

    # It fails anyway, and says why.
    kill_from_thread(emulator, task, is_refused, error=FullStoryError, events=source(), batch_size=CHUNK_ROWS)


def test_a_task_that_is_killed_before_it_runs_sends_nothing(emulator: EmulatorClient, task: Task) -> None:
    operator = task.operator(events=orders(25))
    operator.on_kill()

    with pytest.raises(FullStoryKilledError):
        operator.execute(task.next_context())

    assert posts(emulator) == []
    assert task.attempt(events=orders(25))["imported"] == 25


def test_a_task_that_is_killed_while_it_looks_before_it_defers_does_not_end_well(
    emulator: EmulatorClient, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator = task.operator(events=orders(25), deferrable=True)
    poll = FullStoryHook.get_job_status

    def poll_and_kill(hook: FullStoryHook, resource: str, job_id: str) -> Any:
        operator.on_kill()
        return poll(hook, resource, job_id)

    monkeypatch.setattr(FullStoryHook, "get_job_status", poll_and_kill)

    with pytest.raises(FullStoryKilledError):
        operator.execute(task.next_context())


def test_to_kill_a_task_that_has_ended_does_nothing(emulator: EmulatorClient, task: Task) -> None:
    operator = task.operator(events=orders(25))
    assert operator.execute(task.next_context())["imported"] == 25

    operator.on_kill()

    assert numbers(emulator) == list(range(25))


def test_a_task_that_is_killed_during_its_last_look_does_not_end_well(
    emulator: EmulatorClient, task: Task
) -> None:
    # Airflow lets a task continue after on_kill, and would take its return for a success.
    emulator.order_fault(**LOOKS, delay_seconds=0.3)

    kill_from_thread(emulator, task, lambda: has_polled(emulator), events=orders(5))

    assert task.attempt(events=orders(5))["imported"] == 5
    assert len(posts(emulator)) == 1


def test_a_task_that_is_killed_before_it_has_opened_anything_ends(
    emulator: EmulatorClient, make_task: Callable[..., Task]
) -> None:
    task = make_task("store")
    operator = task.operator(events=orders(5))

    class Context(dict[str, Any]):
        def get(self, key: str, default: Any = None) -> Any:
            # A signal comes when it wants.
            operator.on_kill()
            return super().get(key, default)

    with pytest.raises(FullStoryKilledError):
        operator.execute(Context(task.next_context()))

    assert posts(emulator) == []


# Processes.


@pytest.fixture(scope="module")
def processes() -> Any:
    """Give what makes processes that have imported everything, and no thread of this one."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.processes"])
    return context


@contextmanager
def running(processes: Any, emulator: EmulatorClient, task: Task, **arguments: Any) -> Iterator[BaseProcess]:
    """Run a try in a process of its own."""
    assert task.state_uri is not None
    outcome = task.state_uri.removeprefix("file://") + ".txt"
    process = processes.Process(
        target=execute, args=(emulator.connection_json(), task.state_uri, outcome, arguments)
    )
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


@pytest.mark.parametrize("sent", [0, 2])
@pytest.mark.parametrize("is_done", [False, True], ids=["lost", "done"])
def test_a_process_that_is_gone_in_the_middle_is_replaced_by_the_next(
    emulator: EmulatorClient, make_task: Callable[..., Task], processes: Any, sent: int, *, is_done: bool
) -> None:
    task = make_task("folder")
    # FullStory continues with the request of a process that is gone, or has never begun with it.
    emulator.order_fault(**UPLOADS, after=sent, delay_seconds=0.2 if is_done else HOUR)
    with running(processes, emulator, task, events=orders(40), max_parallel_uploads=1) as process:
        while len(posts(emulator)) <= sent:
            assert process.is_alive()
        process.kill()
        process.join()
    assert len(posts(emulator)) == sent + 1
    if not is_done:
        emulator.forget_faults()

    report = task.attempt(events=orders(40))

    assert numbers(emulator) == list(range(40))
    assert (report["imported"], report["batches"]) == (40, 4)


def test_a_process_that_airflow_tells_to_end_says_what_runs_and_the_next_goes_on(
    emulator: EmulatorClient, make_task: Callable[..., Task], processes: Any, tmp_path: Path
) -> None:
    task = make_task("folder")
    emulator.configure(processing_seconds=HOUR)
    with running(processes, emulator, task, events=orders(25)) as process:
        while not has_polled(emulator):
            assert process.is_alive()
        assert process.pid is not None
        os.kill(process.pid, signal.SIGTERM)
        process.join(60)
        assert process.exitcode == 0

    said = (tmp_path / "state.txt").read_text()
    assert said.startswith("FullStoryKilledError: The task was stopped.")
    assert all(job["id"] in said for job in emulator.jobs())
    emulator.advance_clock(HOUR)
    assert task.attempt(events=orders(25))["imported"] == 25
    assert len(posts(emulator)) == 3


def test_a_process_that_airflow_tells_to_end_while_it_sends_does_not_wait_for_the_answer(
    emulator: EmulatorClient, make_task: Callable[..., Task], processes: Any, tmp_path: Path
) -> None:
    task = make_task("folder")
    emulator.order_fault(**UPLOADS, after=1, delay_seconds=HOUR, times=100)
    with running(processes, emulator, task, events=orders(40), max_parallel_uploads=1) as process:
        while len(jobs_of(task)) < 1 or len(posts(emulator)) < 2:
            assert process.is_alive()
        assert process.pid is not None
        os.kill(process.pid, signal.SIGTERM)
        outcome = tmp_path / "state.txt"
        while not outcome.exists():
            assert process.is_alive()

    emulator.forget_faults()
    assert task.attempt(events=orders(40))["imported"] == 40
    assert numbers(emulator) == list(range(40))


def test_two_tries_at_the_same_time_send_each_batch_once(
    emulator: EmulatorClient, make_task: Callable[..., Task], retry_for: Callable[[float], None]
) -> None:
    # A worker that Airflow has lost sight of may continue while the next try runs.
    retry_for(60.0)
    task = make_task("store", max_parallel_uploads=2)
    emulator.order_fault(**UPLOADS, delay_seconds=0.05, times=20)
    contexts = [task.next_context() for _ in range(3)]
    with ThreadPoolExecutor(3, initializer=prepare_thread) as pool:
        reports = list(pool.map(lambda context: task.operator(events=orders(60)).execute(context), contexts))

    assert numbers(emulator) == list(range(60))
    assert [report["imported"] for report in reports] == [60] * 3
    assert reports[0]["job_ids"] == reports[1]["job_ids"] == reports[2]["job_ids"]
