"""When a poll of a job is worth a request."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from airflow_provider_fullstory.api.jobs import Job, JobState, JobStatus
from airflow_provider_fullstory.batch_import.sending.forecast import Forecast, RunningJob

PROCESSING = JobStatus(Job("j", JobState.PROCESSING, "2026-01-01T00:00:00Z"))


def finished(seconds: float, **changes: Any) -> JobStatus:
    """Return the status of a job that has taken a while."""
    created = datetime(2026, 1, 1, tzinfo=UTC)
    times = {"created": created.isoformat(), "finished": (created + timedelta(seconds=seconds)).isoformat()}
    return JobStatus(Job("j", JobState.COMPLETED, **(times | changes)), 10)


def job(accepted_at: float = 1000.0, answering: float = 0.0) -> RunningJob:
    return RunningJob("j", 10, accepted_at - answering, accepted_at)


def forecast(*durations: float, poll_interval: float = 2.0) -> Forecast:
    known = Forecast(poll_interval)
    for duration in durations:
        known.note(job(), finished(duration), 0.0)
    return known


#: One that is not about to end, and never polled again.
OLDEST = RunningJob("old", 10, 0.0, 0.0, first_poll=10.0**9, last_poll=10.0**9)


def next_poll(known: Forecast, running: RunningJob) -> float:
    """Return when a job is polled that is not the oldest."""
    poll = known.next_poll([OLDEST, running])
    assert poll is not None
    assert poll[1] is running
    return poll[0]


def polls(known: Forecast, running: RunningJob, until: float) -> list[float]:
    """Return when a job is polled that is finished at some time, the poll that shows it included."""
    times = []
    while not times or times[-1] < until:
        times.append(next_poll(known, running))
        known.note(running, PROCESSING, times[-1])
    return times


def test_a_job_of_which_nothing_is_known_is_polled_ever_less_often() -> None:
    times = polls(forecast(), job(), 5000.0)

    pauses = [after - before for before, after in zip([1000.0, *times], times, strict=False)]
    assert pauses[:5] == [2.0] * 5
    assert pauses == sorted(pauses)
    assert max(pauses) <= 0.1 * 5000
    assert len(times) < 100


def test_a_job_is_polled_when_earlier_ones_say_that_it_is_finished() -> None:
    assert polls(forecast(20.0), job(), 1020.0) == [1020.0]


def test_the_quickest_of_the_last_jobs_counts() -> None:
    assert next_poll(forecast(20.0, 15.0, 30.0), job()) == 1015.0
    # One that had few records is forgotten in time.
    assert next_poll(forecast(0.1, *[20.0] * 10), job()) == 1020.0


def test_near_its_expected_end_a_job_is_polled_often_and_then_less() -> None:
    times = polls(forecast(20.0), job(), 1200.0)

    pauses = [after - before for before, after in pairwise(times)]
    assert pauses[:2] == [0.25, 0.25]
    assert pauses == sorted(pauses)
    assert len(times) < 60
    # Late by no more than a tenth.
    assert times[-1] - 1200.0 <= 0.1 * (1200.0 - 1020.0)


def test_work_may_have_begun_before_the_answer_arrived() -> None:
    assert next_poll(forecast(20.0), job(answering=1.5)) == 1018.5
    # A batch that was repeated for an hour until there was capacity was not worked on for an hour.
    assert next_poll(forecast(20.0), job(answering=3600.0)) == 1018.0


def test_a_job_that_was_polled_too_early_waits_for_its_expected_end() -> None:
    known, running = Forecast(2.0), job()
    known.note(running, PROCESSING, 1002.0)
    known.note(job(), finished(20.0), 1003.0)

    assert next_poll(known, running) == 1020.0


def test_a_job_of_an_earlier_try_is_polled_at_once_and_then_as_often_as_any() -> None:
    known, running = forecast(20.0), job(accepted_at=-80_000.0)
    assert next_poll(known, running) < 0.0
    known.note(running, PROCESSING, 5.0)
    assert next_poll(known, running) == 5.25


@pytest.mark.parametrize(
    "changes",
    [
        {"created": None},
        {"finished": None},
        {"created": "yesterday"},
        {"finished": "2026-01-01T00:00:20"},
    ],
    ids=str,
)
def test_a_job_without_a_duration_changes_nothing(changes: dict[str, Any]) -> None:
    known = forecast()
    known.note(job(), finished(20.0, **changes), 0.0)
    assert next_poll(known, job()) == 1002.0


def test_a_job_that_ended_before_it_began_took_no_time() -> None:
    known = forecast()
    known.note(job(), finished(20.0, created="2026-01-01T00:00:30Z"), 0.0)
    assert next_poll(known, job()) == 1000.0


def test_the_oldest_job_is_polled_in_case_that_fullstory_has_become_quicker() -> None:
    known, oldest, younger = forecast(3600.0), job(1000.0), job(1001.0)
    times = []
    for _ in range(5):
        poll = known.next_poll([oldest, younger])
        assert poll is not None
        assert poll[1] is oldest
        times.append(poll[0] - 1000.0)
        known.note(oldest, PROCESSING, poll[0])

    assert times == [2.0, 4.0, 8.0, 16.0, 32.0]
    known.note(oldest, finished(60.0), 1064.0)
    assert next_poll(known, younger) == 1061.0


def test_of_jobs_with_nothing_known_the_oldest_comes_first() -> None:
    jobs = [job(1000.0), job(1000.5)]
    poll = forecast().next_poll(jobs)
    assert poll is not None
    assert poll[1] is jobs[0]


def test_without_jobs_there_is_nothing_to_poll() -> None:
    assert forecast(20.0).next_poll([]) is None
