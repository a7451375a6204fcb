"""Jobs are polled in growing pauses, up to a deadline, and passing failures are tolerated."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from airflow_provider_fullstory.api.jobs import Job, JobState, JobStatus
from airflow_provider_fullstory.batch_import.waiting.job_watch import JobWatch
from airflow_provider_fullstory.batch_import.waiting.polling import MAX_FAILED_POLLS, YOUNG_SECONDS
from airflow_provider_fullstory.exceptions import (
    FullStoryConnectionLookupError,
    FullStoryError,
    FullStoryMissingConnectionError,
    FullStoryNotFoundError,
    FullStoryProtocolError,
    FullStoryRateLimitError,
    FullStoryServerError,
    FullStoryTimeoutError,
)

#: When a job is no longer young.
LATER = 1000.0 + YOUNG_SECONDS


def watch(*job_ids: str, deadline: float = 10_000.0) -> JobWatch:
    return JobWatch(job_ids or ("a",), started_at=1000.0, poll_interval=2.0, deadline=deadline)


def status(state: str, imports: int = 0, errors: int = 0) -> JobStatus:
    return JobStatus(Job("a", state), imports, errors)


@pytest.mark.parametrize(
    ("now", "most"),
    [(1000.0, 2.0), (1010.0, 2.0), (1020.0, 2.0), (1100.0, 10.0), (5000.0, 400.0), (900.0, 2.0)],
)
def test_a_pause_is_the_interval_and_later_a_tenth_of_the_time(now: float, most: float) -> None:
    pauses = [watch().pause(now) for _ in range(200)]

    assert 0.9 * most <= min(pauses) <= max(pauses) <= most
    assert len(set(pauses)) > 1


@settings(deadline=None)
@given(
    durations=st.lists(st.floats(0.0, 86_400.0), min_size=1, max_size=5),
    first_poll=st.floats(0.0, 1.0),
    round_takes=st.floats(0.0, 30.0),
    chance=st.random_module(),
)
def test_the_end_of_the_last_job_is_noticed_in_time_after_polls_that_grow_like_the_logarithm_of_its_duration(
    durations: list[float], first_poll: float, round_takes: float, chance: Any
) -> None:
    jobs = {str(number): duration for number, duration in enumerate(durations)}
    last = max(durations)
    waiting = JobWatch(list(jobs), started_at=1000.0, poll_interval=2.0, deadline=1e6)
    # A wait that a triggerer takes over begins late.
    now, polls = first_poll * last, dict.fromkeys(jobs, 0)
    while True:
        asked_at, now = now, now + round_takes
        for job in waiting.pending:
            polls[job] += 1
            is_over = asked_at >= jobs[job]
            waiting.note(
                job, status(JobState.COMPLETED if is_over else JobState.PROCESSING), now=1000.0 + now
            )
        if not waiting.pending:
            break
        now += waiting.pause(1000.0 + now)

    # One round may just have missed the end, the next one notices it.
    assert now - last <= max(2.0, 0.1 * last) + 2.1 * round_takes + 1e-6
    for job, duration in jobs.items():
        growth = max(0.0, math.log(max(duration, 1.0) / 20)) / math.log(1.09)
        assert polls[job] <= 2 + min(duration, 20.0) / 1.8 + growth


def test_the_last_pause_ends_at_the_deadline() -> None:
    assert watch(deadline=5000.0).pause(4999.5) == pytest.approx(0.5)


@pytest.mark.parametrize("now", [10_000.0, 10_001.0])
def test_the_deadline_names_the_jobs_that_still_run(now: float) -> None:
    waiting = watch("a", "b")
    waiting.note("a", status(JobState.COMPLETED, 1), now=LATER)

    with pytest.raises(FullStoryTimeoutError) as caught:
        waiting.pause(now)

    assert str(caught.value) == (
        "The import did not finish within 9,000 s.\n"
        "FullStory may still be working on 1 job, and cannot cancel them: b."
    )


@pytest.mark.parametrize("state", [JobState.PROCESSING, "QUEUED", "completed", ""])
def test_a_job_that_is_not_finished_stays_pending(state: str) -> None:
    waiting = watch()
    waiting.note("a", status(state), now=LATER)

    assert (waiting.pending, waiting.outcomes) == (["a"], {})


@pytest.mark.parametrize("state", [JobState.COMPLETED, JobState.FAILED])
def test_a_finished_job_is_pending_no_more(state: JobState) -> None:
    waiting = watch("b", "a", "b")
    waiting.note("a", status(state, 3, 1), now=LATER)

    assert waiting.pending == ["b"]
    assert waiting.as_event() == [{"job_id": "a", "status": state.value, "imports": 3, "errors": 1}]


def test_passing_failures_are_tolerated_up_to_a_number_in_a_row() -> None:
    waiting = watch()
    for _ in range(MAX_FAILED_POLLS - 1):
        waiting.note("a", FullStoryServerError("no."), now=LATER)

    with pytest.raises(
        FullStoryServerError, match=rf"^no\.\n{MAX_FAILED_POLLS} polls in a row failed\. FullStory"
    ):
        waiting.note("a", FullStoryServerError("no."), now=LATER)


def test_a_storm_of_429_is_no_reason_to_give_up() -> None:
    waiting = watch()
    for _ in range(10 * MAX_FAILED_POLLS):
        waiting.note("a", FullStoryRateLimitError("too many requests."), now=LATER)
    for _ in range(MAX_FAILED_POLLS - 1):
        waiting.note("a", FullStoryServerError("no."), now=LATER)

    with pytest.raises(FullStoryServerError):
        waiting.note("a", FullStoryServerError("no."), now=LATER)


def test_a_poll_that_succeeds_forgives_the_failures_before() -> None:
    waiting = watch()
    for _ in range(3 * MAX_FAILED_POLLS):
        waiting.note("a", FullStoryServerError("no."), now=LATER)
        waiting.note("a", status(JobState.PROCESSING), now=LATER)

    assert waiting.pause(1000.0) <= 2.0


def test_a_failure_that_stays_is_raised_at_once() -> None:
    with pytest.raises(FullStoryNotFoundError, match=r"^no such job\.\nFullStory accepted its records"):
        watch().note("a", FullStoryNotFoundError("no such job."), now=LATER)


def test_a_pause_after_a_failure_grows() -> None:
    waiting = watch()
    for _ in range(10):
        waiting.note("a", FullStoryServerError("no."), now=LATER)

    assert all(27.0 <= waiting.pause(1000.0) <= 60.0 for _ in range(50))


def test_a_pause_is_never_shorter_than_fullstory_asks_for() -> None:
    waiting = watch()
    waiting.note("a", FullStoryRateLimitError("slow down", retry_after=30.0), now=LATER)

    assert min(waiting.pause(1000.0) for _ in range(200)) >= 30.0


def test_a_pause_that_fullstory_asks_for_leaves_time_for_a_last_poll() -> None:
    waiting = watch(deadline=1010.0)
    waiting.note("a", FullStoryRateLimitError("slow down", retry_after=float("inf")), now=LATER)

    assert waiting.pause(1000.0) == pytest.approx(9.0)
    assert waiting.pause(1009.0) == pytest.approx(1.0)


def test_a_young_job_may_not_be_found_yet() -> None:
    waiting = watch()
    waiting.note("a", FullStoryNotFoundError("no such job."), now=LATER - 1.0)
    with pytest.raises(FullStoryNotFoundError):
        waiting.note("a", FullStoryNotFoundError("no such job."), now=LATER)


@pytest.mark.parametrize(
    "error",
    [
        FullStoryProtocolError("not FullStory's."),
        FullStoryConnectionLookupError("no backend."),
        FullStoryMissingConnectionError("no connection."),
    ],
    ids=lambda error: type(error).__name__,
)
def test_odd_answers_and_lookups_that_fail_count_like_other_faults(error: FullStoryError) -> None:
    waiting = watch()
    for _ in range(MAX_FAILED_POLLS - 1):
        waiting.note(None, error, now=LATER)

    with pytest.raises(type(error), match="20 polls in a row failed"):
        waiting.note(None, error, now=LATER)


def test_a_job_that_can_be_read_does_not_forgive_the_failures_of_another() -> None:
    waiting = watch("a", "b")
    for _ in range(MAX_FAILED_POLLS - 1):
        waiting.note("b", FullStoryServerError("no."), now=LATER)
        waiting.note("a", status(JobState.PROCESSING), now=LATER)

    with pytest.raises(FullStoryServerError):
        waiting.note("b", FullStoryServerError("no."), now=LATER)


def test_an_unknown_status_is_logged_once_with_its_word() -> None:
    waiting = watch("a", "b")
    line = waiting.note("a", status("ON\nHOLD"), now=LATER)

    assert line is not None
    assert "'ON\\\\nHOLD'" in line
    assert waiting.note("b", status("ON\nHOLD"), now=LATER) is None
    assert waiting.note("a", status(JobState.COMPLETED), now=LATER) is None
