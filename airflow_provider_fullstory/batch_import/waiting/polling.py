"""How jobs are polled, which failures pass, and which end the wait."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, TypeAlias

from airflow_provider_fullstory.api.protocol import retry_seconds
from airflow_provider_fullstory.api.quoting import quoted
from airflow_provider_fullstory.batch_import.waiting.outcomes import still_running
from airflow_provider_fullstory.exceptions import (
    FullStoryError,
    FullStoryMissingConnectionError,
    FullStoryNotFoundError,
    FullStoryProtocolError,
    FullStoryRateLimitError,
)
from airflow_provider_fullstory.text import plural

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_provider_fullstory.api.jobs import JobStatus
    from airflow_provider_fullstory.batch_import.client import ImportClient

#: Polls of a job in a row that may fail in a passing way: with growing pauses, ten minutes or so.
MAX_FAILED_POLLS: Final = 20
#: Seconds for which FullStory may not find a job that it has just accepted.
YOUNG_SECONDS: Final = 60.0
_PASSING: Final = (FullStoryProtocolError, FullStoryNotFoundError, FullStoryMissingConnectionError)
_MOST_UNKNOWN_STATUSES: Final = 5

#: What a poll gives: the status, or what it failed with.
PollResult: TypeAlias = "JobStatus | FullStoryError"

log = logging.getLogger(__name__)


class Polls:
    """
    Poll jobs, tolerate failures that pass, and log statuses that are not documented.

    Failures are counted in a row, for each job, so each wait has its own.

    :param running: Returns the jobs that are not known to be finished.
    :param clock: The clock on which jobs were accepted, in seconds.
    """

    def __init__(self, running: Callable[[], Sequence[str]], clock: Callable[[], float]) -> None:
        self._running = running
        self._clock = clock
        self._in_a_row: dict[str | None, int] = {}
        self._counted: dict[str | None, int] = {}
        self._last_failure: FullStoryError | None = None
        self._unknown_statuses: set[str] = set()

    def poll(self, client: ImportClient, job_id: str, accepted_at: float) -> PollResult:
        """
        Return the status of a job, or the failure if it may pass.

        :param client: Reads the status.
        :param job_id: The job.
        :param accepted_at: When FullStory accepted the job, or when the wait for it began.
        :raises FullStoryError: If polling again is no use.
        """
        result = read_status(client, job_id)
        if line := self.note(job_id, result, age=self._clock() - accepted_at):
            log.warning("%s", line)
        return result

    def note(self, job_id: str | None, result: PollResult, *, age: float) -> str | None:
        """
        Note what a poll gave, and return a line for the log if it is a status seen for the first time.

        :param job_id: The job; None if none could be polled.
        :param result: The status, or what the poll failed with.
        :param age: Seconds since FullStory accepted the job, or since the wait for it began.
        :raises FullStoryError: The same failure, if polling again is no use.
        """
        if isinstance(result, FullStoryError):
            self._count(job_id, result, age)
            return None
        self._forget_failures(job_id)
        return None if job_id is None else self._unknown_status(job_id, result)

    @property
    def pause(self) -> float:
        """Seconds before the next poll that the failures ask for, 0 without any."""
        if self._last_failure is None:
            return 0.0
        return retry_seconds(self._last_failure, max(self._in_a_row.values()))

    def _count(self, job_id: str | None, error: FullStoryError, age: float) -> None:
        self._last_failure = error
        self._in_a_row[job_id] = self._in_a_row.get(job_id, 0) + 1
        # Others may keep FullStory busy for long: that is no reason to give up before the deadline.
        self._counted[job_id] = self._counted.get(job_id, 0) + (
            not isinstance(error, FullStoryRateLimitError)
        )
        if is_lost(error, age):
            error.add("FullStory accepted its records, so they may well have been imported.")
            raise error
        if not is_passing(error) or self._counted[job_id] >= MAX_FAILED_POLLS:
            polls = plural(self._in_a_row[job_id], "poll")
            error.add(f"{polls} in a row failed. {still_running(self._running())}")
            raise error

    def _forget_failures(self, job_id: str | None) -> None:
        for failures in (self._in_a_row, self._counted):
            # Failures of no single job, such as those of the connection's look-up, are over as well.
            failures.pop(job_id, None)
            failures.pop(None, None)
        if not self._in_a_row:
            self._last_failure = None

    def _unknown_status(self, job_id: str, status: JobStatus) -> str | None:
        word = status.job.status
        known = self._unknown_statuses
        if status.is_documented or word in known or len(known) >= _MOST_UNKNOWN_STATUSES:
            return None
        known.add(word)
        said = f"an unknown status, {quoted(word, longest=100)!r}" if word else "no status"
        return f"FullStory gives {said}, for job {job_id}. It is polled until it is finished, or time is up."


def read_status(client: ImportClient, job_id: str) -> PollResult:
    """Return the status of a job, or what reading it failed with."""
    try:
        return client.get_job_status(job_id)
    except FullStoryError as error:
        return error


def is_lost(error: FullStoryError, age: float) -> bool:
    """
    Return whether FullStory no longer knows a job that it has accepted.

    :param error: What polling failed with.
    :param age: Seconds since FullStory accepted the job.
    """
    return isinstance(error, FullStoryNotFoundError) and age >= YOUNG_SECONDS


def is_passing(error: FullStoryError) -> bool:
    """Return whether polling may work later: the jobs continue, whatever the answer to a poll."""
    # A job that was just accepted may not be found yet, proxies answer with pages of their own, and Airflow
    # says that there is no connection if a secrets backend fails.
    return error.is_transient or isinstance(error, _PASSING)
