"""Capacity in FullStory: unfinished records and jobs are counted, and each job that ends frees capacity."""

from __future__ import annotations

import dataclasses
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_fullstory.api import protocol
from airflow_provider_fullstory.api.jobs import Job, JobState, JobStatus
from airflow_provider_fullstory.batch_import.sending.capacity import MAX_OUTSTANDING_BATCHES, Capacity
from airflow_provider_fullstory.batch_import.sending.forecast import RunningJob
from airflow_provider_fullstory.batch_import.waiting.outcomes import JobOutcome
from airflow_provider_fullstory.batch_import.waiting.polling import MAX_FAILED_POLLS, YOUNG_SECONDS
from airflow_provider_fullstory.exceptions import (
    FullStoryAuthenticationError,
    FullStoryError,
    FullStoryKilledError,
    FullStoryNotFoundError,
    FullStoryRateLimitError,
    FullStoryServerError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


class Jobs:
    """Say which jobs are finished; fail first where that is ordered."""

    def __init__(self) -> None:
        self.finished: set[str] = set()
        self.polls: list[str] = []
        self.failures: Iterator[FullStoryError] = iter(())
        self.polled = threading.Event()

    def get_job_status(self, job_id: str) -> JobStatus:
        self.polls.append(job_id)
        self.polled.set()
        if error := next(self.failures, None):
            raise error
        state = JobState.COMPLETED if job_id in self.finished else JobState.PROCESSING
        return JobStatus(Job(job_id, state), 10)


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "FIRST_RETRY_SECONDS", 0.0001)
    monkeypatch.setattr(protocol, "LONGEST_RETRY_SECONDS", 0.001)


@pytest.fixture
def jobs() -> Jobs:
    return Jobs()


@pytest.fixture
def outcomes() -> list[JobOutcome]:
    return []


@pytest.fixture
def capacity(jobs: Jobs, outcomes: list[JobOutcome]) -> Capacity:
    return Capacity(jobs, max_records=30, poll_interval=0.001, on_finished=outcomes.append)


def send(capacity: Capacity, name: str, records: int = 10, job_id: str | None = None) -> None:
    """Do what an upload does."""
    capacity.wait(records)
    capacity.take(name, records)
    accept(capacity, name, records, job_id)


def accept(capacity: Capacity, name: str, records: int = 10, job_id: str | None = None) -> None:
    capacity.accepted(running(job_id or f"job-{name}", records), name)
    capacity.sent(name)


def running(job_id: str, records: int = 10) -> RunningJob:
    return RunningJob(job_id, records, time.monotonic(), time.monotonic())


def test_nothing_is_polled_while_there_is_capacity(capacity: Capacity, jobs: Jobs) -> None:
    for name in "123":
        send(capacity, name)
    assert jobs.polls == []
    assert capacity.running == ["job-1", "job-2", "job-3"]


def test_one_finished_job_frees_capacity_at_once(
    capacity: Capacity, jobs: Jobs, outcomes: list[JobOutcome]
) -> None:
    for name in "123":
        send(capacity, name)
    jobs.finished = {"job-2"}

    capacity.wait(10)

    assert capacity.running == ["job-1", "job-3"]
    assert outcomes == [JobOutcome("job-2", "COMPLETED", 10, 0)]


def test_jobs_are_polled_until_there_is_capacity(capacity: Capacity, jobs: Jobs) -> None:
    for name in "123":
        send(capacity, name)
    jobs.finished = {"job-1", "job-2", "job-3"}

    capacity.wait(20)

    # The oldest come first, and there was no need to poll the last one.
    assert jobs.polls == ["job-1", "job-2"]


def test_a_batch_counts_from_when_it_is_sent(capacity: Capacity, jobs: Jobs) -> None:
    capacity.take("1", 25)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(capacity.wait, 10)
        try:
            accept(capacity, "1", 25)
            assert jobs.polled.wait(30)
            assert not waiting.done()
            jobs.finished = {"job-1"}
            waiting.result(30)
        finally:
            capacity.close()


def test_halves_take_the_place_of_their_batch(capacity: Capacity, jobs: Jobs) -> None:
    capacity.take("1", 20)
    capacity.accepted(running("job-1.1"), "1")
    assert capacity.running == ["job-1.1"]
    capacity.wait(10)
    capacity.accepted(running("job-1.2"), "1")
    capacity.sent("1")
    capacity.wait(10)
    assert jobs.polls == []
    jobs.finished = {"job-1.1"}
    capacity.wait(20)
    assert capacity.running == ["job-1.2"]


def test_a_batch_that_is_no_longer_being_sent_frees_its_capacity(capacity: Capacity, jobs: Jobs) -> None:
    capacity.take("1", 30)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(capacity.wait, 10)
        capacity.sent("1")
        waiting.result(30)
    assert jobs.polls == []


def test_jobs_of_earlier_tries_count(capacity: Capacity, jobs: Jobs) -> None:
    capacity.accepted(running("old", 25))
    jobs.finished = {"old"}

    capacity.wait(10)

    assert jobs.polls == ["old"]


def test_a_batch_larger_than_the_capacity_is_sent_alone(capacity: Capacity, jobs: Jobs) -> None:
    capacity.wait(1000)
    send(capacity, "1")
    jobs.finished = {"job-1"}
    capacity.wait(1000)
    assert capacity.running == []


def test_jobs_are_limited_in_number_too(jobs: Jobs, outcomes: list[JobOutcome]) -> None:
    capacity = Capacity(jobs, max_records=10**6, poll_interval=0.001, on_finished=outcomes.append)
    for number in range(MAX_OUTSTANDING_BATCHES):
        send(capacity, str(number), 1)
    jobs.finished = {"job-7"}

    capacity.wait(1)

    assert len(capacity.running) == MAX_OUTSTANDING_BATCHES - 1


def test_closing_ends_the_wait(capacity: Capacity, jobs: Jobs) -> None:
    send(capacity, "1", 30)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(capacity.wait, 10)
        assert jobs.polled.wait(30)
        assert capacity.is_waited_for
        capacity.close()
        with pytest.raises(FullStoryKilledError):
            waiting.result(30)


def test_a_storm_of_429_is_no_reason_to_give_up(capacity: Capacity, jobs: Jobs) -> None:
    send(capacity, "1", 30)
    jobs.finished = {"job-1"}
    storm = [FullStoryRateLimitError("slow.", retry_after=0.001 if n % 2 else None) for n in range(300)]
    jobs.failures = iter(storm)

    capacity.wait(10)

    assert len(jobs.polls) == 301


def test_faults_are_tolerated_for_a_while(capacity: Capacity, jobs: Jobs) -> None:
    send(capacity, "1", 30)
    jobs.finished = {"job-1"}
    jobs.failures = iter([FullStoryServerError("no.")] * (MAX_FAILED_POLLS - 1))

    capacity.wait(10)

    jobs.failures = iter([FullStoryServerError("no.")] * MAX_FAILED_POLLS)
    send(capacity, "2", 30)
    with pytest.raises(
        FullStoryServerError, match=r"20 polls in a row failed\. .* working on 1 job, .*: job-2\."
    ):
        capacity.wait(10)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            FullStoryNotFoundError("gone."),
            "gone.\nFullStory accepted its records, so they may well have been",
        ),
        (FullStoryAuthenticationError("who?"), "who?\n1 poll in a row failed."),
    ],
    ids=str,
)
def test_a_poll_that_cannot_succeed_ends_the_wait(
    capacity: Capacity, jobs: Jobs, error: FullStoryError, message: str
) -> None:
    capacity.accepted(dataclasses.replace(running("job-1", 30), accepted_at=time.monotonic() - YOUNG_SECONDS))
    jobs.failures = iter([error])
    with pytest.raises(type(error)) as caught:
        capacity.wait(10)
    assert str(caught.value).startswith(message)


def test_retry_after_puts_off_the_next_poll(
    capacity: Capacity, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[Any] = []
    wait = capacity._changed.wait

    def note(seconds: float | None) -> bool:
        pauses.append(seconds)
        # As if that time had passed.
        capacity._no_poll_before = 0.0
        return wait(0)

    monkeypatch.setattr(capacity._changed, "wait", note)
    send(capacity, "1", 30)
    jobs.finished = {"job-1"}
    jobs.failures = iter([FullStoryRateLimitError("slow.", retry_after=17.0)])

    capacity.wait(10)

    assert 16 < max(pauses) <= 17
