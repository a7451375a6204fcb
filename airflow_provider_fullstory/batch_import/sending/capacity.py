"""
Capacity in FullStory: unfinished records and jobs stay within limits, and each job that ends frees capacity.

Jobs are polled only while a batch waits.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Final

from airflow_provider_fullstory.batch_import.sending.forecast import Forecast, RunningJob
from airflow_provider_fullstory.batch_import.waiting.outcomes import JobOutcome
from airflow_provider_fullstory.batch_import.waiting.polling import Polls
from airflow_provider_fullstory.exceptions import FullStoryError, FullStoryKilledError
from airflow_provider_fullstory.stopwatch import Stopwatch
from airflow_provider_fullstory.text import plural

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_fullstory.batch_import.client import ImportClient

#: Unfinished batches of an organization at which FullStory answers 429, as it does at 500,000 records
#: (developer.fullstory.com/server/events/create-batch-events-import-job).
MAX_OUTSTANDING_BATCHES: Final = 200
_SECONDS_BETWEEN_LINES: Final = 60.0
#: Share of ``poll_interval`` between two polls: many jobs that are due at once are still polled one by one.
_SHARE_BETWEEN_POLLS: Final = 0.025

log = logging.getLogger(__name__)


class Capacity:
    """
    Count what is unfinished in FullStory, and wait until there is capacity for a batch.

    One thread waits for capacity and takes it; any thread may report what became of it.

    :param client: Polls jobs.
    :param max_records: Records that may be sent and unfinished.
    :param poll_interval: Shortest time between two polls of a job while none has finished, in seconds.
    :param on_finished: Called once for each job that is found finished.
    """

    def __init__(
        self,
        client: ImportClient,
        *,
        max_records: int,
        poll_interval: float,
        on_finished: Callable[[JobOutcome], None],
    ) -> None:
        self._client = client
        self._max_records = max_records
        self._on_finished = on_finished
        self._forecast = Forecast(poll_interval)
        self._seconds_between_polls = poll_interval * _SHARE_BETWEEN_POLLS
        #: Reentrant, since a signal handler may ask which jobs run.
        self._changed = threading.Condition(threading.RLock())
        self._running: dict[str, RunningJob] = {}
        #: Records of each batch that is being sent, except those that a job has.
        self._being_sent: dict[str, int] = {}
        self._is_closed = False
        self._is_waited_for = False
        self._no_poll_before = self._next_line_at = 0.0
        self._polls = Polls(lambda: self.running, time.monotonic)
        self._waits = Stopwatch()

    @property
    def running(self) -> list[str]:
        """The jobs that are not known to be finished."""
        with self._changed:
            return list(self._running)

    @property
    def is_waited_for(self) -> bool:
        """Whether a batch waits for capacity."""
        return self._is_waited_for

    @property
    def seconds_waited(self) -> float:
        """The seconds in which a batch waited for capacity."""
        return self._waits.seconds

    def accepted_at(self) -> dict[str, float]:
        """Return when FullStory accepted each job that is not known to be finished, on a clock of seconds."""
        with self._changed:
            return {job.job_id: job.accepted_at for job in self._running.values()}

    def wait(self, records: int) -> None:
        """
        Wait until FullStory has finished so much that a batch may be sent.

        :raises FullStoryError: If polling a job is no use.
        :raises FullStoryKilledError: After ``close``.
        """
        with self._waits.running():
            while (job := self._next_poll(records)) is not None:
                self._poll(job)

    def take(self, name: str, records: int) -> None:
        """Count a batch that is about to be sent."""
        with self._changed:
            self._being_sent[name] = records

    def accepted(self, job: RunningJob, name: str | None = None) -> None:
        """
        Count a job instead of the records that were sent.

        :param job: The job.
        :param name: The batch that took capacity for it, None if an earlier try has sent it.
        """
        with self._changed:
            self._running[job.job_id] = job
            if name is not None:
                self._being_sent[name] -= job.records
            self._changed.notify()

    def sent(self, name: str) -> None:
        """Stop counting a batch as being sent: its jobs count."""
        with self._changed:
            self._being_sent.pop(name, None)
            self._changed.notify()

    def close(self) -> None:
        """End the wait."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()

    def _next_poll(self, records: int) -> RunningJob | None:
        """Wait until a job may have finished and return it, or return None once there is capacity."""
        with self._changed:
            while True:
                self._is_waited_for = not self._has_capacity(records)
                if not self._is_waited_for:
                    return None
                if self._is_closed:
                    raise FullStoryKilledError("The import ended before there was capacity for this batch.")
                self._log_wait()
                pause = _SECONDS_BETWEEN_LINES
                if (poll := self._forecast.next_poll(self._running.values())) is not None:
                    at, job = poll
                    pause = min(max(at, self._no_poll_before) - time.monotonic(), pause)
                    if pause <= 0:
                        return job
                self._changed.wait(pause)

    def _has_capacity(self, records: int) -> bool:
        if not self._running and not self._being_sent:
            return True
        batches = len(self._running) + len(self._being_sent)
        return self._unfinished + records <= self._max_records and batches < MAX_OUTSTANDING_BATCHES

    @property
    def _unfinished(self) -> int:
        """Records that were sent, or are being sent, and are not known to be finished."""
        with self._changed:
            return sum(job.records for job in self._running.values()) + sum(self._being_sent.values())

    def _poll(self, job: RunningJob) -> None:
        result = self._polls.poll(self._client, job.job_id, job.accepted_at)
        now = time.monotonic()
        if isinstance(result, FullStoryError):
            self._no_poll_before = now + self._polls.pause
            self._log_wait(result)
            return
        self._no_poll_before = now + self._seconds_between_polls
        self._forecast.note(job, result, now)
        if result.is_finished:
            with self._changed:
                del self._running[job.job_id]
            self._on_finished(JobOutcome.of(job.job_id, result))

    def _log_wait(self, error: FullStoryError | None = None) -> None:
        """Log now and then what is being waited for."""
        if (now := time.monotonic()) < self._next_line_at:
            return
        self._next_line_at = now + _SECONDS_BETWEEN_LINES
        log.info(
            "Waiting for capacity: %s not known to be finished, and %s may be unfinished.%s",
            f"{plural(self._unfinished, 'record')} {'is' if self._unfinished == 1 else 'are'}",
            f"{self._max_records:,}",
            f" {error}" if error else "",
        )
