"""
When to poll jobs that FullStory works on, and when to stop.

No I/O: the operator polls with one hook, the trigger with the other, and both follow this.
"""

from __future__ import annotations

import dataclasses
import math
import random
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_fullstory.api.protocol import retry_seconds
from airflow_provider_fullstory.api.quoting import quoted
from airflow_provider_fullstory.exceptions import (
    FullStoryError,
    FullStoryMissingConnectionError,
    FullStoryNotFoundError,
    FullStoryProtocolError,
    FullStoryRateLimitError,
    FullStoryTimeoutError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_fullstory.api.models import JobStatus

#: Polls of a job in a row that may fail in a passing way: with growing pauses, ten minutes or so.
MAX_FAILED_POLLS: Final = 20
#: Seconds for which FullStory may not find a job that it has just accepted.
YOUNG_SECONDS: Final = 60.0
_PASSING: Final = (FullStoryProtocolError, FullStoryNotFoundError, FullStoryMissingConnectionError)
_SHARE_OF_AGE: Final = 0.1
_SECONDS_FOR_ANSWER: Final = 5.0
_JOBS_TOLD_ALONE: Final = 20
_MOST_WORDS: Final = 5


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

    @classmethod
    def of(cls, job_id: str, status: JobStatus) -> JobOutcome:
        """
        Return what a status says.

        :param job_id: The job that was asked for.
        :param status: FullStory's answer; final.
        """
        return cls(job_id, status.job.status, status.imports, status.errors)


class PollFailures:
    """Count how often polling failed since it last worked, and say which failure ends the wait."""

    def __init__(self) -> None:
        self._in_a_row: dict[str | None, int] = {}
        self._counted: dict[str | None, int] = {}
        self.last: FullStoryError | None = None

    def forget(self, job_id: str) -> None:
        """
        Forget the failures of a job whose status could be read.

        :param job_id: The job.
        """
        for failures in (self._in_a_row, self._counted):
            # What concerns no job alone, such as the connection's look-up, has worked as well.
            failures.pop(job_id, None)
            failures.pop(None, None)
        if not self._in_a_row:
            self.last = None

    def add(self, error: FullStoryError, job_id: str | None, *, age: float, running: Sequence[str]) -> None:
        """
        Count a failure.

        :param error: What polling failed with.
        :param job_id: The job that was asked for, None where none could be.
        :param age: Seconds since FullStory accepted the job, or since the wait for it began.
        :param running: The jobs that are not known to be finished.
        :raises FullStoryError: The same error, where polling again is no use.
        """
        self.last = error
        self._in_a_row[job_id] = self._in_a_row.get(job_id, 0) + 1
        # Others may keep FullStory busy for long: that is no reason to give up before the deadline.
        self._counted[job_id] = self._counted.get(job_id, 0) + (
            not isinstance(error, FullStoryRateLimitError)
        )
        if isinstance(error, FullStoryNotFoundError) and age >= YOUNG_SECONDS:
            error.add("FullStory accepted its records, so they may well have been imported.")
            raise error
        if not is_passing(error) or self._counted[job_id] >= MAX_FAILED_POLLS:
            error.add(f"{plural(self._in_a_row[job_id], 'poll')} in a row failed. {still_running(running)}")
            raise error

    @property
    def seconds(self) -> float:
        """How long to wait before the next poll, 0 where none has failed."""
        return retry_seconds(self.last, max(self._in_a_row.values())) if self.last else 0.0


def is_passing(error: FullStoryError) -> bool:
    """
    Return whether polling may work later: the jobs go on, whatever the answer to a question about them.

    :param error: What polling failed with.
    """
    # A job that was just accepted may not be found yet, proxies answer with pages of their own, and Airflow
    # says that there is no connection where a secrets backend fails.
    return error.is_transient or isinstance(error, _PASSING)


class UnknownStatuses:
    """Find the words for a status that FullStory's documentation does not have."""

    def __init__(self) -> None:
        self._words: set[str] = set()

    def line(self, job_id: str, status: JobStatus) -> str | None:
        """
        Return a line for the log where such a word comes for the first time.

        :param job_id: The job that was asked for.
        :param status: FullStory's answer.
        """
        word = status.job.status
        if status.is_documented or word in self._words or len(self._words) >= _MOST_WORDS:
            return None
        self._words.add(word)
        said = f"an unknown status, {quoted(word, longest=100)!r}" if word else "no status"
        return f"FullStory gives {said}, for job {job_id}. It is polled until it is finished, or time is up."


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


def plural(count: int, noun: str) -> str:
    """
    Return a number of things as words: ``1 batch``, ``2,000 batches``.

    :param count: How many.
    :param noun: What one is called.
    """
    if count == 1:
        return f"1 {noun}"
    return f"{count:,} {noun}{'es' if noun.endswith(('s', 'x', 'ch', 'sh')) else 's'}"


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
        f"Job {number:,} of {jobs:,} is finished: {outcome.imports:,} imported, {outcome.errors:,} rejected "
        f"({outcome.job_id})."
    )


def still_running(job_ids: Sequence[str]) -> str:
    """
    Return a sentence about jobs that go on without anybody waiting.

    :param job_ids: The jobs.
    """
    return (
        f"FullStory may still be working on {plural(len(job_ids), 'job')}, and cannot cancel them: "
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
