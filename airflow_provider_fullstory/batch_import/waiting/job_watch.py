"""
When to poll jobs that FullStory works on, and when to stop.

No I/O: the operator polls with one hook, the trigger with the other, and both follow this.
"""

from __future__ import annotations

import dataclasses
import random
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_fullstory.batch_import.waiting.outcomes import JobOutcome, still_running
from airflow_provider_fullstory.batch_import.waiting.polling import PollFailures, UnknownStatuses
from airflow_provider_fullstory.exceptions import (
    FullStoryError,
    FullStoryTimeoutError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_fullstory.api.jobs import JobStatus

_SHARE_OF_AGE: Final = 0.1
_SECONDS_FOR_ANSWER: Final = 5.0


class JobWatch:
    """
    Follow jobs until all are finished.

    Jobs are polled after ``poll_interval`` seconds at first, then after a tenth of the time that has passed,
    so a long wait takes few requests, and its end is noticed within a tenth of its length.

    :param job_ids: The jobs.
    :param started_at: When the wait began, in seconds since the epoch: a wall-clock time, since it has to
        mean the same after a restart of the triggerer.
    :param poll_interval: Shortest time between two polls, in seconds.
    :param deadline: When to give up, in seconds since the epoch.
    """

    def __init__(
        self, job_ids: Sequence[str], *, started_at: float, poll_interval: float, deadline: float
    ) -> None:
        self.job_ids = list(dict.fromkeys(job_ids))
        self.outcomes: dict[str, JobOutcome] = {}
        self._started_at = started_at
        self._poll_interval = poll_interval
        self._deadline = deadline
        self._failures = PollFailures()
        self._unknown = UnknownStatuses()

    @property
    def pending(self) -> list[str]:
        """The jobs that are not known to be finished."""
        return [job_id for job_id in self.job_ids if job_id not in self.outcomes]

    def saw(self, job_id: str, status: JobStatus) -> str | None:
        """
        Take note of a job's status, and return a line for the log where it is an unknown one.

        :param job_id: The job that was asked for.
        :param status: FullStory's answer.
        """
        self._failures.forget(job_id)
        if status.is_finished:
            self.outcomes[job_id] = JobOutcome.of(job_id, status)
        return self._unknown.line(job_id, status)

    def missed(self, error: FullStoryError, job_id: str | None = None, *, now: float) -> None:
        """
        Take note of a poll that failed.

        :param error: What it failed with.
        :param job_id: The job that was asked for, None where none could be.
        :param now: Seconds since the epoch.
        :raises FullStoryError: The same error, where polling again is no use.
        """
        self._failures.add(error, job_id, age=now - self._started_at, running=self.pending)

    def pause(self, now: float) -> float:
        """
        Return the seconds until the next poll.

        :param now: Seconds since the epoch.
        :raises FullStoryTimeoutError: Where the deadline has passed.
        """
        if now >= self._deadline:
            raise FullStoryTimeoutError(
                f"The import did not finish within {self._deadline - self._started_at:,.0f} s.\n"
                + still_running(self.pending)
            )
        seconds = max(self._poll_interval, _SHARE_OF_AGE * (now - self._started_at))
        # Many waits that began together should not poll together.
        seconds *= random.uniform(0.9, 1.0)  # noqa: S311 - Spreads load, guards nothing.
        return min(max(seconds, self._failures.seconds), self._seconds_left(now))

    def _seconds_left(self, now: float) -> float:
        """Return the seconds until the last poll, which needs time for an answer, then until the deadline."""
        left = self._deadline - now
        for_answer = min(_SECONDS_FOR_ANSWER, _SHARE_OF_AGE * (self._deadline - self._started_at))
        return left - for_answer if left > for_answer else left

    def as_event(self) -> list[dict[str, Any]]:
        """Return the outcomes in a form that a trigger's event can carry."""
        return [
            dataclasses.asdict(self.outcomes[job_id]) for job_id in self.job_ids if job_id in self.outcomes
        ]
