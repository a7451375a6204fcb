"""Which failures of polling a job pass, and which end the wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

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
    from collections.abc import Sequence

    from airflow_provider_fullstory.api.jobs import JobStatus

#: Polls of a job in a row that may fail in a passing way: with growing pauses, ten minutes or so.
MAX_FAILED_POLLS: Final = 20


#: Seconds for which FullStory may not find a job that it has just accepted.
YOUNG_SECONDS: Final = 60.0


_PASSING: Final = (FullStoryProtocolError, FullStoryNotFoundError, FullStoryMissingConnectionError)


_MOST_WORDS: Final = 5


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
