"""
Room in FullStory: what is sent and unfinished stays within limits, and a job that ends makes room at once.

Polls jobs only while a batch waits.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Final, Protocol

from airflow_provider_fullstory.batch_import.sending.forecast import Forecast, RunningJob
from airflow_provider_fullstory.batch_import.waiting.outcomes import JobOutcome
from airflow_provider_fullstory.batch_import.waiting.polling import PollFailures, UnknownStatuses
from airflow_provider_fullstory.exceptions import FullStoryError, FullStoryKilledError
from airflow_provider_fullstory.text import plural

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_fullstory.api.jobs import JobStatus, Resource

#: Unfinished batches of an organization at which FullStory answers 429, as it does at 500,000 records
#: (developer.fullstory.com/server/events/create-batch-events-import-job).
MAX_OUTSTANDING_BATCHES: Final = 200
_SECONDS_BETWEEN_LINES: Final = 60.0
#: Of ``poll_interval``: with many jobs due at once, looks still come one by one.
_SHARE_BETWEEN_LOOKS: Final = 0.025

log = logging.getLogger(__name__)


class JobReader(Protocol):
    """The part of a hook that looks at jobs."""

    def get_job_status(self, resource: Resource | str, job_id: str) -> JobStatus:
        """Return how far a job is."""


class Capacity:
    """
    Keep account of what is unfinished in FullStory, and wait until a batch has room.

    One thread waits for room and takes it; any may tell what became of it.

    :param jobs: Looks at jobs. It need not try again, since this decides when to look again.
    :param resource: What the batches hold.
    :param max_records: Records that may be sent and unfinished.
    :param poll_interval: Shortest time between two looks at a job of which nothing is known, in seconds.
    :param on_finished: Called once for each job that is found finished.
    """

    def __init__(
        self,
        jobs: JobReader,
        resource: Resource,
        *,
        max_records: int,
        poll_interval: float,
        on_finished: Callable[[JobOutcome], None],
    ) -> None:
        self._jobs = jobs
        self._resource = resource
        self._max_records = max_records
        self._on_finished = on_finished
        self._forecast = Forecast(poll_interval)
        self._seconds_between_looks = poll_interval * _SHARE_BETWEEN_LOOKS
        #: Reentrant, since a signal handler may ask what runs.
        self._changed = threading.Condition(threading.RLock())
        self._running: dict[str, RunningJob] = {}
        #: Records of each batch that is being sent, as far as no job has them.
        self._being_sent: dict[str, int] = {}
        self._is_closed = False
        self._is_waited_for = False
        self._no_look_before = self._next_line_at = 0.0
        self._failures = PollFailures()
        self._unknown = UnknownStatuses()

    @property
    def running(self) -> list[str]:
        """The jobs that are not known to be finished."""
        with self._changed:
            return list(self._running)

    @property
    def is_waited_for(self) -> bool:
        """Whether a batch waits for room."""
        return self._is_waited_for

    def wait(self, records: int) -> None:
        """
        Wait until FullStory has finished so much that a batch may be sent.

        :param records: How many records it holds.
        :raises FullStoryError: Where looking at a job is no use.
        :raises FullStoryKilledError: After ``close``.
        """
        while (job := self._worth_a_look(records)) is not None:
            self._look(job)

    def take(self, name: str, records: int) -> None:
        """
        Count a batch that is about to be sent.

        :param name: Its place in the import.
        :param records: How many records it holds.
        """
        with self._changed:
            self._being_sent[name] = records

    def accepted(self, job: RunningJob, name: str | None = None) -> None:
        """
        Count a job, in the place of what was sent.

        :param job: The job.
        :param name: The batch that took room for it, None where an earlier try has sent it.
        """
        with self._changed:
            self._running[job.job_id] = job
            if name is not None:
                self._being_sent[name] -= job.records
            self._changed.notify()

    def sent(self, name: str) -> None:
        """
        Count a batch no longer as being sent: its jobs count.

        :param name: Its place in the import.
        """
        with self._changed:
            self._being_sent.pop(name, None)
            self._changed.notify()

    def close(self) -> None:
        """End the wait."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()

    def _worth_a_look(self, records: int) -> RunningJob | None:
        """Wait until there is room, or a job may have finished; None tells that there is room."""
        with self._changed:
            while True:
                self._is_waited_for = not self._has_room(records)
                if not self._is_waited_for:
                    return None
                if self._is_closed:
                    raise FullStoryKilledError("The import ended before this batch had room.")
                self._say()
                pause = _SECONDS_BETWEEN_LINES
                if (look := self._forecast.next_look(self._running.values())) is not None:
                    at, job = look
                    pause = min(max(at, self._no_look_before) - time.monotonic(), pause)
                    if pause <= 0:
                        return job
                self._changed.wait(pause)

    def _has_room(self, records: int) -> bool:
        if not self._running and not self._being_sent:
            return True
        batches = len(self._running) + len(self._being_sent)
        return self._unfinished + records <= self._max_records and batches < MAX_OUTSTANDING_BATCHES

    @property
    def _unfinished(self) -> int:
        """Records that were sent, or are being sent, and are not known to be finished."""
        with self._changed:
            return sum(job.records for job in self._running.values()) + sum(self._being_sent.values())

    def _look(self, job: RunningJob) -> None:
        try:
            status = self._jobs.get_job_status(self._resource, job.job_id)
        except FullStoryError as error:
            self._missed(job, error)
            return
        now = time.monotonic()
        self._failures.forget(job.job_id)
        self._no_look_before = now + self._seconds_between_looks
        self._forecast.saw(job, status, now)
        if line := self._unknown.line(job.job_id, status):
            log.warning("%s", line)
        if status.is_finished:
            with self._changed:
                del self._running[job.job_id]
            self._on_finished(JobOutcome.of(job.job_id, status))

    def _missed(self, job: RunningJob, error: FullStoryError) -> None:
        """Put off the next poll, for as long as it takes where FullStory has only too much to do."""
        now = time.monotonic()
        self._failures.add(error, job.job_id, age=now - job.accepted_at, running=self.running)
        self._no_look_before = now + self._failures.seconds
        self._say(error)

    def _say(self, error: FullStoryError | None = None) -> None:
        """Say now and then what is being waited for."""
        if (now := time.monotonic()) < self._next_line_at:
            return
        self._next_line_at = now + _SECONDS_BETWEEN_LINES
        log.info(
            "Waiting for room: %s not known to be finished, and %s may be unfinished.%s",
            f"{plural(self._unfinished, 'record')} {'is' if self._unfinished == 1 else 'are'}",
            f"{self._max_records:,}",
            f" {error}" if error else "",
        )
