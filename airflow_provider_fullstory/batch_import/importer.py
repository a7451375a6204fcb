"""
The engine of an import: keeps uploads going within FullStory's limits, and learns what became of each job.

It knows an API client, not where it comes from; the caller waits as it likes.
"""

from __future__ import annotations

import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from airflow_provider_fullstory.batch_import.waiting import JobWatch, finished, some, still_running
from airflow_provider_fullstory.exceptions import (
    FullStoryAmbiguousError,
    FullStoryBodyTooLargeError,
    FullStoryError,
    FullStoryInputError,
    FullStoryKilledError,
    FullStoryNotFoundError,
    FullStoryServerError,
    FullStorySourceChangedError,
    FullStoryTimeoutError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from airflow_provider_fullstory.api.models import Job, JobStatus, Resource
    from airflow_provider_fullstory.api.protocol import Content
    from airflow_provider_fullstory.batch_import.batches import Batch
    from airflow_provider_fullstory.batch_import.ledger import Entry, Ledger
    from airflow_provider_fullstory.batch_import.waiting import JobOutcome

#: Unfinished batches of an organization at which FullStory answers 429, as it does at 500,000 records
#: (developer.fullstory.com/server/events/create-batch-events-import-job).
MAX_OUTSTANDING_BATCHES: Final = 200
MAX_PARALLEL_UPLOADS: Final = 16
_SECONDS_BETWEEN_PROGRESS: Final = 10.0
#: How long uploads that are under way may hold up an import that has failed.
_SECONDS_TO_FINISH: Final = 60.0
#: A signal that another thread gets does not wake the main thread, which alone runs Python's handlers.
_SECONDS_WITHOUT_SIGNALS: Final = 1.0
#: Failures that no retry mends.
_FINAL: Final = (FullStoryInputError, FullStorySourceChangedError, FullStoryAmbiguousError)

log = logging.getLogger(__name__)


class Uploader(Protocol):
    """The part of a hook that sends batches; used from several threads at once."""

    def create_import(
        self,
        resource: Resource | str,
        body: bytes | Content,
        idempotency_key: str,
        *,
        sent_before: float | None = None,
    ) -> Job:
        """Start an import of a batch."""


class JobReader(Protocol):
    """The part of a hook that looks at jobs."""

    def get_job_status(self, resource: Resource | str, job_id: str) -> JobStatus:
        """Return how far a job is."""


class Submission(NamedTuple):
    """A batch that FullStory accepted."""

    place: tuple[int, ...]
    job_id: str
    records: int
    at: float

    @property
    def ordinal(self) -> int:
        """The batch's number in the import."""
        return self.place[0]

    @property
    def name(self) -> str:
        """The batch's place, as text."""
        return ".".join(map(str, self.place))


class Importer:
    """
    Send batches and follow their jobs.

    :param ledger: Knows what earlier tries have sent, and learns what this one sends.
    :param uploader: Sends batches, again where that can help.
    :param jobs: Looks at jobs. It need not try again, since the importer decides when to look again.
    :param resource: What the batches hold.
    :param max_parallel_uploads: Batches that are uploaded at the same time: 1 to 16.
    :param max_outstanding_records: Records that may be sent and unfinished; further batches wait.
    :param poll_interval: Shortest time between two looks at a job, in seconds.
    :param deadline: When to give up, in seconds since the epoch.
    """

    def __init__(
        self,
        ledger: Ledger,
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
        self._ledger = ledger
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
        #: Uploads as they get done; None tells to stop. A signal handler may put into this kind of queue.
        self._news: SimpleQueue[Future[None] | None] = SimpleQueue()
        self._followed: JobWatch | None = None
        self._outstanding = 0
        self._bytes = 0
        self._begun_at = self._progress_at = time.monotonic()
        self._told: set[str] = set()

    def submit(self, batches: Iterable[Batch]) -> list[Submission]:
        """
        Send all batches that earlier tries did not, and return what FullStory made of all, in their order.

        :param batches: The batches; taken one by one, as uploads get done.
        :raises FullStoryError: Where a batch or the source fails, or time is up; the message says what
            FullStory already has.
        """
        pool = ThreadPoolExecutor(self._max_parallel_uploads, thread_name_prefix="fullstory-upload")
        try:
            last = 0
            for batch in self.watched(batches):
                self._take(pool, batch)
                last = batch.ordinal
            self._ledger.check_end(last)
            while self._uploads:
                self._hear(self._next_news())
        except BaseException as error:
            self._stop(pool, error)
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        return sorted(self._submissions)

    def watched(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """
        Yield batches as long as there is time, and nobody told to stop.

        :param batches: The batches.
        :raises FullStoryTimeoutError: At the deadline.
        :raises FullStoryKilledError: After ``stop``.
        """
        for batch in batches:
            if time.time() >= self._deadline:
                raise FullStoryTimeoutError(f"Time was up before batch {batch.name} could be sent.")
            self._catch_up()
            yield batch

    def has_sent(self, name: str, digest: str) -> bool:
        """
        Tell whether an earlier try may have sent a batch.

        :param name: Its place in the import.
        :param digest: SHA-256 of its body.
        """
        return self._ledger.has(name, digest)

    def wait(self, job_ids: Sequence[str]) -> list[JobOutcome]:
        """
        Wait until all jobs are finished.

        :param job_ids: The jobs.
        :raises FullStoryTimeoutError: At the deadline, naming the jobs that still run.
        :raises FullStoryKilledError: After ``stop``, naming them as well.
        """
        watch = self._watch(job_ids)
        self._follow(watch, lambda: not watch.pending)
        # Told to end during the last look, Airflow expects no success.
        self._catch_up()
        return list(watch.outcomes.values())

    def stop(self) -> None:
        """
        End the import as soon as what is being done lets it; ``submit`` and ``wait`` then raise.

        May be called from a signal handler.
        """
        self._news.put(None)

    @property
    def left_behind(self) -> str:
        """What goes on in FullStory without anybody waiting, and what a retry does about it."""
        jobs = self._followed.pending if self._followed else list(self._unfinished)
        return (
            f"{still_running(jobs)} {self._ledger.promise}"
            if jobs
            else "No job of this try runs in FullStory."
        )

    @property
    def progress(self) -> str:
        """How far sending is, as a sentence."""
        records = sum(submission.records for submission in self._submissions)
        seconds = max(time.monotonic() - self._begun_at, 0.001)
        return (
            f"FullStory has accepted {records} records in {len(self._submissions)} batches "
            f"({self._bytes / 1e6:.1f} MB), {records / seconds:.0f} a second; {len(self._uploads)} batches "
            f"are being sent, {len(self._unfinished)} jobs are not known to be finished."
        )

    def look(self, job_ids: Sequence[str]) -> list[JobOutcome] | None:
        """
        Return what became of the jobs, None where one is still processed or cannot be asked for now.

        :param job_ids: The jobs.
        :raises FullStoryKilledError: After ``stop``.
        """
        watch = self._watch(job_ids)
        try:
            for job_id in watch.job_ids:
                watch.saw(job_id, self._jobs.get_job_status(self._resource, job_id))
                if job_id not in watch.outcomes:
                    return None
            self._tell(watch)
        except FullStoryError as error:
            if not error.is_transient:
                raise
            log.warning("%s", error)
            return None
        finally:
            self._catch_up()
        return list(watch.outcomes.values())

    def _watch(self, job_ids: Sequence[str], started_at: float | None = None) -> JobWatch:
        return JobWatch(
            job_ids,
            started_at=time.time() if started_at is None else started_at,
            poll_interval=self._poll_interval,
            deadline=self._deadline,
        )

    def _take(self, pool: ThreadPoolExecutor, batch: Batch) -> None:
        """Hand a batch over to a thread, unless FullStory has it."""
        known = self._find(batch)
        if known is not None and known.job_id:
            self._outstanding += batch.records
            self._note(batch, known.job_id)
            return
        self._make_room(batch.records)
        self._outstanding += batch.records
        if known is not None:
            # The wait for room may have taken hours, and FullStory recognizes a batch for a day.
            known = self._ledger.find(batch)
        if known is not None and known.is_split:
            upload = pool.submit(self._upload_halves, batch)
        else:
            upload = pool.submit(self._upload, batch, self._ledger.enter(batch, known))
        self._uploads.add(upload)
        upload.add_done_callback(self._news.put)

    def _find(self, batch: Batch) -> Entry | None:
        known = self._ledger.find(batch)
        return None if known is not None and self._has_vanished(known) else known

    def _has_vanished(self, entry: Entry) -> bool:
        """Tell whether a batch is to be sent again since FullStory no longer knows its job."""
        if not entry.job_id or not self._ledger.resends_ambiguous:
            return False
        try:
            self._jobs.get_job_status(self._resource, entry.job_id)
        except FullStoryNotFoundError:
            log.warning(
                "FullStory no longer knows job %s of batch %s, and nobody can know whether it has these %d "
                'records. They are sent again, since on_ambiguous="resend".',
                entry.job_id,
                entry.name,
                entry.records,
            )
            return True
        except FullStoryError as error:
            if not error.is_transient:
                raise
        return False

    def _make_room(self, records: int) -> None:
        """Wait until a batch may be sent: an upload slot is free, and FullStory has worked off enough."""
        while len(self._uploads) >= self._max_parallel_uploads:
            self._hear(self._next_news())
        while not self._has_room(records):
            if self._uploads:
                self._hear(self._next_news())
            else:
                self._work_off(records)

    def _has_room(self, records: int) -> bool:
        if not self._outstanding:
            return True
        return (
            self._outstanding + records <= self._max_outstanding_records
            and len(self._unfinished) + len(self._uploads) < MAX_OUTSTANDING_BATCHES
        )

    def _next_news(self) -> Future[None] | None:
        try:
            return self._news_within(self._deadline - time.time())
        except Empty:
            raise FullStoryTimeoutError(
                f"Time was up while {len(self._uploads)} batches were being sent."
            ) from None

    def _news_within(self, seconds: float) -> Future[None] | None:
        """Wait for news, and raise Empty where there are none."""
        end = time.monotonic() + seconds
        while True:
            left = end - time.monotonic()
            try:
                return self._news.get(timeout=min(max(left, 0.0), _SECONDS_WITHOUT_SIGNALS))
            except Empty:
                if left <= _SECONDS_WITHOUT_SIGNALS:
                    raise

    def _catch_up(self) -> None:
        while not self._news.empty():
            self._hear(self._news.get())

    def _pause(self, seconds: float) -> None:
        try:
            self._hear(self._news_within(seconds))
        except Empty:
            return

    def _hear(self, news: Future[None] | None) -> None:
        if news is None:
            raise FullStoryKilledError(f"The task was told to end. {self.left_behind}")
        self._uploads.remove(news)
        news.result()
        if time.monotonic() - self._progress_at >= _SECONDS_BETWEEN_PROGRESS:
            self._progress_at = time.monotonic()
            log.info("%s", self.progress)

    def _upload(self, batch: Batch, entry: Entry) -> None:
        """Send a batch; runs in the threads of the pool."""
        try:
            job = self._uploader.create_import(
                self._resource, batch.body, entry.idempotency_key, sent_before=entry.sent_before
            )
        except FullStoryError as error:
            # What is too large now was so before: not even a request without an answer was done.
            if isinstance(error, FullStoryBodyTooLargeError) and batch.records > 1:
                log.warning(
                    "FullStory finds the %d bytes of batch %s too large; it is sent in two halves. Set a "
                    "smaller max_batch_bytes.",
                    len(batch.body),
                    batch.name,
                )
                self._ledger.split(entry)
                self._upload_halves(batch)
                return
            if isinstance(error, FullStoryServerError):
                self._ledger.failed(entry)
            elif not error.is_ambiguous:
                self._ledger.refused(entry)
            error.add(f"This was batch {batch.name} ({batch.records} records).")
            raise
        # Noted first, since what follows may fail; appending is safe among threads.
        self._note(batch, job.id)
        self._ledger.accepted(entry, job.id)

    def _upload_halves(self, batch: Batch) -> None:
        for half in batch.split():
            known = self._find(half)
            if known is not None and known.job_id:
                self._note(half, known.job_id)
            elif known is not None and known.is_split:
                self._upload_halves(half)
            else:
                self._upload(half, self._ledger.enter(half, known))

    def _note(self, batch: Batch, job_id: str) -> None:
        self._submissions.append(Submission(batch.place, job_id, batch.records, time.time()))
        self._unfinished[job_id] = batch.records
        self._bytes += len(batch.body)

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
        self._followed = None

    def _follow(self, watch: JobWatch, is_enough: Callable[[], bool]) -> None:
        self._followed = watch
        while not is_enough():
            for job_id in watch.pending:
                self._catch_up()
                try:
                    watch.saw(job_id, self._jobs.get_job_status(self._resource, job_id))
                except FullStoryError as error:
                    watch.missed(error)
                    break
                self._tell(watch)
                if is_enough():
                    return
            self._pause(watch.pause(time.time()))

    def _tell(self, watch: JobWatch) -> None:
        """Say once of each job that it is finished."""
        for job_id in watch.outcomes.keys() - self._told:
            self._told.add(job_id)
            jobs = max(len(self._submissions), len(watch.job_ids))
            log.info("%s", finished(watch.outcomes[job_id], len(self._told), jobs))

    def _stop(self, pool: ThreadPoolExecutor, error: BaseException) -> None:
        """Let uploads that are under way finish, so that the message can say what FullStory has."""
        waits = isinstance(error, Exception) and not isinstance(
            error, (FullStoryKilledError, FullStoryTimeoutError)
        )
        pool.shutdown(wait=False, cancel_futures=not waits)
        if waits:
            self._let_uploads_finish()
        if isinstance(error, FullStoryKilledError):
            return
        jobs = some([entry.job_id for entry in sorted(self._submissions)]) or "none"
        promise = "" if isinstance(error, _FINAL) else f" {self._ledger.promise}"
        accepted = (
            f"FullStory has accepted {sum(entry.records for entry in self._submissions)} records in "
            f"{len(self._submissions)} batches (jobs: {jobs}).{promise}"
        )
        if isinstance(error, FullStoryError):
            error.add(accepted)
        else:
            log.error("The import stopped. %s", accepted)

    def _let_uploads_finish(self) -> None:
        deadline = time.monotonic() + _SECONDS_TO_FINISH
        try:
            while self._uploads:
                upload = self._news_within(deadline - time.monotonic())
                if upload is None:
                    return
                self._uploads.discard(upload)
        except Empty:
            return
