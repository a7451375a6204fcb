"""
The engine of an import: keeps uploads going within FullStory's limits, and learns what became of each job.

It knows an API client, not where it comes from; the caller waits as it likes.
"""

from __future__ import annotations

import logging
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final

from airflow_provider_fullstory.batch_import.batching.submissions import batches_of, not_again
from airflow_provider_fullstory.batch_import.sending.capacity import Capacity
from airflow_provider_fullstory.batch_import.sending.uploads import Uploads
from airflow_provider_fullstory.batch_import.waiting.job_watch import JobWatch
from airflow_provider_fullstory.batch_import.waiting.outcomes import finished, still_running
from airflow_provider_fullstory.exceptions import (
    FullStoryAmbiguousError,
    FullStoryError,
    FullStoryInputError,
    FullStoryKilledError,
    FullStoryQuotaError,
    FullStorySourceChangedError,
    FullStoryTimeoutError,
)
from airflow_provider_fullstory.text import plural, some

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from concurrent.futures import Future

    from airflow_provider_fullstory.api.jobs import Resource
    from airflow_provider_fullstory.batch_import.batching.batch import Batch
    from airflow_provider_fullstory.batch_import.batching.submissions import Submission
    from airflow_provider_fullstory.batch_import.ledger.ledger import Ledger
    from airflow_provider_fullstory.batch_import.sending.capacity import JobReader
    from airflow_provider_fullstory.batch_import.sending.uploads import Uploader
    from airflow_provider_fullstory.batch_import.waiting.outcomes import JobOutcome

MAX_PARALLEL_UPLOADS: Final = 16
_SECONDS_BETWEEN_PROGRESS: Final = 10.0
#: How long uploads that are under way may hold up an import that has failed.
_SECONDS_TO_FINISH: Final = 60.0
#: A signal that another thread gets does not wake the main thread, which alone runs Python's handlers.
_SECONDS_WITHOUT_SIGNALS: Final = 1.0
#: Failures whose messages say themselves what to set, and what clearing the task does then.
_FIXED_ELSEWHERE: Final = (FullStorySourceChangedError, FullStoryAmbiguousError)
_NOTHING: Final = "Nothing was sent in this try."

log = logging.getLogger(__name__)


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
        self._jobs = jobs
        self._resource = resource
        self._max_parallel_uploads = max_parallel_uploads
        self._poll_interval = poll_interval
        self._deadline = deadline
        self._capacity = Capacity(
            jobs,
            resource,
            max_records=max_outstanding_records,
            poll_interval=poll_interval,
            on_finished=self._tell,
        )
        self._uploads = Uploads(
            ledger, uploader, jobs, resource, self._capacity, at_once=max_parallel_uploads
        )
        self._sending: set[Future[None]] = set()
        #: Batches as they are accepted; None tells to stop. A signal handler may put into this kind of queue.
        self._news: SimpleQueue[Future[None] | None] = SimpleQueue()
        self._followed: JobWatch | None = None
        self._begun_at = self._progress_at = time.monotonic()
        self._told: set[str] = set()

    def submit(self, batches: Iterable[Batch]) -> list[Submission]:
        """
        Send all batches that earlier tries did not, and return what FullStory made of all, in their order.

        :param batches: The batches; taken one by one, as uploads get done.
        :raises FullStoryError: Where a batch or the source fails, or time is up; the message says what
            FullStory already has.
        """
        try:
            last = 0
            for batch in self._ledger.compared(self.watched(batches)):
                self._hand_over(batch)
                last = max(last, batch.ordinal)
            self._ledger.check_end(last)
            while self._sending:
                self._hear(self._next_news())
        except BaseException as error:
            self._end(error)
            raise
        finally:
            self._uploads.close()
        return sorted(self._uploads.submissions)

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
        try:
            self._follow(watch)
        except FullStoryTimeoutError as error:
            error.add(self._ledger.promise)
            raise
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
        jobs = self._followed.pending if self._followed else self._capacity.running
        return (
            f"{still_running(jobs)}\n{self._ledger.promise}"
            if jobs
            else "No job of this try runs in FullStory."
        )

    @property
    def progress(self) -> str:
        """How far sending is, as a line for the log."""
        sent = [submission for submission in self._uploads.submissions if not submission.is_earlier]
        parts = [f"Sent: {batches_of(sent)} ({self._speed(sent)})"]
        if self._sending:
            parts.append(f"{plural(len(self._sending), 'batch')} under way")
        if running := self._capacity.running:
            parts.append(f"{plural(len(running), 'job')} not known to be finished")
        return f"{', '.join(parts)}."

    def summary(self) -> list[str]:
        """Return what was sent by this try and earlier ones, once all is sent, as lines for the log."""
        earlier = [submission for submission in self._uploads.submissions if submission.is_earlier]
        sent = [submission for submission in self._uploads.submissions if not submission.is_earlier]
        replays = [submission for submission in sent if submission.is_replay]
        lines = [
            f"All is sent: {batches_of(sent)} in this try ({self._speed(sent)})." if sent else "All is sent."
        ]
        if replays:
            lines.append(f"Of these, {batches_of(replays)} under their old keys: FullStory takes none twice.")
        if earlier:
            lines.append(f"By earlier tries, {not_again(earlier)}.")
        return lines

    def _speed(self, submissions: Sequence[Submission]) -> str:
        records = sum(submission.records for submission in submissions)
        size = sum(submission.bytes for submission in submissions)
        seconds = max(time.monotonic() - self._begun_at, 0.001)
        return f"{size / 1e6:,.1f} MB, {records / seconds:,.0f} records a second"

    def look(self, job_ids: Sequence[str]) -> list[JobOutcome] | None:
        """
        Return what became of the jobs, None where one is still processed or cannot be asked for now.

        :param job_ids: The jobs.
        :raises FullStoryKilledError: After ``stop``.
        """
        watch = self._watch(job_ids)
        try:
            for job_id in watch.job_ids:
                if (error := self._poll(watch, job_id)) is not None:
                    log.warning("%s", error)
                if job_id not in watch.outcomes:
                    return None
            # Where some are not finished, the trigger tells of all.
            for outcome in watch.outcomes.values():
                self._tell(outcome)
        finally:
            self._catch_up()
        return list(watch.outcomes.values())

    def _watch(self, job_ids: Sequence[str]) -> JobWatch:
        return JobWatch(
            job_ids, started_at=time.time(), poll_interval=self._poll_interval, deadline=self._deadline
        )

    def _hand_over(self, batch: Batch) -> None:
        """Have a batch sent; as many as are uploaded at the same time may wait for room in FullStory."""
        while len(self._sending) >= self._max_parallel_uploads:
            self._hear(self._next_news())
        sending = self._uploads.add(batch)
        self._sending.add(sending)
        sending.add_done_callback(self._news.put)

    def _next_news(self) -> Future[None] | None:
        try:
            return self._news_within(self._deadline - time.time())
        except Empty:
            raise FullStoryTimeoutError(self._unsent) from None

    @property
    def _unsent(self) -> str:
        """What the deadline has cut short."""
        if self._capacity.is_waited_for:
            return (
                f"The import did not finish within {time.monotonic() - self._begun_at:,.0f} s.\n"
                f"{plural(len(self._sending), 'batch')} waited until FullStory had finished others.\n"
                f"{still_running(self._capacity.running)}"
            )
        return f"Time was up while {plural(len(self._sending), 'batch')} had no answer yet."

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
            raise FullStoryKilledError(f"The task was told to end.\n{self.left_behind}")
        self._sending.remove(news)
        news.result()
        self._say_now_and_then(self.progress)

    def _follow(self, watch: JobWatch) -> None:
        self._followed = watch
        while watch.pending:
            self._look_at(watch)
            if watch.pending:
                self._pause(watch.pause(time.time()))

    def _look_at(self, watch: JobWatch) -> None:
        for job_id in watch.pending:
            self._catch_up()
            if (error := self._poll(watch, job_id)) is not None:
                self._say_now_and_then(str(error))
                return
            if job_id in watch.outcomes:
                self._tell(watch.outcomes[job_id])

    def _poll(self, watch: JobWatch, job_id: str) -> FullStoryError | None:
        """Ask for a job's status, and return what went wrong where that may pass."""
        try:
            status = self._jobs.get_job_status(self._resource, job_id)
        except FullStoryError as error:
            watch.missed(error, job_id, now=time.time())
            return error
        if line := watch.saw(job_id, status):
            log.warning("%s", line)
        return None

    def _tell(self, outcome: JobOutcome) -> None:
        """Say at most once of each job that it is finished."""
        if outcome.job_id not in self._told:
            self._told.add(outcome.job_id)
            jobs = max(len(self._uploads.submissions), len(self._followed.job_ids if self._followed else ()))
            if line := finished(outcome, len(self._told), jobs):
                log.info("%s", line)

    def _say_now_and_then(self, line: str) -> None:
        if time.monotonic() - self._progress_at >= _SECONDS_BETWEEN_PROGRESS:
            self._progress_at = time.monotonic()
            log.info("%s", line)

    def _end(self, error: BaseException) -> None:
        """Let uploads that are under way finish, so that the message can say what FullStory has."""
        if isinstance(error, Exception) and not isinstance(
            error, (FullStoryKilledError, FullStoryTimeoutError)
        ):
            self._uploads.finish()
            self._let_uploads_finish()
        self._uploads.close()
        if isinstance(error, FullStoryKilledError):
            return
        if isinstance(error, FullStoryError):
            error.add(self._accepted(error))
        else:
            log.error("The import stopped. %s", self._accepted(error))

    def _accepted(self, error: BaseException) -> str:
        """Say what FullStory has, and what comes next."""
        submissions = sorted(self._uploads.submissions)
        if not submissions:
            return "FullStory has accepted no batch." if self._uploads.has_posted else _NOTHING
        if isinstance(error, _FIXED_ELSEWHERE):
            promise = ""
        elif isinstance(error, (FullStoryInputError, FullStoryQuotaError)):
            promise = f"\n{self._ledger.promised('Once that is fixed, clear the task: it')}"
        else:
            promise = f"\n{self._ledger.promise}"
        jobs = some([entry.job_id for entry in submissions])
        return f"FullStory has accepted {batches_of(submissions)}.{promise}\nJobs: {jobs}."

    def _let_uploads_finish(self) -> None:
        deadline = time.monotonic() + _SECONDS_TO_FINISH
        try:
            while self._sending:
                sent = self._news_within(deadline - time.monotonic())
                if sent is None:
                    return
                self._sending.discard(sent)
        except Empty:
            return
