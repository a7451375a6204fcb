"""
When to poll the jobs of an import, and when to stop.

Operator, sensor and trigger follow this; the trigger polls itself, since its hook is asynchronous.
"""

from __future__ import annotations

import dataclasses
import random
import time
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_fullstory.batch_import.waiting.outcomes import JobOutcome, still_running
from airflow_provider_fullstory.batch_import.waiting.polling import Polls
from airflow_provider_fullstory.exceptions import FullStoryError, FullStoryTimeoutError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_fullstory.batch_import.client import ImportClient
    from airflow_provider_fullstory.batch_import.waiting.polling import PollResult

_SHARE_OF_AGE: Final = 0.1
_SECONDS_FOR_ANSWER: Final = 5.0


class JobWatch:
    """
    Follow jobs until all are finished.

    Jobs are polled after ``poll_interval`` seconds at first, then after a tenth of the time that has passed,
    so a long wait takes few requests, and its end is noticed within a tenth of its length.

    :param job_ids: The jobs.
    :param started_at: When the wait began, in seconds since the epoch: a wall-clock time, which means the
        same after a restart of the triggerer.
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
        self._polls = Polls(lambda: self.pending, time.time)

    @property
    def pending(self) -> list[str]:
        """The jobs that are not known to be finished."""
        return [job_id for job_id in self.job_ids if job_id not in self.outcomes]

    def poll(self, client: ImportClient, job_id: str) -> FullStoryError | None:
        """
        Poll a job, and return the failure if there is one that may pass.

        :raises FullStoryError: If polling again is no use.
        """
        result = self._polls.poll(client, job_id, self._started_at)
        self._note_outcome(job_id, result)
        return result if isinstance(result, FullStoryError) else None

    def note(self, job_id: str | None, result: PollResult, *, now: float) -> str | None:
        """
        Note the result of a poll, and return a line for the log if it is an unknown status; see ``Polls``.

        :raises FullStoryError: The same failure, if polling again is no use.
        """
        line = self._polls.note(job_id, result, age=now - self._started_at)
        self._note_outcome(job_id, result)
        return line

    def _note_outcome(self, job_id: str | None, result: PollResult) -> None:
        if job_id is not None and not isinstance(result, FullStoryError) and result.is_finished:
            self.outcomes[job_id] = JobOutcome.of(job_id, result)

    def pause(self, now: float) -> float:
        """
        Return the seconds until the next poll.

        :raises FullStoryTimeoutError: If the deadline has passed.
        """
        if now >= self._deadline:
            raise FullStoryTimeoutError(
                f"The import did not finish within {self._deadline - self._started_at:,.0f} s.\n"
                + still_running(self.pending)
            )
        seconds = max(self._poll_interval, _SHARE_OF_AGE * (now - self._started_at))
        # Many waits that began together should not poll together.
        seconds *= random.uniform(0.9, 1.0)  # noqa: S311 - Spreads load, guards nothing.
        return min(max(seconds, self._polls.pause), self._seconds_left(now))

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
