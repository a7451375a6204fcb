"""
The settlement of an import: which of its records FullStory has, from the jobs of its batches.

Any run of a sync can settle an import that another run began and left. A batch whose answer was lost is
posted again under its key, which FullStory answers as it did before; jobs that still run are waited for.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from typing import TYPE_CHECKING, Any

from airflow_provider_fullstory.api.protocol import IDEMPOTENCY_SECONDS
from airflow_provider_fullstory.batch_import.ledger.entries import Entries, Entry
from airflow_provider_fullstory.batch_import.ledger.stores import FolderStore
from airflow_provider_fullstory.batch_import.reporting.fingerprints import as_sent, in_order
from airflow_provider_fullstory.batch_import.reporting.rejections import rejections
from airflow_provider_fullstory.batch_import.waiting.job_watch import JobWatch
from airflow_provider_fullstory.exceptions import (
    FullStoryAmbiguousError,
    FullStoryBadRequestError,
    FullStoryBodyTooLargeError,
    FullStoryError,
    FullStoryKilledError,
    FullStoryLedgerError,
    FullStoryNotFoundError,
    FullStoryPermissionError,
    FullStoryServerError,
)
from airflow_provider_fullstory.records.insert_ids import (
    KEYED_ID_BYTES,
    NO_CONTENT,
    ids_of_bodies,
    ids_of_values,
    key_of,
    key_of_values,
    keyed_ids,
    packed,
    unpacked,
)
from airflow_provider_fullstory.records.redaction import value_at
from airflow_provider_fullstory.syncs.import_files import ImportFiles
from airflow_provider_fullstory.text import plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from threading import Event

    from airflow_provider_fullstory.batch_import.client import ImportClient
    from airflow_provider_fullstory.batch_import.storage.folder import Folder
    from airflow_provider_fullstory.batch_import.waiting.outcomes import JobOutcome
    from airflow_provider_fullstory.records.options import MappingOptions
    from airflow_provider_fullstory.syncs.record import OpenImport

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Settling:
    """
    Say how an import is settled.

    :param client: Posts batches and polls jobs.
    :param options: How rows became records.
    :param resends_unknown: Whether a batch of unknown outcome counts as not sent, rather than fails the task.
    :param poll_interval: Shortest time between two polls, in seconds.
    :param deadline: When to give up, in seconds since the epoch.
    :param stopped: Set when the task is stopped.
    """

    client: ImportClient
    options: MappingOptions
    resends_unknown: bool
    poll_interval: float
    deadline: float
    stopped: Event


class Settlement:
    """
    Settle one import.

    :param folder: The folder of the import.
    :param of: The import, for messages.
    :param settling: How it is settled.
    :param outcomes: Outcomes that are known.
    """

    def __init__(
        self, folder: Folder, of: OpenImport, settling: Settling, outcomes: Sequence[JobOutcome] = ()
    ) -> None:
        self._folder = folder
        self._entries = Entries(FolderStore(folder))
        self._id_bytes = settling.options.insert_id_bytes
        self._is_keyed = self._id_bytes == KEYED_ID_BYTES
        self._files = ImportFiles(folder, self._id_bytes)
        self._of = of
        self._settling = settling
        self._outcomes = {outcome.job_id: outcome for outcome in outcomes}

    @property
    def has_sent(self) -> bool:
        """Whether FullStory may have any record of the import that matters to later ones."""
        return any(not entry.is_refused or self._is_doubtful(entry) for entry in self._leaves())

    def ask_for_answers(self) -> None:
        """Learn the jobs of batches whose answers were lost, as long as FullStory repeats these."""
        for entry in self._leaves():
            if entry.job_id is None and not entry.is_refused and _is_recognized(entry):
                self._post_again(entry)

    def settle(self) -> None:
        """
        Learn the outcome of every batch.

        :raises FullStoryAmbiguousError: If the outcome of a batch is unknown.
        :raises FullStoryTimeoutError: If a job is not finished at the deadline.
        """
        for entry in self._leaves():
            if entry.job_id is None and not entry.is_refused:
                self._post_again(entry)
        self._wait()

    @property
    def is_whole(self) -> bool:
        """Whether FullStory has every record that was sent, once it is settled: none was rejected or lost."""
        outcomes = [self._outcomes.get(entry.job_id or "") for entry in self._leaves()]
        return all(outcome is not None and not outcome.errors for outcome in outcomes)

    def imported(self) -> Iterator[bytes]:
        """
        Yield the insert ids of the records that FullStory has, batch by batch, as they are written down.

        What FullStory may have is among them without its content, so that no content counts as the latest.

        :raises FullStoryLedgerError: If the insert ids of a batch are gone.
        :raises FullStoryError: If it cannot be read which records FullStory rejected.
        """
        for entry in self._leaves():
            outcome = self._outcomes.get(entry.job_id or "")
            if self._is_doubtful(entry):
                yield self._without_contents(self._insert_ids(entry))
            elif outcome is not None and not outcome.errors:
                yield self._insert_ids(entry)
            elif outcome is not None and outcome.imports:
                yield self._without_rejected(self._insert_ids(entry), outcome)

    def _insert_ids(self, entry: Entry) -> bytes:
        ids = self._files.insert_ids(entry.name)
        if (found := len(ids) // self._id_bytes) == entry.records:
            return ids
        raise FullStoryLedgerError(
            f"Of batch {entry.name} of {self._of}, {found:,} insert ids are known in {self._folder}, while "
            f"FullStory took {plural(entry.records, 'record')}. Without them, later runs would send these "
            "records again. The import stays open.\n"
            "Restore the folder from a backup, and clear the task. If there is none, forget the import by: "
            "fullstory-sync forget NAME --abandon. What the sync then selects is sent again."
        )

    def _leaves(self) -> Iterator[Entry]:
        """Yield the entries of all batches, or of their halves."""
        return self._entries.with_jobs()

    def _post_again(self, entry: Entry) -> None:
        """Post a batch whose answer was lost; FullStory gives the answer that it gave before."""
        body = self._files.body(entry.name)
        is_recognized = _is_recognized(entry)
        if body is None or not is_recognized or body.digest != entry.digest:
            why = "a day ago or more" if body is not None and not is_recognized else "and its body is gone"
            self._give_up(entry, f"its answer was lost, {why}")
            return
        if entry.has_failed and self._settling.resends_unknown:
            self._give_up(entry, "FullStory answered with a server error when it was posted again")
            return
        log.info("Batch %s of %s has no answer yet; it is posted again under its key.", entry.name, self._of)
        try:
            job = self._settling.client.create_import(body, entry.idempotency_key, sent_before=entry.at)
        except (FullStoryBadRequestError, FullStoryBodyTooLargeError):
            # FullStory answers as it did before, so it has none of the batch.
            self._entries.write(dataclasses.replace(entry, is_refused=True))
        except FullStoryAmbiguousError as error:
            self._give_up(entry, f"its answer was lost: {error}")
        except FullStoryError as error:
            if isinstance(error, FullStoryServerError):
                self._entries.write(dataclasses.replace(entry, has_failed=True))
            error.add(
                f"This was batch {entry.name} of {self._of}, whose answer was lost: it is posted again to "
                "learn of its job. Nothing else was sent in this try. A retry goes on."
            )
            raise
        else:
            self._entries.write(dataclasses.replace(entry, job_id=job.id))

    def _wait(self) -> None:
        settling = self._settling
        jobs = {
            entry.job_id: entry
            for entry in self._leaves()
            if entry.job_id is not None and not entry.is_refused
        }
        unknown = [job_id for job_id in jobs if job_id not in self._outcomes]
        watch = JobWatch(
            unknown,
            started_at=time.time(),
            poll_interval=settling.poll_interval,
            deadline=settling.deadline,
        )
        if unknown:
            log.info("Waiting for %s of %s.", plural(len(unknown), "job"), self._of)
        lost: set[str] = set()
        while True:
            pending = [job_id for job_id in watch.pending if job_id not in lost]
            lost |= {job_id for job_id in pending if not self._poll(watch, job_id, jobs[job_id])}
            if lost.issuperset(watch.pending):
                break
            if settling.stopped.wait(watch.pause(time.time())):
                raise FullStoryKilledError(f"The task was stopped while it waited for {self._of}.")
        for job_id, outcome in watch.outcomes.items():
            if outcome.imports + outcome.errors == jobs[job_id].records:
                self._outcomes[job_id] = outcome
            else:
                self._give_up(jobs[job_id], "its job ended without counts of all its records")

    def _poll(self, watch: JobWatch, job_id: str, entry: Entry) -> bool:
        """Poll a job, and return whether FullStory knows it."""
        try:
            error = watch.poll(self._settling.client, job_id)
        except FullStoryNotFoundError:
            self._give_up(entry, "FullStory does not know its job any more")
            return False
        if error is not None:
            log.warning("%s", error)
        return True

    def _give_up(self, entry: Entry, why: str) -> None:
        """Treat a batch of unknown outcome as the user wants."""
        what = (
            f"The outcome of batch {entry.name} ({plural(entry.records, 'record')}) of {self._of} is unknown"
        )
        if not self._settling.resends_unknown:
            raise FullStoryAmbiguousError(
                f"{what}: {why}.\nNothing was sent in this try.\n"
                'Look for its records in FullStory. If they are missing, set on_ambiguous="resend" and clear '
                "the task: the batch then\ncounts as not sent, and its records are sent again.\n"
                f"Job: {entry.job_id or 'none'}."
            )
        log.warning('%s: %s. It counts as not sent, since on_ambiguous="resend".', what, why)
        self._entries.write(dataclasses.replace(entry, is_refused=True, is_unknown=True))

    def _is_doubtful(self, entry: Entry) -> bool:
        """Return whether FullStory may have other contents than those that were imported before."""
        return entry.is_unknown and self._is_keyed

    def _without_contents(self, ids: bytes) -> bytes:
        """Return keyed ids of which no content counts as the latest; none if ids are not keyed."""
        if not self._is_keyed:
            return b""
        keys = list(map(key_of, unpacked(ids, self._id_bytes)))
        return packed(keyed_ids(keys, [NO_CONTENT] * len(keys)), self._id_bytes)

    def _without_rejected(self, ids: bytes, outcome: JobOutcome) -> bytes:
        rejected: set[int] = set()
        listed = 0
        for _, errors in rejections(self._settling.client, [outcome], is_required=True):
            listed += len(errors)
            rejected |= self._ids_of_echoes([error.record for error in errors])
        if listed < outcome.errors:
            raise FullStoryPermissionError(
                f"{plural(outcome.errors, 'record')} of job {outcome.job_id} were rejected, and which could "
                "not be read: that takes an API key of level Architect or above.\nWith insert ids it must be "
                "known, or records would be lost or sent twice. The import stays open.\nGive the connection "
                "such a key, and clear the task."
            )
        sent = unpacked(ids, self._id_bytes)
        kept = [one for one in sent if one not in rejected]
        if self._is_keyed and len(sent) - len(kept) < outcome.errors:
            # Where FullStory spells a number in another way, the key is still the same.
            keys = set(map(key_of, rejected))
            kept = [one for one in sent if key_of(one) not in keys]
        found = len(sent) - len(kept)
        if found < outcome.errors:
            self._give_up_job(outcome, outcome.errors - found)
            return self._without_contents(ids)
        return packed(kept, self._id_bytes)

    def _give_up_job(self, outcome: JobOutcome, unknown: int) -> None:
        """Treat a job whose rejected records cannot be told as the user wants."""
        what = (
            f"Of the {plural(outcome.errors, 'record')} that FullStory rejected in job {outcome.job_id}, "
            f"{unknown:,} cannot be told from the {plural(outcome.imports, 'record')} that it imported: "
            "their insert ids are not those that were sent"
        )
        if not self._settling.resends_unknown:
            raise FullStoryAmbiguousError(
                f"{what}.\nThe import stays open, so that nothing is lost or sent twice.\n"
                "If mapping, shared or timezone have changed since it was sent, set them back and clear the "
                'task.\nWith insert_id="*", FullStory may spell a number in another way; name columns '
                "instead, under another sync_name.\n"
                'on_ambiguous="resend" counts all records of that job as not sent: they are sent again.'
            )
        log.warning('%s. All count as not sent, since on_ambiguous="resend".', what)

    def _ids_of_echoes(self, echoes: Iterable[dict[str, Any] | None]) -> set[int]:
        """Return the insert ids of records that FullStory echoed, as far as they can be told."""
        options = self._settling.options
        kind = options.kind
        ids: set[int] = set()
        for echo in echoes:
            if echo is None:
                continue
            if options.is_insert_id_whole:
                contents = ids_of_bodies([as_sent(kind, echo)], options.shared_json)
                key = key_of_values(kind.upsert_key, map(echo.get, kind.upsert_key))
                ids.update(keyed_ids([key], contents) if self._is_keyed else contents)
                continue
            values = [value_at(in_order(kind, echo), path) for path in options.insert_id_paths()]
            if None not in values:
                ids.update(ids_of_values([[value] for value in values]))
        return ids


def _is_recognized(entry: Entry) -> bool:
    """Return whether FullStory still knows the key of a batch."""
    return time.time() < entry.at + IDEMPOTENCY_SECONDS
