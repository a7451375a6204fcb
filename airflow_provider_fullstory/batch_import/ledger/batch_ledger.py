"""The batches of an import: whether the source still gives those that earlier tries sent, and what to do."""

from __future__ import annotations

import dataclasses
import logging
import time
import uuid
from typing import TYPE_CHECKING, Any, Final, Protocol

from airflow_provider_fullstory.api.protocol import IDEMPOTENCY_SECONDS
from airflow_provider_fullstory.batch_import.ledger.conflicts import fate, source_changed, unknown_outcome
from airflow_provider_fullstory.batch_import.ledger.decision import Decision, Policy, decide
from airflow_provider_fullstory.batch_import.ledger.entries import Entries, Entry
from airflow_provider_fullstory.batch_import.ledger.import_record import SENDING, StoredImport
from airflow_provider_fullstory.batch_import.ledger.stores import MemoryStore
from airflow_provider_fullstory.text import plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from airflow_provider_fullstory.batch_import.batching.batch import Batch
    from airflow_provider_fullstory.batch_import.batching.body import Body
    from airflow_provider_fullstory.batch_import.ledger.stores import Store
    from airflow_provider_fullstory.exceptions import FullStorySourceChangedError

#: Makes a new key for a batch whose outcome under the old one is unknown.
_RESENT: Final = "resent"
#: The digest of a batch that no batch equals.
_LEFT_OUT: Final = "left out"

log = logging.getLogger(__name__)


class Witness(Protocol):
    """Learn of batches while they are sent. Called from the threads that send."""

    def about_to_post(self, batch: Batch) -> None:
        """
        Learn that a batch is entered and posted next.

        :raises FullStoryError: If it must not be posted.
        """

    def answered(self, name: str) -> None:
        """Learn that the ledger has FullStory's answer to a batch."""

    def body(self, name: str) -> Body | None:
        """Return the body of a batch that was posted and not answered, None if it is not known."""


class BatchLedger:
    """
    Keep account of the batches of an import, over all tries of a task.

    :param store: Holds the ledger.
    :param resends_unknown: Whether a batch of unknown outcome is sent again, rather than fails the import.
    :param resends_changed: Whether batches that differ from those that were sent are sent, rather than fail
        the import.
    :param is_upserted: Whether FullStory changes what it has when a record is sent again.
    :param witness: Told of each batch before it is posted, and once it is answered.
    """

    def __init__(
        self,
        store: Store,
        *,
        resends_unknown: bool = False,
        resends_changed: bool = False,
        is_upserted: bool = False,
        witness: Witness | None = None,
    ) -> None:
        #: Whether the ledger outlives the process.
        self.is_lasting = not isinstance(store, MemoryStore)
        self._import = StoredImport(store)
        self._entries = Entries(store)
        self._witness = witness
        self._policy = Policy(resends_unknown=resends_unknown, resends_changed=resends_changed)
        self._is_upserted = is_upserted
        self._is_resumed = False
        self._has_other_arguments = False
        #: What makes the keys of this try differ from those of earlier ones; empty if they must be equal.
        self._new_keys = ""

    @property
    def resends_unknown(self) -> bool:
        """Whether a batch of unknown outcome is sent again."""
        return self._policy.resends_unknown

    def superseded(self) -> Iterator[Entry]:
        """
        Yield what earlier tries have posted, as far as FullStory may be at work on it.

        It may change records which this try sends again.
        """
        if not (self._is_resumed and self._is_upserted):
            return
        for entry in self._entries.with_jobs():
            if not (self.is_verified(entry) if entry.job_id else entry.is_refused):
                yield entry

    def kept_body(self, entry: Entry) -> Body | None:
        """
        Return the body of an entry without an answer, as long as FullStory repeats that answer.

        None too if the body was not kept.
        """
        if self._witness is None or time.time() >= entry.at + IDEMPOTENCY_SECONDS:
            return None
        body = self._witness.body(entry.name)
        return body if body is not None and body.digest == entry.digest else None

    def is_verified(self, entry: Entry) -> bool:
        """Return whether the job of an entry has reported its counts, and need not do so again."""
        return entry.round < self._import.record.round

    def has(self, name: str, digest: str) -> bool:
        """
        Return whether an earlier try may have sent a batch.

        :param name: The batch's place in the import.
        :param digest: SHA-256 of its body.
        """
        entry = self._entries.read(name) if self._is_resumed else None
        return entry is not None and entry.digest == digest and self._counts(entry)

    def compared(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """
        Yield batches once each entry of earlier tries was compared.

        A source that has changed, or a batch of unknown outcome, thus ends the import before anything is
        posted. Meanwhile the few batches that were in flight when an earlier try ended wait on the disk.

        :raises FullStorySourceChangedError: If another batch was sent in a batch's place.
        :raises FullStoryAmbiguousError: If the outcome of a batch is unknown.
        """
        if not self._is_resumed:
            yield from batches
            return
        held: list[Batch] = []
        for batch in batches:
            decision, _ = self.decision(batch)
            if decision is Decision.AWAIT:
                yield batch
                continue
            if decision is Decision.SEND_HALVES:
                self._compare_halves(batch)
            held.append(batch)
            if self._entries.read(str(batch.ordinal + 1)) is None:
                yield from held
                held.clear()
        yield from held

    def _compare_halves(self, batch: Batch) -> None:
        """Compare each half of a batch that FullStory found too large."""
        for half in batch.split():
            if self.decision(half)[0] is Decision.SEND_HALVES:
                self._compare_halves(half)

    def decision(self, batch: Batch, *, is_lost: bool = False) -> tuple[Decision, Entry | None]:
        """
        Return what to do with a batch, and its entry of earlier tries.

        :param is_lost: Whether FullStory no longer reports the outcome of its job.
        :raises FullStorySourceChangedError: If another batch was sent in its place.
        :raises FullStoryAmbiguousError: If its outcome is unknown.
        """
        # A first try reads it too: another try may run at the same time, unknown to Airflow.
        entry = self._entries.read(batch.name)
        decision = decide(entry, batch, time.time(), self._policy, is_lost=is_lost)
        if decision is Decision.UNKNOWN:
            raise unknown_outcome(batch, entry, self._policy.sent_since)
        if decision is Decision.CHANGED and entry is not None:
            raise self._changed(
                f"Batch {batch.name} is not the one that an earlier try sent in its place,\n"
                f"which {fate(entry)}"
            )
        return decision, entry

    def check_end(self, batches: int) -> None:
        """
        Check that earlier tries did not send more batches than the source gives now.

        :param batches: How many it gives.
        :raises FullStorySourceChangedError: If they did.
        """
        if not self._is_resumed:
            return
        entry = next(filter(self._counts, self._entries.in_order(batches + 1)), None)
        if entry is None:
            return
        what = (
            f"The source gives {plural(batches, 'batch')}, fewer than an earlier try has sent: "
            f"batch {entry.name}\n{fate(entry)}"
        )
        if not self._policy.resends_changed:
            raise self._changed(what)
        self._import.change(has_more=True)
        log.warning('%s. It is left out, since on_source_change="resend".', what)
        if self._is_upserted:
            # Its records may have been sent in another batch since, so it is sent again if it comes back.
            for entry in self._entries.in_order(batches + 1):
                self._entries.write(dataclasses.replace(entry, digest=_LEFT_OUT))

    def enter(self, batch: Batch, decision: Decision, known: Entry | None) -> Entry:
        """
        Note that a batch is about to be posted, and return its entry.

        :param decision: ``SEND``, ``REPLAY`` or ``RESEND``.
        :param known: Its entry of earlier tries.
        """
        if self._witness is not None:
            self._witness.about_to_post(batch)
        if decision is Decision.REPLAY and known is not None:
            return known
        record = self._import.record
        now, key = time.time(), batch.idempotency_key
        if self._new_keys:
            key = str(uuid.uuid5(uuid.UUID(key), self._new_keys))
        if decision is Decision.REPLAY:
            now = min(now, self._policy.sent_since or now)
        if known is not None:
            key = self._explained_key(batch, decision, known)
            if self._counts(known) and not record.has_more:
                # FullStory keeps the records of the old entry: this is no longer the import that ended.
                self._import.change(has_more=True, stage=SENDING)
        entry = Entry(batch.name, batch.digest, key, batch.records, now, record.round)
        self._entries.write(entry)
        return entry

    def _explained_key(self, batch: Batch, decision: Decision, known: Entry) -> str:
        """Return the key of a batch in whose place earlier tries sent something, and log why it is sent."""
        if decision is Decision.RESEND:
            if self._counts(known):
                log.warning(
                    "The outcome of batch %s is unknown, which %s. It is sent again, since "
                    'on_ambiguous="resend".',
                    known.name,
                    fate(known),
                )
            return str(uuid.uuid5(uuid.UUID(known.idempotency_key), _RESENT))
        if known.digest != batch.digest and self._counts(known) and not self._policy.is_empty:
            log.warning(
                "Batch %s is not the one that an earlier try sent in its place, which %s. It is sent as it "
                'is now, since on_source_change="resend".',
                known.name,
                fate(known),
            )
        if known.digest != batch.digest and self._is_upserted:
            # Content that comes back would otherwise have the key under which it was sent before, and
            # FullStory would only repeat its answer.
            return str(uuid.uuid5(uuid.UUID(known.idempotency_key), batch.digest))
        return batch.idempotency_key

    def note(self, entry: Entry, **changes: Any) -> None:
        """
        Note FullStory's answer to a batch.

        :param changes: The new values of the entry by name.
        """
        self._entries.write(dataclasses.replace(entry, **changes))
        if self._witness is not None:
            self._witness.answered(entry.name)

    def records_of(self, number: int) -> int | None:
        """Return how many records an earlier try had in a batch, given its number; None if it sent none."""
        entry = self._entries.read(str(number)) if self._is_resumed else None
        return None if entry is None else entry.records

    def _counts(self, entry: Entry) -> bool:
        """Return whether FullStory may have records of an entry."""
        return not entry.is_refused and entry.round >= self._policy.empty_rounds

    def _changed(self, what: str) -> FullStorySourceChangedError:
        record = self._import.record
        return source_changed(
            what,
            ending=record.ending,
            version=record.version,
            has_other_arguments=self._has_other_arguments,
            is_upserted=self._is_upserted,
            is_data_at_hand=record.arguments is None,
        )
