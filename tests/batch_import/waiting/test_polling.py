"""One policy for polls: the status or a passing failure is returned, other failures end the wait."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_fullstory.api.jobs import Job, JobState, JobStatus
from airflow_provider_fullstory.batch_import.waiting.polling import MAX_FAILED_POLLS, YOUNG_SECONDS, Polls
from airflow_provider_fullstory.exceptions import (
    FullStoryAuthenticationError,
    FullStoryError,
    FullStoryNotFoundError,
    FullStoryServerError,
)

if TYPE_CHECKING:
    from airflow_provider_fullstory.batch_import.waiting.polling import PollResult

NOW = 1000.0


class Client:
    """Answer polls with statuses and failures, in turn."""

    def __init__(self, *results: PollResult) -> None:
        self._results = list(results)

    def get_job_status(self, _: str) -> JobStatus:
        result = self._results.pop(0)
        if isinstance(result, FullStoryError):
            raise result
        return result


@pytest.fixture
def polls() -> Polls:
    return Polls(lambda: ["a", "b"], lambda: NOW)


def status(word: str) -> JobStatus:
    return JobStatus(Job("a", word))


def poll(polls: Polls, *results: PollResult, age: float = 0.0) -> list[PollResult]:
    client: Any = Client(*results)
    return [polls.poll(client, "a", NOW - age) for _ in results]


def test_a_status_and_a_passing_failure_are_returned(polls: Polls) -> None:
    results = [FullStoryServerError("no."), status(JobState.PROCESSING), status(JobState.COMPLETED)]

    assert poll(polls, *results) == results


def test_a_failure_that_does_not_pass_names_the_jobs_that_go_on(polls: Polls) -> None:
    with pytest.raises(FullStoryAuthenticationError) as caught:
        poll(polls, FullStoryAuthenticationError("who?"))

    assert str(caught.value).startswith(
        "who?\n1 poll in a row failed. FullStory may still be working on 2 jobs"
    )


def test_failures_count_in_a_row(polls: Polls) -> None:
    failures = [FullStoryServerError("no.")] * (MAX_FAILED_POLLS - 1)
    poll(polls, *failures, status(JobState.PROCESSING), *failures)

    with pytest.raises(FullStoryServerError, match=f"{MAX_FAILED_POLLS} polls in a row failed"):
        poll(polls, FullStoryServerError("no."))


def test_failures_ask_for_a_pause_until_a_poll_succeeds(polls: Polls) -> None:
    assert polls.pause == 0.0
    poll(polls, FullStoryServerError("no.", retry_after=7.0))
    assert polls.pause == 7.0
    poll(polls, status(JobState.PROCESSING))
    assert polls.pause == 0.0


def test_only_a_young_job_may_not_be_found(polls: Polls) -> None:
    poll(polls, FullStoryNotFoundError("no such job."), age=YOUNG_SECONDS - 1)

    with pytest.raises(FullStoryNotFoundError, match="they may well have been imported"):
        poll(polls, FullStoryNotFoundError("no such job."), age=YOUNG_SECONDS)


def test_a_status_that_is_not_documented_is_logged_once(
    polls: Polls, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        poll(polls, status("ON HOLD"), status("ON HOLD"), status(JobState.COMPLETED))

    [message] = caplog.messages
    assert message.startswith("FullStory gives an unknown status, 'ON HOLD', for job a.")
