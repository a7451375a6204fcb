"""
When to look at jobs that FullStory works on, and when to stop looking.

No I/O: the operator looks with one hook, the trigger with the other, and both follow this.
"""

from __future__ import annotations

import dataclasses
import math
import random
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_fullstory.api.protocol import retry_seconds
from airflow_provider_fullstory.exceptions import (
    FullStoryError,
    FullStoryNotFoundError,
    FullStoryRateLimitError,
    FullStoryTimeoutError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_fullstory.api.models import JobStatus

#: Rounds in a row that may fail in a passing way: with growing pauses, ten minutes or so.
MAX_FAILED_ROUNDS: Final = 20
_SHARE_OF_AGE: Final = 0.1
_JOBS_TOLD_ALONE: Final = 20


@dataclasses.dataclass(frozen=True, slots=True)
class JobOutcome:
    """
    What became of a job.

    :param job_id: Its id.
    :param status: FullStory's word for it; the counts say more.
    :param imports: Records that are in FullStory.
    :param errors: Records that FullStory refused.
    """

    job_id: str
    status: str
    imports: int
    errors: int


class JobWatch:
    """
    Follow jobs until all are finished.

    Jobs are looked at after ``poll_interval`` seconds at first, then after a tenth of the time that has
    passed, so a long wait takes few requests, and its end is noticed within a tenth of its length.

    :param job_ids: The jobs.
    :param started_at: When the wait began, in seconds since the epoch: a wall-clock time, since it has to
        mean the same after a restart of the triggerer.
    :param poll_interval: Shortest time between two looks, in seconds.
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
        self._failed_rounds = self._faults = 0
        self._failure: FullStoryError | None = None

    @property
    def pending(self) -> list[str]:
        """The jobs that are not known to be finished."""
        return [job_id for job_id in self.job_ids if job_id not in self.outcomes]

    def saw(self, job_id: str, status: JobStatus) -> None:
        """
        Take note of a job's status.

        :param job_id: The job that was asked for.
        :param status: FullStory's answer.
        """
        self._failed_rounds = self._faults = 0
        self._failure = None
        if status.is_finished:
            self.outcomes[job_id] = JobOutcome(job_id, status.job.status.value, status.imports, status.errors)

    def missed(self, error: FullStoryError) -> None:
        """
        Take note of a look that failed.

        :param error: What it failed with.
        :raises FullStoryError: The same error, where looking again is no use.
        """
        self._failed_rounds += 1
        # Others may keep FullStory busy for long: that is no reason to give up before the deadline.
        self._faults += not isinstance(error, FullStoryRateLimitError)
        self._failure = error
        if isinstance(error, FullStoryNotFoundError):
            error.add("FullStory accepted its records, so they may well have been imported.")
            raise error
        if not error.is_transient or self._faults >= MAX_FAILED_ROUNDS:
            error.add(f"{self._failed_rounds} looks in a row failed. {still_running(self.pending)}")
            raise error

    def pause(self, now: float) -> float:
        """
        Return the seconds until the next look.

        :param now: Seconds since the epoch.
        :raises FullStoryTimeoutError: Where the deadline has passed.
        """
        if now >= self._deadline:
            raise FullStoryTimeoutError(
                f"The import did not finish within {self._deadline - self._started_at:.0f} s. "
                + still_running(self.pending)
            )
        seconds = max(self._poll_interval, _SHARE_OF_AGE * (now - self._started_at))
        # Many waits that began together should not look together.
        seconds *= random.uniform(0.9, 1.0)  # noqa: S311 - Spreads load, guards nothing.
        if self._failure:
            seconds = max(seconds, retry_seconds(self._failure, self._failed_rounds))
        return min(seconds, self._deadline - now)

    def as_event(self) -> list[dict[str, Any]]:
        """Return the outcomes in a form that a trigger's event can carry."""
        return [
            dataclasses.asdict(self.outcomes[job_id]) for job_id in self.job_ids if job_id in self.outcomes
        ]


def finished(outcome: JobOutcome, number: int, jobs: int) -> str | None:
    """
    Return a line about a job that has just finished, None where enough was said.

    Of many jobs, the first are told one by one, then only the 40th, the 80th and so on.

    :param outcome: What became of it.
    :param number: How many jobs are finished now.
    :param jobs: How many there are.
    """
    if number > _JOBS_TOLD_ALONE and math.log2(number / _JOBS_TOLD_ALONE) % 1:
        return None
    return (
        f"Job {outcome.job_id} is finished: {outcome.imports} records imported, {outcome.errors} rejected "
        f"({number} of {jobs} jobs)."
    )


def still_running(job_ids: Sequence[str]) -> str:
    """
    Return a sentence about jobs that go on without anybody waiting.

    :param job_ids: The jobs.
    """
    return (
        f"FullStory may still be working on {len(job_ids)} of its jobs, and cannot cancel them: "
        f"{some(job_ids)}."
    )


def some(names: Sequence[str], most: int = 10) -> str:
    """
    Return a list for a message, cut where it is too long to read.

    :param names: What to list.
    :param most: How many at most.
    """
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
