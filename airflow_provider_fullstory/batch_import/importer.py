"""
The engine of an import: keeps uploads going within FullStory's limits, and learns what became of each job.

It knows an API client, not where it comes from; the caller waits as it likes.
"""

from __future__ import annotations

import logging
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from airflow_provider_fullstory.batch_import.waiting import JobWatch, some
from airflow_provider_fullstory.exceptions import (
    FullStoryBodyTooLargeError,
    FullStoryError,
    FullStoryInputError,
    FullStoryTimeoutError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from airflow_provider_fullstory.api.models import Job, JobStatus, Resource
    from airflow_provider_fullstory.batch_import.batches import Batch
    from airflow_provider_fullstory.batch_import.waiting import JobOutcome

#: Unfinished batches of an organization at which FullStory answers 429, as it does at 500,000 records
#: (developer.fullstory.com/server/events/create-batch-events-import-job).
MAX_OUTSTANDING_BATCHES: Final = 200
MAX_PARALLEL_UPLOADS: Final = 16
_SECONDS_BETWEEN_PROGRESS: Final = 10.0

log = logging.getLogger(__name__)


class Uploader(Protocol):
    """The part of a hook that sends batches; used from several threads at once."""

    def create_import(self, resource: Resource | str, body: bytes, idempotency_key: str) -> Job:
        """Start an import of a batch."""


class JobReader(Protocol):
    """The part of a hook that looks at jobs."""

    def get_job_status(self, resource: Resource | str, job_id: str) -> JobStatus:
        """Return how far a job is."""


class Submission(NamedTuple):
    """A batch that FullStory accepted."""

    ordinal: int
    at: float
    job_id: str
    records: int


class Importer:
    """
    Send batches and follow their jobs.

    :param uploader: Sends batches, again where that can help.
    :param jobs: Looks at jobs. It need not try again, since the importer decides when to look again.
    :param resource: What the batches hold.
    :param max_parallel_uploads: Batches that are uploaded, and held in memory, at the same time: 1 to 16.
    :param max_outstanding_records: Records that may be sent and unfinished; further batches wait.
    :param poll_interval: Shortest time between two looks at a job, in seconds.
    :param deadline: When to give up, in seconds since the epoch.
    """

    def __init__(
        self,
        uploader: Uploader,
        jobs: JobReader,
        resource: Resource,
        *,
        max_parallel_uploads: int,
        max_outstanding_records: int,
        poll_interval: float,
        deadline: float,
    ) -> None:
        if not 1 <= max_parallel_uploads <= MAX_PARALLEL_UPLOADS:
            raise FullStoryInputError(
                f"max_parallel_uploads is {max_parallel_uploads}; it must be 1 to {MAX_PARALLEL_UPLOADS}."
            )
        if max_outstanding_records < 1:
            raise FullStoryInputError(
                f"max_outstanding_records is {max_outstanding_records}; it must be above 0."
            )
        self._uploader = uploader
        self._jobs = jobs
        self._resource = resource
        self._max_parallel_uploads = max_parallel_uploads
        self._max_outstanding_records = max_outstanding_records
        self._poll_interval = poll_interval
        self._deadline = deadline
        self._submissions: list[Submission] = []
        self._unfinished: dict[str, int] = {}
        self._uploads: set[Future[None]] = set()
        self._outstanding = 0
        self._progress_at = time.monotonic()

    def submit(self, batches: Iterable[Batch]) -> list[Submission]:
        """
        Send all batches, and return what FullStory made of them, in their order.

        :param batches: The batches; taken one by one, as uploads get done.
        :raises FullStoryError: Where a batch or the source fails, or time is up; the message says what
            FullStory already has.
        """
        pool = ThreadPoolExecutor(self._max_parallel_uploads, thread_name_prefix="fullstory-upload")
        try:
            for batch in batches:
                self._check_time(batch)
                self._make_room(batch.records)
                self._outstanding += batch.records
                self._uploads.add(pool.submit(self._upload, batch))
            while self._uploads:
                self._collect()
        except BaseException as error:
            self._stop(pool, error)
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        return sorted(self._submissions)

    def wait(self, job_ids: Sequence[str]) -> list[JobOutcome]:
        """
        Wait until all jobs are finished.

        :param job_ids: The jobs.
        :raises FullStoryTimeoutError: At the deadline, naming the jobs that still run.
        """
        watch = self._watch(job_ids)
        self._follow(watch, lambda: not watch.pending)
        return list(watch.outcomes.values())

    def look(self, job_ids: Sequence[str]) -> list[JobOutcome] | None:
        """
        Return what became of the jobs, None where one is still processed or cannot be asked for now.

        :param job_ids: The jobs.
        """
        watch = self._watch(job_ids)
        try:
            for job_id in watch.job_ids:
                watch.saw(job_id, self._jobs.get_job_status(self._resource, job_id))
                if job_id not in watch.outcomes:
                    return None
        except FullStoryError as error:
            if not error.is_transient:
                raise
            log.warning("%s", error)
            return None
        return list(watch.outcomes.values())

    def _watch(self, job_ids: Sequence[str], started_at: float | None = None) -> JobWatch:
        return JobWatch(
            job_ids,
            started_at=time.time() if started_at is None else started_at,
            poll_interval=self._poll_interval,
            deadline=self._deadline,
        )

    def _check_time(self, batch: Batch) -> None:
        if time.time() >= self._deadline:
            raise FullStoryTimeoutError(f"Time was up before batch {batch.ordinal} could be sent.")

    def _make_room(self, records: int) -> None:
        """Wait until a batch may be sent: an upload slot is free, and FullStory has worked off enough."""
        while len(self._uploads) >= self._max_parallel_uploads:
            self._collect()
        while not self._has_room(records):
            if self._uploads:
                self._collect()
            else:
                self._work_off(records)

    def _has_room(self, records: int) -> bool:
        if not self._outstanding:
            return True
        return (
            self._outstanding + records <= self._max_outstanding_records
            and len(self._unfinished) + len(self._uploads) < MAX_OUTSTANDING_BATCHES
        )

    def _collect(self) -> None:
        done, _ = wait(self._uploads, return_when=FIRST_COMPLETED)
        for upload in done:
            self._uploads.remove(upload)
            upload.result()
        self._log_progress()

    def _upload(self, batch: Batch) -> None:
        """Send a batch; runs in the threads of the pool."""
        try:
            job = self._uploader.create_import(self._resource, batch.body, batch.idempotency_key)
        except FullStoryBodyTooLargeError as error:
            if batch.records == 1:
                error.add(f"This was batch {batch.ordinal} (one record of it).")
                raise
            log.warning(
                "FullStory finds the %d bytes of batch %d too large; it is sent in two halves. Set a smaller "
                "max_batch_bytes.",
                len(batch.body),
                batch.ordinal,
            )
            for half in batch.split():
                self._upload(half)
        except FullStoryError as error:
            error.add(f"This was batch {batch.ordinal} ({batch.records} records).")
            raise
        else:
            # Noted at once, since what follows may fail; appending is safe among threads.
            self._submissions.append(Submission(batch.ordinal, time.time(), job.id, batch.records))
            self._unfinished[job.id] = batch.records

    def _work_off(self, records: int) -> None:
        """Wait until FullStory has finished so many jobs that a batch may be sent."""
        log.info("%d records are unfinished in FullStory; more are sent as it finishes.", self._outstanding)
        unfinished = [entry for entry in self._submissions if entry.job_id in self._unfinished]
        watch = self._watch([entry.job_id for entry in unfinished], min(entry.at for entry in unfinished))

        def has_room() -> bool:
            for job_id in watch.outcomes:
                self._outstanding -= self._unfinished.pop(job_id, 0)
            return self._has_room(records)

        self._follow(watch, has_room)

    def _follow(self, watch: JobWatch, is_enough: Callable[[], bool]) -> None:
        while not is_enough():
            for job_id in watch.pending:
                try:
                    watch.saw(job_id, self._jobs.get_job_status(self._resource, job_id))
                except FullStoryError as error:
                    watch.missed(error)
                    break
                if is_enough():
                    return
            time.sleep(watch.pause(time.time()))

    def _stop(self, pool: ThreadPoolExecutor, error: BaseException) -> None:
        """Let uploads that are under way finish, so that the message can say what FullStory has."""
        is_failure = isinstance(error, Exception)
        pool.shutdown(wait=is_failure, cancel_futures=not is_failure)
        accepted = (
            f"FullStory has accepted {sum(entry.records for entry in self._submissions)} records in "
            f"{len(self._submissions)} batches (jobs: "
            f"{some([entry.job_id for entry in sorted(self._submissions)]) or 'none'}). A retry sends equal "
            "batches under the same idempotency keys, and for 24 hours FullStory takes none of them twice."
        )
        if isinstance(error, FullStoryError):
            error.add(accepted)
        else:
            log.error("The import stopped. %s", accepted)

    def _log_progress(self) -> None:
        now = time.monotonic()
        if now - self._progress_at >= _SECONDS_BETWEEN_PROGRESS:
            self._progress_at = now
            log.info(
                "FullStory has accepted %d records in %d batches.",
                sum(submission.records for submission in self._submissions),
                len(self._submissions),
            )
