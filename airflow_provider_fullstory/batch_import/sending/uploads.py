"""
Uploads: batches go out in their order, several at the same time, each as soon as FullStory has room for it.

Threads of their own do this, so that reading the source goes on meanwhile.
"""

from __future__ import annotations

import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import TYPE_CHECKING, Protocol

from airflow_provider_fullstory.batch_import.batching.submissions import Submission, not_again
from airflow_provider_fullstory.batch_import.ledger.decision import Decision
from airflow_provider_fullstory.batch_import.sending.forecast import RunningJob
from airflow_provider_fullstory.batch_import.waiting import polling
from airflow_provider_fullstory.batch_import.waiting.polling import is_passing
from airflow_provider_fullstory.exceptions import (
    FullStoryBodyTooLargeError,
    FullStoryError,
    FullStoryKilledError,
    FullStoryNotFoundError,
    FullStoryServerError,
)
from airflow_provider_fullstory.text import plural

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_fullstory.api.http import Content
    from airflow_provider_fullstory.api.jobs import Job, Resource
    from airflow_provider_fullstory.batch_import.batching.batch import Batch
    from airflow_provider_fullstory.batch_import.ledger.entries import Entry
    from airflow_provider_fullstory.batch_import.ledger.ledger import Ledger
    from airflow_provider_fullstory.batch_import.sending.capacity import Capacity, JobReader


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


class Uploads:
    """
    Send batches.

    :param ledger: Knows what earlier tries have sent, and learns what this one sends.
    :param uploader: Sends batches, again where that can help.
    :param jobs: Looks at jobs.
    :param resource: What the batches hold.
    :param capacity: Where batches wait.
    :param at_once: How many may be under way at the same time.
    """

    def __init__(
        self,
        ledger: Ledger,
        uploader: Uploader,
        jobs: JobReader,
        resource: Resource,
        capacity: Capacity,
        *,
        at_once: int,
    ) -> None:
        self.submissions: list[Submission] = []
        #: Whether this try has posted anything, whatever became of it.
        self.has_posted = False
        self._ledger = ledger
        self._uploader = uploader
        self._jobs = jobs
        self._resource = resource
        self._capacity = capacity
        self._batches: SimpleQueue[tuple[Batch, Future[None]] | None] = SimpleQueue()
        # One thread more, which takes the batches one after the other.
        self._pool = ThreadPoolExecutor(at_once + 1, thread_name_prefix="fullstory-upload")
        self._is_begun = self._is_stopped = self._has_told_earlier = False

    def add(self, batch: Batch) -> Future[None]:
        """
        Have a batch sent, after those that were added before.

        :param batch: The batch.
        :returns: Is done once FullStory has accepted it, or holds what went wrong; nothing further is sent
            then.
        """
        if not self._is_begun:
            self._is_begun = True
            self._pool.submit(self._take_batches)
        done: Future[None] = Future()
        self._batches.put((batch, done))
        return done

    def finish(self) -> None:
        """Send what was added and has room, but let nothing wait for room any more."""
        self._capacity.close()

    def close(self) -> None:
        """Send nothing but what is under way."""
        self._is_stopped = True
        self._capacity.close()
        self._batches.put(None)
        self._pool.shutdown(wait=False)

    def _tell_earlier(self) -> None:
        """Say once what earlier tries have sent, as far as that is known."""
        earlier = [submission for submission in self.submissions if submission.is_earlier]
        if earlier and not self._has_told_earlier:
            self._has_told_earlier = True
            log.info("Earlier tries: %s.", not_again(earlier))

    def _take_batches(self) -> None:
        while (added := self._batches.get()) is not None:
            batch, done = added
            if self._is_stopped:
                done.cancel()
                continue
            try:
                self._pool.submit(self._do, done, self._prepared(batch), batch.name)
            except BaseException as error:  # noqa: BLE001 - Handed to the thread that reads.
                done.set_exception(error)
                self._is_stopped = True

    def _prepared(self, batch: Batch) -> Callable[[], None]:
        """Wait until a batch may be sent, and return what does so; nothing is left for one FullStory has."""
        decision, known = self._decide(batch)
        if decision is not Decision.AWAIT:
            self._capacity.wait(batch.records)
            if self._is_stopped:
                raise FullStoryKilledError("The import ended before this batch was sent.")
            if decision is not Decision.SEND:
                # The wait for room may have taken hours, and FullStory recognizes a batch for a day.
                decision, known = self._decide(batch)
        if decision is Decision.AWAIT and known is not None:
            self._note(batch, _earlier(known), is_earlier=True)
            return lambda: None
        self._tell_earlier()
        self._capacity.take(batch.name, batch.records)
        if decision is Decision.SEND_HALVES:
            return lambda: self._send_halves(batch, batch.name)
        entry = self._ledger.enter(batch, decision, known)
        return lambda: self._send(batch, entry, decision, batch.name)

    def _do(self, done: Future[None], send: Callable[[], None], name: str) -> None:
        try:
            send()
        except BaseException as error:  # noqa: BLE001 - Handed to the thread that reads.
            # In this order: whoever added the batches hears of this first, and then of those it stops.
            done.set_exception(error)
            self._is_stopped = True
        else:
            done.set_result(None)
        finally:
            self._capacity.sent(name)

    def _send(self, batch: Batch, entry: Entry, decision: Decision, taken_by: str) -> None:
        sent_at = time.monotonic()
        self.has_posted = True
        try:
            job = self._uploader.create_import(
                self._resource,
                batch.body,
                entry.idempotency_key,
                sent_before=entry.at if decision is Decision.REPLAY else None,
            )
        except FullStoryError as error:
            # What is too large now was so before: not even a request without an answer was done.
            if isinstance(error, FullStoryBodyTooLargeError) and batch.records > 1:
                log.warning(
                    "FullStory finds batch %s too large (%s bytes); it is sent in two halves.",
                    batch.name,
                    f"{len(batch.body):,}",
                )
                log.warning("Set a smaller max_batch_bytes to save the first request.")
                self._ledger.split(entry)
                self._send_halves(batch, taken_by)
                return
            if isinstance(error, FullStoryServerError):
                if decision is Decision.REPLAY:
                    self._ledger.failed(entry)
            elif not error.is_ambiguous:
                self._ledger.refused(entry)
            error.add(f"This was batch {batch.name} ({plural(batch.records, 'record')}).")
            raise
        # Noted first, since what follows may fail.
        running = RunningJob(job.id, batch.records, sent_at, time.monotonic())
        self._note(batch, running, taken_by, is_replay=decision is Decision.REPLAY)
        self._ledger.accepted(entry, job.id)

    def _send_halves(self, batch: Batch, taken_by: str) -> None:
        for half in batch.split():
            decision, known = self._decide(half)
            if decision is Decision.AWAIT and known is not None:
                self._note(half, _earlier(known), taken_by, is_earlier=True)
            elif decision is Decision.SEND_HALVES:
                self._send_halves(half, taken_by)
            else:
                self._send(half, self._ledger.enter(half, decision, known), decision, taken_by)

    def _note(
        self,
        batch: Batch,
        job: RunningJob,
        taken_by: str | None = None,
        *,
        is_earlier: bool = False,
        is_replay: bool = False,
    ) -> None:
        # Appending is safe among threads.
        self.submissions.append(
            Submission(batch.place, job.job_id, job.records, len(batch.body), is_earlier, is_replay)
        )
        self._capacity.accepted(job, taken_by)

    def _decide(self, batch: Batch) -> tuple[Decision, Entry | None]:
        decision, known = self._ledger.decision(batch)
        if decision is Decision.AWAIT and known is not None and self._is_lost(known):
            return self._ledger.decision(batch, is_lost=True)
        return decision, known

    def _is_lost(self, entry: Entry) -> bool:
        """Return whether FullStory no longer tells what became of a batch, which is then to be sent again."""
        if entry.job_id is None or not self._ledger.resends_unknown or self._ledger.is_verified(entry):
            return False
        try:
            status = self._jobs.get_job_status(self._resource, entry.job_id)
        except FullStoryNotFoundError:
            return time.time() >= entry.at + polling.YOUNG_SECONDS
        except FullStoryError as error:
            if not is_passing(error):
                raise
            return False
        return status.is_finished and status.imports + status.errors == 0


def _earlier(entry: Entry) -> RunningJob:
    """Return the job that an earlier try was answered with, as old as it is."""
    accepted_at = time.monotonic() - max(0.0, time.time() - entry.at)
    return RunningJob(entry.job_id or "", entry.records, accepted_at, accepted_at)
