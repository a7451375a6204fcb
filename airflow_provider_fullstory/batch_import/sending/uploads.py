"""
Uploads: batches are sent in their order, several at the same time, as soon as there is capacity for them.

Other threads do this, so that the source is read meanwhile.
"""

from __future__ import annotations

import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import TYPE_CHECKING

from airflow_provider_fullstory.batch_import.batching.submissions import Submission, not_again
from airflow_provider_fullstory.batch_import.ledger.decision import Decision
from airflow_provider_fullstory.batch_import.sending.forecast import RunningJob
from airflow_provider_fullstory.batch_import.waiting.polling import is_lost, is_passing, read_status
from airflow_provider_fullstory.exceptions import (
    FullStoryBodyTooLargeError,
    FullStoryError,
    FullStoryKilledError,
    FullStoryServerError,
)
from airflow_provider_fullstory.text import plural

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_fullstory.batch_import.batching.batch import Batch
    from airflow_provider_fullstory.batch_import.client import ImportClient
    from airflow_provider_fullstory.batch_import.ledger.entries import Entry
    from airflow_provider_fullstory.batch_import.ledger.ledger import Ledger
    from airflow_provider_fullstory.batch_import.sending.capacity import Capacity

log = logging.getLogger(__name__)


class Uploads:
    """
    Send batches.

    :param ledger: Records what earlier tries have sent, and what this one sends.
    :param client: Sends batches, and polls jobs.
    :param capacity: What batches wait for.
    :param at_once: How many batches may be in flight at the same time.
    """

    def __init__(
        self,
        ledger: Ledger,
        client: ImportClient,
        capacity: Capacity,
        *,
        at_once: int,
    ) -> None:
        self.submissions: list[Submission] = []
        #: Whether this try has posted anything, whatever became of it.
        self.has_posted = False
        self._ledger = ledger
        self._client = client
        self._capacity = capacity
        self._batches: SimpleQueue[tuple[Batch, Future[None]] | None] = SimpleQueue()
        # One more thread, which takes the batches one after the other.
        self._pool = ThreadPoolExecutor(at_once + 1, thread_name_prefix="fullstory-upload")
        self._is_begun = self._is_stopped = self._has_logged_earlier = False

    def add(self, batch: Batch) -> Future[None]:
        """
        Have a batch sent, after those that were added before.

        :returns: Done once FullStory has accepted it, or the failure, after which no other batch is sent.
        """
        if not self._is_begun:
            self._is_begun = True
            self._pool.submit(self._take_batches)
        done: Future[None] = Future()
        self._batches.put((batch, done))
        return done

    def finish(self) -> None:
        """Send the batches that were added as far as there is capacity; no batch waits for it any more."""
        self._capacity.close()

    def close(self) -> None:
        """Send nothing but the batches that are in flight."""
        self._is_stopped = True
        self._capacity.close()
        self._batches.put(None)
        self._pool.shutdown(wait=False)

    def _log_earlier(self) -> None:
        """Log once what earlier tries have sent, as far as that is known."""
        earlier = [submission for submission in self.submissions if submission.is_earlier]
        if earlier and not self._has_logged_earlier:
            self._has_logged_earlier = True
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
        """Wait until a batch may be sent, and return a function that sends it unless FullStory has it."""
        decision, known = self._decide(batch)
        if decision is not Decision.AWAIT:
            self._capacity.wait(batch.records)
            if self._is_stopped:
                raise FullStoryKilledError("The import ended before this batch was sent.")
            if decision is not Decision.SEND:
                # The wait may have taken hours, and FullStory recognizes a batch for a day.
                decision, known = self._decide(batch)
        if decision is Decision.AWAIT and known is not None:
            self._note(batch, _earlier(known), is_earlier=True)
            return lambda: None
        self._log_earlier()
        self._capacity.take(batch.name, batch.records)
        if decision is Decision.SEND_HALVES:
            return lambda: self._send_halves(batch, batch.name)
        entry = self._ledger.enter(batch, decision, known)
        return lambda: self._send(batch, entry, decision, batch.name)

    def _do(self, done: Future[None], send: Callable[[], None], name: str) -> None:
        try:
            send()
        except BaseException as error:  # noqa: BLE001 - Handed to the thread that reads.
            # In this order: the thread that reads gets this failure first, then those that follow from it.
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
            job = self._client.create_import(
                batch.body,
                entry.idempotency_key,
                sent_before=entry.at if decision is Decision.REPLAY else None,
            )
        except FullStoryError as error:
            # The batch was too large before: FullStory has not even done a request without an answer.
            if isinstance(error, FullStoryBodyTooLargeError) and batch.records > 1:
                log.warning(
                    "FullStory finds batch %s too large (%s bytes); it is sent in two halves.",
                    batch.name,
                    f"{len(batch.body):,}",
                )
                log.warning("Set a smaller max_batch_bytes to save the first request.")
                self._ledger.note(entry, is_split=True)
                self._send_halves(batch, taken_by)
                return
            if isinstance(error, FullStoryServerError):
                if decision is Decision.REPLAY:
                    self._ledger.note(entry, has_failed=True)
            elif not error.is_ambiguous:
                self._ledger.note(entry, is_refused=True)
            error.add(f"This was batch {batch.name} ({plural(batch.records, 'record')}).")
            raise
        # Noted first, since what follows may fail.
        running = RunningJob(job.id, batch.records, sent_at, time.monotonic())
        self._note(batch, running, taken_by, is_replay=decision is Decision.REPLAY)
        self._ledger.note(entry, job_id=job.id, has_failed=False)

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
        """Return whether FullStory no longer knows the outcome of a batch, which is then to be sent again."""
        if entry.job_id is None or not self._ledger.resends_unknown or self._ledger.is_verified(entry):
            return False
        result = read_status(self._client, entry.job_id)
        if not isinstance(result, FullStoryError):
            return result.is_finished and result.imports + result.errors == 0
        if not is_passing(result):
            raise result
        return is_lost(result, age=time.time() - entry.at)


def _earlier(entry: Entry) -> RunningJob:
    """Return the job that an earlier try was answered with, as old as it is."""
    accepted_at = time.monotonic() - max(0.0, time.time() - entry.at)
    return RunningJob(entry.job_id or "", entry.records, accepted_at, accepted_at)
