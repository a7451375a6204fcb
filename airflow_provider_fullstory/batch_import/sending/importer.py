"""The engine of an import: keeps uploads going within FullStory's limits, and follows their jobs."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final

from airflow_provider_fullstory.batch_import.batching.submissions import batches_of, not_again
from airflow_provider_fullstory.batch_import.sending.capacity import Capacity
from airflow_provider_fullstory.batch_import.sending.uploads import Uploads
from airflow_provider_fullstory.batch_import.waiting.job_watch import JobWatch
from airflow_provider_fullstory.batch_import.waiting.outcomes import finished, still_running
from airflow_provider_fullstory.exceptions import (
    FullStoryAmbiguousError,
    FullStoryBadRequestError,
    FullStoryBodyTooLargeError,
    FullStoryError,
    FullStoryInputError,
    FullStoryKilledError,
    FullStoryNotFoundError,
    FullStoryQuotaError,
    FullStoryServerError,
    FullStorySourceChangedError,
    FullStoryTimeoutError,
)
from airflow_provider_fullstory.text import plural, some

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from concurrent.futures import Future

    from airflow_provider_fullstory.batch_import.batching.batch import Batch
    from airflow_provider_fullstory.batch_import.batching.submissions import Submission
    from airflow_provider_fullstory.batch_import.client import ImportClient
    from airflow_provider_fullstory.batch_import.ledger.entries import Entry
    from airflow_provider_fullstory.batch_import.ledger.ledger import Ledger
    from airflow_provider_fullstory.batch_import.waiting.outcomes import JobOutcome

MAX_PARALLEL_UPLOADS: Final = 16
_SECONDS_BETWEEN_PROGRESS: Final = 10.0
#: How long uploads that are in flight may delay the end of an import that has failed.
_SECONDS_TO_FINISH: Final = 60.0
#: A signal that another thread gets does not wake the main thread, which alone runs Python's handlers.
_SECONDS_WITHOUT_SIGNALS: Final = 1.0
#: Failures whose own messages say what to set, and what clearing the task does then.
_FIXED_ELSEWHERE: Final = (FullStorySourceChangedError, FullStoryAmbiguousError)
_NOTHING: Final = "Nothing was sent in this try."

log = logging.getLogger(__name__)


class Importer:
    """
    Send batches and follow their jobs.

    :param ledger: Records what earlier tries have sent, and what this one sends.
    :param client: Sends batches, and polls jobs.
    :param max_parallel_uploads: Batches that are uploaded at the same time: 1 to 16.
    :param max_outstanding_records: Records that may be sent and unfinished; further batches wait.
    :param poll_interval: Shortest time between two polls of a job, in seconds.
    :param deadline: When to give up, in seconds since the epoch.
    """

    def __init__(
        self,
        ledger: Ledger,
        client: ImportClient,
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
        self._client = client
        self._max_parallel_uploads = max_parallel_uploads
        self._poll_interval = poll_interval
        self._deadline = deadline
        self._capacity = Capacity(
            client,
            max_records=max_outstanding_records,
            poll_interval=poll_interval,
            on_finished=self._log_finished,
        )
        self._uploads = Uploads(ledger, client, self._capacity, at_once=max_parallel_uploads)
        self._sending: set[Future[None]] = set()
        #: Batches as they are accepted; None asks to stop. A signal handler may put into this kind of queue.
        self._results: SimpleQueue[Future[None] | None] = SimpleQueue()
        self._followed: JobWatch | None = None
        self._begun_at = self._progress_at = time.monotonic()
        self._logged: set[str] = set()

    def submit(self, batches: Iterable[Batch]) -> list[Submission]:
        """
        Send the batches that earlier tries did not, and return all that FullStory accepted, in their order.

        :param batches: The batches; taken one by one, as uploads are done.
        :raises FullStoryError: If a batch or the source fails, or time is up; the message says what FullStory
            already has.
        """
        try:
            last = 0
            for batch in self._ledger.compared(self.watched(batches)):
                self._upload(batch)
                last = max(last, batch.ordinal)
            self._ledger.check_end(last)
            while self._sending:
                self._handle(self._next_result())
        except BaseException as error:
            self._end(error)
            raise
        finally:
            self._uploads.close()
        return self.submissions

    def watched(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """
        Yield batches until time is up or the task is stopped.

        :raises FullStoryTimeoutError: At the deadline.
        :raises FullStoryKilledError: After ``stop``.
        """
        for batch in batches:
            if time.time() >= self._deadline:
                raise FullStoryTimeoutError(f"Time was up before batch {batch.name} could be sent.")
            self._handle_results()
            yield batch

    def has_sent(self, name: str, digest: str) -> bool:
        """Return whether an earlier try may have sent a batch, by its name and the SHA-256 of its body."""
        return self._ledger.has(name, digest)

    def wait(self, job_ids: Sequence[str]) -> list[JobOutcome]:
        """
        Wait until all jobs are finished.

        :raises FullStoryTimeoutError: At the deadline, naming the jobs that still run.
        :raises FullStoryKilledError: After ``stop``, naming them as well.
        """
        watch = self._watch(job_ids)
        try:
            self._follow(watch)
        except FullStoryTimeoutError as error:
            error.add(self._ledger.promise)
            raise
        # Airflow expects no success of a task that was stopped during the last poll.
        self._handle_results()
        return list(watch.outcomes.values())

    def wait_for_superseded(self) -> None:
        """
        Wait for jobs of earlier tries whose records this try may send again, changed.

        FullStory does not say in which order it works on jobs, and what is sent last must count.
        """
        superseded = self._ledger.superseded()
        jobs = [job_id for entry in superseded if (job_id := entry.job_id or self._lost_job(entry))]
        if jobs:
            log.info("First, %s of earlier tries must be finished.", plural(len(jobs), "job"))
        for job_id in jobs:
            with suppress(FullStoryNotFoundError):
                self.wait([job_id])
        # None of these is a job of this try.
        self._followed = None
        self._logged.clear()

    def _lost_job(self, entry: Entry) -> str | None:
        """
        Return the job of a batch whose answer an earlier try lost; None if there is none, or it is unknown.

        The batch is posted again: FullStory gives the same answer.
        """
        body = self._ledger.kept_body(entry)
        if body is None:
            return None
        log.info("Batch %s of an earlier try has no answer; it is posted again under its key.", entry.name)
        try:
            job = self._client.create_import(body, entry.idempotency_key, sent_before=entry.at)
        except (FullStoryBadRequestError, FullStoryBodyTooLargeError):
            # FullStory answers as it did before, so it has none of the batch.
            self._ledger.note(entry, is_refused=True)
            return None
        except FullStoryError as error:
            if isinstance(error, FullStoryServerError):
                self._ledger.note(entry, has_failed=True)
            error.add(
                f"This was batch {entry.name}, whose answer an earlier try lost: it is posted again to learn "
                f"of its job. {_NOTHING} A retry goes on."
            )
            raise
        self._ledger.note(entry, job_id=job.id)
        return job.id

    def stop(self) -> None:
        """
        End the import as soon as possible; ``submit`` and ``wait`` then raise.

        May be called from a signal handler.
        """
        self._results.put(None)

    @property
    def submissions(self) -> list[Submission]:
        """The batches that FullStory has accepted so far, in their order."""
        return sorted(self._uploads.submissions)

    @property
    def seconds_without_capacity(self) -> float:
        """The seconds in which a batch waited until FullStory had finished others."""
        return self._capacity.seconds_waited

    @property
    def oldest_job_seconds(self) -> float:
        """The age of the oldest job that is not known to be finished, 0 without one."""
        accepted_at = self._capacity.accepted_at()
        jobs = self._followed.pending if self._followed else accepted_at
        if self._uploads.submissions:
            # The others were found finished while batches were sent.
            jobs = [job_id for job_id in jobs if job_id in accepted_at]
        # A job that this try only waits for is at least as old as the try.
        times = (accepted_at.get(job_id, self._begun_at) for job_id in jobs)
        return max((time.monotonic() - at for at in times), default=0.0)

    @property
    def left_behind(self) -> str:
        """The jobs that continue in FullStory after the task ends, and what a retry does about them."""
        jobs = self._followed.pending if self._followed else self._capacity.running
        return (
            f"{still_running(jobs)}\n{self._ledger.promise}"
            if jobs
            else "No job of this try runs in FullStory."
        )

    @property
    def progress(self) -> str:
        """The progress of sending, as a line for the log."""
        sent = [submission for submission in self._uploads.submissions if not submission.is_earlier]
        parts = [f"Sent: {batches_of(sent)} ({self._speed(sent)})"]
        if self._sending:
            parts.append(f"{plural(len(self._sending), 'batch')} in flight")
        if running := self._capacity.running:
            parts.append(f"{plural(len(running), 'job')} not known to be finished")
        return f"{', '.join(parts)}."

    def summary(self) -> list[str]:
        """Return what this try and earlier ones have sent, once all is sent, as lines for the log."""
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

    def poll(self, job_ids: Sequence[str]) -> list[JobOutcome] | None:
        """
        Return the outcomes of all jobs, None if one is still processed or cannot be polled now.

        :raises FullStoryKilledError: After ``stop``.
        """
        watch = self._watch(job_ids)
        try:
            for job_id in watch.job_ids:
                if (error := watch.poll(self._client, job_id)) is not None:
                    log.warning("%s", error)
                if job_id not in watch.outcomes:
                    return None
            # If some are not finished, the trigger logs all.
            for outcome in watch.outcomes.values():
                self._log_finished(outcome)
        finally:
            self._handle_results()
        return list(watch.outcomes.values())

    def _watch(self, job_ids: Sequence[str]) -> JobWatch:
        return JobWatch(
            job_ids, started_at=time.time(), poll_interval=self._poll_interval, deadline=self._deadline
        )

    def _upload(self, batch: Batch) -> None:
        """Have a batch sent; while it waits for capacity, so may as many as are uploaded at the same time."""
        while len(self._sending) >= self._max_parallel_uploads:
            self._handle(self._next_result())
        sending = self._uploads.add(batch)
        self._sending.add(sending)
        sending.add_done_callback(self._results.put)

    def _next_result(self) -> Future[None] | None:
        try:
            return self._result_within(self._deadline - time.time())
        except Empty:
            raise FullStoryTimeoutError(self._unsent) from None

    @property
    def _unsent(self) -> str:
        """What was not done at the deadline."""
        if self._capacity.is_waited_for:
            return (
                f"The import did not finish within {time.monotonic() - self._begun_at:,.0f} s.\n"
                f"{plural(len(self._sending), 'batch')} waited until FullStory had finished others.\n"
                f"{still_running(self._capacity.running)}"
            )
        return f"Time was up while {plural(len(self._sending), 'batch')} had no answer yet."

    def _result_within(self, seconds: float) -> Future[None] | None:
        """Wait for a result, and raise Empty without one."""
        end = time.monotonic() + seconds
        while True:
            left = end - time.monotonic()
            try:
                return self._results.get(timeout=min(max(left, 0.0), _SECONDS_WITHOUT_SIGNALS))
            except Empty:
                if left <= _SECONDS_WITHOUT_SIGNALS:
                    raise

    def _handle_results(self) -> None:
        while not self._results.empty():
            self._handle(self._results.get())

    def _pause(self, seconds: float) -> None:
        try:
            self._handle(self._result_within(seconds))
        except Empty:
            return

    def _handle(self, result: Future[None] | None) -> None:
        if result is None:
            raise FullStoryKilledError(f"The task was stopped.\n{self.left_behind}")
        unsent = self._unsent
        self._sending.remove(result)
        try:
            result.result()
        except FullStoryError as error:
            if error.is_transient and time.time() >= self._deadline:
                # The deadline has cut its last attempt short.
                raise FullStoryTimeoutError(unsent) from None
            raise
        self._log_now_and_then(self.progress)

    def _follow(self, watch: JobWatch) -> None:
        self._followed = watch
        while watch.pending:
            self._poll_pending(watch)
            if watch.pending:
                self._pause(watch.pause(time.time()))

    def _poll_pending(self, watch: JobWatch) -> None:
        for job_id in watch.pending:
            self._handle_results()
            if (error := watch.poll(self._client, job_id)) is not None:
                self._log_now_and_then(str(error))
                return
            if job_id in watch.outcomes:
                self._log_finished(watch.outcomes[job_id])

    def _log_finished(self, outcome: JobOutcome) -> None:
        """Log that a job is finished, at most once."""
        if outcome.job_id not in self._logged:
            self._logged.add(outcome.job_id)
            number, followed = len(self._logged), self._followed.job_ids if self._followed else ()
            if line := finished(outcome, number, max(number, len(self._uploads.submissions), len(followed))):
                log.info("%s", line)

    def _log_now_and_then(self, line: str) -> None:
        if time.monotonic() - self._progress_at >= _SECONDS_BETWEEN_PROGRESS:
            self._progress_at = time.monotonic()
            log.info("%s", line)

    def _end(self, error: BaseException) -> None:
        """Let uploads that are in flight finish, so that the message can say what FullStory has."""
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
        """Return what FullStory has, and what to do next."""
        submissions = self.submissions
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
                sent = self._result_within(deadline - time.monotonic())
                if sent is None:
                    return
                self._sending.discard(sent)
        except Empty:
            return
