"""Imports keep within FullStory's limits, with the emulator as the witness, and outlast those who do not."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import requests

from airflow_provider_fullstory.api import protocol
from airflow_provider_fullstory.batch_import.waiting.polling import MAX_FAILED_POLLS
from airflow_provider_fullstory.exceptions import FullStoryTimeoutError
from airflow_provider_fullstory.hooks.fullstory import FullStoryHook
from airflow_provider_fullstory.operators.fullstory import FullStoryImportEventsOperator
from airflow_provider_fullstory.sources import CHUNK_ROWS
from tests.tries import Breaking, Crash, Task, join_uploads, noting_job, numbers, orders, posts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_fullstory.emulator.client import EmulatorClient

HOUR = 3600.0
UPLOADS = {"method": "POST", "path": "/v2/events/batch"}
POLLS = {"method": "GET", "path": "/v2/events/batch/*"}


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "FIRST_RETRY_SECONDS", 0.001)
    monkeypatch.setattr(protocol, "LONGEST_RETRY_SECONDS", 0.01)


def importing(**arguments: Any) -> FullStoryImportEventsOperator:
    given = {"task_id": "import", "poll_interval": 0.01, "batch_size": 10, **arguments}
    return FullStoryImportEventsOperator(**given)


def refused(emulator: EmulatorClient) -> list[dict[str, Any]]:
    return [request for request in emulator.requests() if request["status"] == 429]


@contextmanager
def time_passes_with_polls(emulator: EmulatorClient, seconds: float) -> Iterator[None]:
    """Move the emulator's clock at each poll of a job, so that jobs take polls instead of time."""
    poll = FullStoryHook.get_job_status

    def get_job_status(hook: FullStoryHook, resource: str, job_id: str) -> Any:
        emulator.advance_clock(seconds)
        return poll(hook, resource, job_id)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FullStoryHook, "get_job_status", get_job_status)
        yield


# What is unfinished.


@pytest.mark.parametrize("seed", range(12))
def test_never_more_records_are_unfinished_than_are_allowed(
    emulator: EmulatorClient, context: Any, seed: int
) -> None:
    chance = random.Random(seed)
    count, batch_size = chance.randrange(150, 400), chance.randrange(3, 40)
    most = batch_size * chance.randrange(1, 6) + chance.randrange(batch_size)
    emulator.configure(
        processing_seconds=chance.choice([0.02, 0.1]),
        concurrent_batches=chance.choice([1, 3, 100]),
        max_body_bytes=chance.choice([None, 1000, 2000]),
        # Beyond that it answers 429, which would be among the requests.
        max_unfinished_records=most,
    )
    for _ in range(8):
        after = chance.randrange(20)
        emulator.order_fault(**UPLOADS, after=after, reset=chance.choice(["before", "after"]))
        emulator.order_fault(**UPLOADS, after=after, status=503, work_done=chance.random() < 0.5)

    report = importing(
        events=orders(count),
        batch_size=batch_size,
        max_outstanding_records=most,
        max_parallel_uploads=chance.choice([1, 2, 4, 16]),
    ).execute(context)

    assert report["imported"] == count
    assert numbers(emulator) == list(range(count))
    assert 0 < emulator.most_unfinished()["records"] <= most
    assert refused(emulator) == []


def test_what_may_be_unfinished_is_used_up(emulator: EmulatorClient, context: Any) -> None:
    emulator.configure(processing_seconds=HOUR)
    with time_passes_with_polls(emulator, HOUR / 3):
        importing(events=orders(300), max_outstanding_records=70).execute(context)
    assert emulator.most_unfinished() == {"batches": 7, "records": 70}


def test_never_more_batches_are_unfinished_than_fullstory_takes(
    emulator: EmulatorClient, context: Any
) -> None:
    emulator.configure(processing_seconds=HOUR)
    with time_passes_with_polls(emulator, HOUR / 50):
        importing(events=orders(260), batch_size=1).execute(context)
    assert emulator.most_unfinished() == {"batches": 200, "records": 200}
    assert refused(emulator) == []


@pytest.mark.parametrize("at", [2, 4])
def test_jobs_of_an_earlier_try_that_still_run_count(emulator: EmulatorClient, task: Task, at: int) -> None:
    arguments = {"events": orders(120), "max_outstanding_records": 40, "max_parallel_uploads": 2}
    emulator.configure(processing_seconds=HOUR)
    with pytest.raises(Crash):
        task.attempt(breaking=Breaking(matches=noting_job(at)), **arguments)
    assert emulator.most_unfinished()["records"] >= 10 * at

    with time_passes_with_polls(emulator, HOUR / 5):
        report = task.attempt(**arguments)

    assert report["imported"] == 120
    assert numbers(emulator) == list(range(120))
    assert emulator.most_unfinished()["records"] == 40


def test_jobs_of_halves_of_an_earlier_try_count_too(
    emulator: EmulatorClient, make_task: Callable[..., Task]
) -> None:
    task = make_task("store")
    arguments = {"events": orders(120), "batch_size": 20, "max_outstanding_records": 40}
    emulator.configure(processing_seconds=HOUR, max_body_bytes=1100)
    with pytest.raises(Crash):
        task.attempt(breaking=Breaking(matches=noting_job("2.2")), max_parallel_uploads=1, **arguments)

    with time_passes_with_polls(emulator, HOUR / 5):
        report = task.attempt(**arguments)

    assert report["imported"] == 120
    assert report["batches"] > 6
    assert numbers(emulator) == list(range(120))
    assert emulator.most_unfinished()["records"] == 40


# What happens while a batch waits for capacity.


def test_batches_are_made_while_others_wait_for_room(emulator: EmulatorClient, context: Any) -> None:
    emulator.configure(processing_seconds=HOUR)
    sent_when_ready: list[int] = []

    def source() -> Iterator[dict[str, Any]]:
        # One more shows that the sixth batch is complete.
        yield from orders(6 * CHUNK_ROWS + 1)
        # No capacity is freed until four batches are ready, next to the two that are sent.
        sent_when_ready.append(len(posts(emulator)))
        emulator.configure(processing_seconds=0)
        emulator.advance_clock(HOUR)
        yield from orders(CHUNK_ROWS - 1, 6 * CHUNK_ROWS + 1)

    report = importing(
        events=source(),
        batch_size=CHUNK_ROWS,
        max_outstanding_records=2 * CHUNK_ROWS,
        max_parallel_uploads=4,
        timeout=60.0,
    ).execute(context)

    assert report["imported"] == 7 * CHUNK_ROWS
    assert sent_when_ready == [2]


def test_a_slow_source_keeps_no_batch_that_is_ready_from_being_sent(
    emulator: EmulatorClient, context: Any
) -> None:
    emulator.configure(processing_seconds=HOUR)

    def source() -> Iterator[dict[str, Any]]:
        # One more shows that the fourth batch is complete.
        yield from orders(4 * CHUNK_ROWS + 1)
        emulator.configure(processing_seconds=0)
        emulator.advance_clock(HOUR)
        # Gives nothing until all that it has given is sent.
        end = time.monotonic() + 60
        while len(emulator.jobs()) < 4:
            assert time.monotonic() < end
        yield from orders(CHUNK_ROWS - 1, 4 * CHUNK_ROWS + 1)

    report = importing(
        events=source(), batch_size=CHUNK_ROWS, max_outstanding_records=2 * CHUNK_ROWS
    ).execute(context)

    assert report["imported"] == 5 * CHUNK_ROWS


# Others who fill FullStory.


class Crowd:
    """Another writer who leaves no capacity in the organization until enough requests got 429."""

    def __init__(self, emulator: EmulatorClient, refusals: int) -> None:
        emulator.configure(processing_seconds=HOUR, max_unfinished_records=100, retry_after_seconds=0)
        answer = requests.post(
            f"{emulator.url}/v2/events/batch",
            json={"requests": [{"name": "Other", "properties": {"number": -n}} for n in range(1, 96)]},
            headers={"Authorization": f"Basic {emulator.standard_key}"},
            timeout=30,
        )
        assert answer.status_code == 200
        self._emulator = emulator
        self._refusals = refusals
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._leave)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *exception: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _leave(self) -> None:
        while not self._is_over.wait(0.05):
            if len(refused(self._emulator)) >= self._refusals:
                self._emulator.configure(processing_seconds=0)
                self._emulator.advance_clock(HOUR)
                return


def test_an_organization_that_others_have_filled_is_waited_for(
    emulator: EmulatorClient, context: Any, lines: list[str]
) -> None:
    with Crowd(emulator, refusals=300):
        report = importing(events=orders(100)).execute(context)

    assert report["imported"] == 100
    assert [number for number in numbers(emulator) if number >= 0] == list(range(100))
    assert len(refused(emulator)) >= 300
    assert emulator.most_unfinished()["records"] <= 100
    about_the_limit = [line for line in lines if "HTTP 429" in line]
    assert 1 <= len(about_the_limit) <= 3
    assert "200 batches or 500,000 records of the organization are unfinished" in about_the_limit[0]


@pytest.mark.parametrize("headers", [{}, {"Retry-After": "0.001"}, {"Retry-After": "0"}], ids=str)
@pytest.mark.parametrize(
    ("requests", "most", "times"),
    [
        pytest.param(UPLOADS, 500_000, 300, id="uploads"),
        pytest.param(UPLOADS, 20, 300, id="uploads that wait for capacity"),
        pytest.param(POLLS, 20, 300, id="polls for capacity"),
        # Their pauses grow; more than would be tolerated of faults.
        pytest.param(POLLS, 500_000, MAX_FAILED_POLLS + 10, id="polls at the end"),
    ],
)
def test_storms_of_429_are_ridden_out(
    emulator: EmulatorClient,
    context: Any,
    requests: dict[str, str],
    headers: dict[str, str],
    *,
    most: int,
    times: int,
) -> None:
    emulator.configure(processing_seconds=0.02)
    emulator.order_fault(**requests, status=429, headers=headers, times=times)

    report = importing(events=orders(60), max_outstanding_records=most, deferrable=False).execute(context)

    assert report["imported"] == 60
    assert numbers(emulator) == list(range(60))
    assert len(refused(emulator)) == times


def test_of_several_batches_one_at_a_time_asks_again(emulator: EmulatorClient, context: Any) -> None:
    emulator.order_fault(**UPLOADS, status=429, times=100)

    importing(events=orders(80), max_parallel_uploads=8).execute(context)

    asked = Counter(request["idempotency_key"] for request in refused(emulator))
    [_, most], *others = sorted(((key, times) for key, times in asked.items()), key=lambda pair: -pair[1])
    # Each asks once before it knows.
    assert [times for _, times in others] == [1] * len(others)
    assert len(others) < 8
    assert most == 100 - len(others)
    assert numbers(emulator) == list(range(80))


def test_a_limit_that_is_never_lifted_ends_the_task_at_its_deadline(
    emulator: EmulatorClient, task: Task
) -> None:
    emulator.order_fault(**UPLOADS, after=2, status=429, times=10**6)

    with pytest.raises(FullStoryTimeoutError) as caught:
        task.attempt(events=orders(60), timeout=1.0, max_parallel_uploads=1)

    [first, second] = emulator.jobs()
    assert str(caught.value) == (
        "Time was up while 1 batch had no answer yet.\n"
        "FullStory has accepted 2 batches with 20 records.\n"
        "A retry waits for these jobs and sends only the rest.\n"
        f"Jobs: {first['id']}, {second['id']}."
    )
    emulator.forget_faults()
    join_uploads()
    assert task.attempt(events=orders(60))["imported"] == 60
    assert numbers(emulator) == list(range(60))


def test_room_that_never_comes_ends_the_task_at_its_deadline(emulator: EmulatorClient, task: Task) -> None:
    emulator.configure(processing_seconds=HOUR)

    with pytest.raises(FullStoryTimeoutError) as caught:
        task.attempt(events=orders(60), timeout=1.0, max_parallel_uploads=1, max_outstanding_records=20)

    [first, second] = emulator.jobs()
    message = str(caught.value)
    assert "1 batch waited until FullStory had finished others.\nFullStory may still be working" in message
    assert "accepted 2 batches with 20 records.\nA retry waits" in message
    assert message.endswith(f"\nJobs: {first['id']}, {second['id']}.")


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Give the lines that the package logs."""
    lines: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    package = logging.getLogger("airflow_provider_fullstory")
    handler, before = Handler(), package.level
    package.addHandler(handler)
    package.setLevel(logging.DEBUG)
    logger = logging.getLogger("airflow_provider_fullstory.test")
    monkeypatch.setattr(FullStoryHook, "log", property(lambda _: logger), raising=False)
    yield lines
    package.removeHandler(handler)
    package.setLevel(before)
