"""
The ledger of an import: which batch went out under which key, and which job answers for it.

An entry is written before a batch is sent and completed after it, in a store that outlives the process. So a
later try knows of every batch that FullStory may have, and sends none of them anew. Each batch costs two
small writes and a read, however many there are. What a try does with a batch is decided in ``decision``.
"""

from __future__ import annotations

import dataclasses
import logging
import time
import uuid
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from airflow_provider_fullstory import __version__
from airflow_provider_fullstory.batch_import.ledger.conflicts import fate, source_changed, unknown_outcome
from airflow_provider_fullstory.batch_import.ledger.decision import Decision, Policy, decide
from airflow_provider_fullstory.batch_import.ledger.entries import Entry
from airflow_provider_fullstory.batch_import.ledger.stores import MemoryStore
from airflow_provider_fullstory.batch_import.reporting.report import ImportReport
from airflow_provider_fullstory.exceptions import FullStoryInputError, FullStoryLedgerError
from airflow_provider_fullstory.text import plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Literal

    from airflow_provider_fullstory.batch_import.batching.batch import Batch
    from airflow_provider_fullstory.batch_import.ledger.stores import Store
    from airflow_provider_fullstory.exceptions import FullStorySourceChangedError

FAIL: Final = "fail"
RESEND: Final = "resend"
#: Where a ledger keeps what is known of the import as a whole; without it, nothing is known.
IMPORT_KEY: Final = "import"
#: What a record of the import says of how far it is: batches are sent; all were accepted; their jobs have
#: ended, and the import did not pass its gates; it has passed them.
SENDING, SENT, ENDED, SUCCEEDED = "sending", "sent", "ended", "succeeded"
#: Makes a new key for a batch whose outcome under the old one is unknown.
_RESENT: Final = "resent"

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True)
class _Import:
    """
    What is known of the import as a whole.

    :param id: Random; tells its staged batches from those of any other import.
    :param version: The version of this package that began it.
    :param try_number: The latest try that worked on it.
    :param organization: Whom the batches went to, None where FullStory did not say.
    :param round: Counts how often the jobs of all its batches had ended, with counts.
    :param empty_rounds: See ``Policy``.
    :param arguments: Fingerprint of what the source and its mapping are, None where only data can tell.
    :param stage: How far it is.
    :param batches: How many batches there are, once all were sent.
    :param report: The report's counts, once all were sent.
    :param has_more: Whether FullStory may have records of batches that are no longer part of it.
    :param run: Tells its DAG run from one that had the same id before.
    :param is_remade: Whether its run was deleted and made anew, and has not compared its source yet.
    """

    id: str
    version: str
    try_number: int
    organization: str | None = None
    round: int = 0
    empty_rounds: int = 0
    arguments: str | None = None
    stage: str = SENDING
    batches: int = 0
    report: dict[str, Any] = dataclasses.field(default_factory=dict)
    has_more: bool = False
    run: str = ""
    is_remade: bool = False

    @property
    def waits_for_judgement(self) -> bool:
        """Whether all was sent, FullStory may have some of it, and the import has not passed its gates."""
        if not self.batches or self.is_remade:
            return False
        return self.stage == SENT or (self.stage == ENDED and self.report.get("imported") != 0)


class Ledger:
    """
    Keep account of what was sent, over all tries of a task.

    :param store: Where it is kept.
    :param on_ambiguous: ``fail``, or ``resend`` a batch of which nobody can know whether FullStory has it.
    :param on_source_change: ``fail``, or ``resend`` where the source no longer gives what was sent.
    """

    def __init__(
        self,
        store: Store,
        *,
        on_ambiguous: Literal["fail", "resend"] = "fail",
        on_source_change: Literal["fail", "resend"] = "fail",
    ) -> None:
        for name, policy in (("on_ambiguous", on_ambiguous), ("on_source_change", on_source_change)):
            if policy not in (FAIL, RESEND):
                raise FullStoryInputError(f"{name} is {policy!r}; it must be 'fail' or 'resend'.")
        self._store = store
        self._policy = Policy(
            resends_unknown=on_ambiguous == RESEND, resends_changed=on_source_change == RESEND
        )
        self._is_resumed = self._is_new = False
        self._has_other_arguments = False
        self._import = _Import("", __version__, 0)

    @property
    def import_id(self) -> str:
        """What tells this import from any other, under whatever name."""
        return self._import.id

    @property
    def organization(self) -> str | None:
        """The organization that has its batches, None where that is not known."""
        return self._import.organization

    @property
    def promise(self) -> str:
        """What a retry will do about batches that were sent, as a sentence."""
        return self.promised("A retry")

    def promised(self, who: str) -> str:
        """
        Return what a later try will do about batches that were sent, as a sentence.

        :param who: Its subject.
        """
        if self.is_lasting:
            return f"{who} waits for these jobs and sends only the rest."
        return f"{who} sends equal batches under the same keys: for 24 hours FullStory takes none twice."

    @property
    def resends_unknown(self) -> bool:
        """Whether a batch is sent again where nobody can know if FullStory has it."""
        return self._policy.resends_unknown

    def is_verified(self, entry: Entry) -> bool:
        """
        Return whether the job of an entry has told what became of each record, and need not do so again.

        :param entry: The entry.
        """
        return entry.round < self._import.round

    @property
    def is_lasting(self) -> bool:
        """Whether it outlives the process."""
        return not isinstance(self._store, MemoryStore)

    def has(self, name: str, digest: str) -> bool:
        """
        Return whether an earlier try may have sent a batch.

        :param name: The batch's place in the import.
        :param digest: SHA-256 of its body.
        """
        entry = self._entry(name) if self._is_resumed else None
        return entry is not None and entry.digest == digest and self._counts(entry)

    @property
    def is_new(self) -> bool:
        """Whether the source is to be read anew: what was staged under this name is another import's."""
        return self._is_new

    def begin(
        self, arguments: str | None, *, try_number: int, sent_since: float | None, run: str = ""
    ) -> ImportReport | None:
        """
        Begin the import, or go on with what an earlier try began.

        :param arguments: Fingerprint of what the source and its mapping are; None where the data is at hand,
            which is then compared itself.
        :param try_number: Airflow's number of the try, from 1.
        :param sent_since: Since when earlier tries of which no ledger is left may have sent batches, in
            seconds since the epoch; None where there were none.
        :param run: What tells the DAG run from one that had the same id before.
        :returns: The report where all was sent, but the import has not passed its gates: complete if its jobs
            have ended.
        """
        known = self._load()
        self._policy = dataclasses.replace(self._policy, sent_since=sent_since)
        if known is None:
            self._import = _Import(uuid.uuid4().hex, __version__, try_number, arguments=arguments, run=run)
            self._is_new = True
            self._save()
            return None
        self._is_resumed = True
        self._has_other_arguments = known.arguments != arguments
        known = self._taken_over(known, try_number, run)
        self._policy = dataclasses.replace(self._policy, empty_rounds=known.empty_rounds)
        self._policy = dataclasses.replace(self._policy, is_empty=not self._has_taken())
        is_same = arguments is not None and not self._has_other_arguments
        # Jobs that FullStory no longer knows, and that have not told their counts, show only batch by batch.
        is_compared = known.stage == SENT and self._policy.resends_unknown
        if known.waits_for_judgement and is_same and not (self._is_new or is_compared):
            return self._report()
        # Written only once everything was compared: until then, what is known is still of the earlier try.
        self._import = dataclasses.replace(known, arguments=arguments)
        return None

    def check_organization(self, organization: str | None) -> None:
        """
        Refuse to go on with an import in another organization than the one that has its batches.

        :param organization: The organization that the connection leads to, None where it is not known.
        :raises FullStoryInputError: Where it is another one.
        """
        known = self._import.organization
        if organization is None or organization == known:
            return
        if known is not None and self._is_resumed and not self._policy.is_empty:
            raise FullStoryInputError(
                f"The connection leads to organization {organization!r}, but earlier tries sent batches of "
                f"this import to {known!r}. Nothing was sent in this try. Let the connection lead to "
                f"{known!r} again; or change idempotency_salt to send all records to {organization!r}, as a "
                "new import."
            )
        # The arguments of this try are noted once everything was compared.
        arguments = self._import.arguments
        self._load()
        self._change(organization=organization)
        self._import = dataclasses.replace(self._import, arguments=arguments)

    def compared(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """
        Yield batches once all that earlier tries entered were compared.

        So a source that has changed, or a batch of unknown outcome, ends the import before anything is
        posted. The few batches that were under way when an earlier try ended wait for that on the disk.

        :param batches: The batches as they are made.
        :raises FullStorySourceChangedError: Where another batch was sent in a batch's place.
        :raises FullStoryAmbiguousError: Where the outcome of one is unknown.
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
            if self._entry(str(batch.ordinal + 1)) is None:
                yield from held
                held.clear()
        yield from held

    def decision(self, batch: Batch, *, is_lost: bool = False) -> tuple[Decision, Entry | None]:
        """
        Return what to do with a batch, and what earlier tries left of it.

        :param batch: The batch.
        :param is_lost: Whether FullStory no longer tells what became of its job.
        :raises FullStorySourceChangedError: Where another batch was sent in its place.
        :raises FullStoryAmbiguousError: Where its outcome is unknown.
        """
        # Asked for in a first try too: another one may run at the same time, unknown to Airflow.
        entry = self._entry(batch.name)
        decision = decide(entry, batch, time.time(), self._policy, is_lost=is_lost)
        if decision is Decision.UNKNOWN:
            raise unknown_outcome(batch, entry, self._policy.sent_since)
        if decision is Decision.CHANGED and entry is not None:
            raise self._changed(
                f"Batch {batch.name} is not the one that an earlier try sent in its place,\n"
                f"which {fate(entry)}"
            )
        return decision, entry

    def enter(self, batch: Batch, decision: Decision, known: Entry | None) -> Entry:
        """
        Note that a batch is about to be posted, and return its entry.

        :param batch: The batch.
        :param decision: ``SEND``, ``REPLAY`` or ``RESEND``.
        :param known: What earlier tries left of it.
        """
        if decision is Decision.REPLAY and known is not None:
            return known
        now, key = time.time(), batch.idempotency_key
        if decision is Decision.REPLAY:
            now = min(now, self._policy.sent_since or now)
        if known is not None:
            key = self._explained_key(batch, decision, known)
            if self._counts(known) and not self._import.has_more:
                # What is overwritten stays in FullStory; and the import is no longer the one that was judged.
                self._change(has_more=True, stage=SENDING)
        entry = Entry(batch.name, batch.digest, key, batch.records, now, self._import.round)
        self._write(entry)
        return entry

    def accepted(self, entry: Entry, job_id: str) -> None:
        """
        Note the job that FullStory answered with.

        :param entry: The batch's entry.
        :param job_id: The job.
        """
        entry.job_id = job_id
        entry.has_failed = False
        self._write(entry)

    def split(self, entry: Entry) -> None:
        """
        Note that FullStory found a batch too large.

        :param entry: The batch's entry.
        """
        entry.is_split = True
        self._write(entry)

    def failed(self, entry: Entry) -> None:
        """
        Note that FullStory answered a repeated request with a server error, and may go on to do so.

        :param entry: The batch's entry.
        """
        entry.has_failed = True
        self._write(entry)

    def refused(self, entry: Entry) -> None:
        """
        Note that FullStory did not take a batch.

        :param entry: The batch's entry.
        """
        entry.is_refused = True
        self._write(entry)

    def check_end(self, batches: int) -> None:
        """
        Check that earlier tries did not send more batches than the source now gives.

        :param batches: How many it gives.
        :raises FullStorySourceChangedError: Where they did.
        """
        if not self._is_resumed:
            return
        number = batches + 1
        while (entry := self._entry(str(number))) is not None and not self._counts(entry):
            number += 1
        if entry is None:
            return
        what = (
            f"The source gives {plural(batches, 'batch')}, fewer than an earlier try has sent: "
            f"batch {entry.name}\n{fate(entry)}"
        )
        if not self._policy.resends_changed:
            raise self._changed(what)
        self._change(has_more=True)
        log.warning('%s. It is left out, since on_source_change="resend".', what)

    def sent(self, report: ImportReport, batches: int) -> ImportReport:
        """
        Note that all batches were sent, and return the report so far.

        :param report: The report so far.
        :param batches: How many batches the source gave.
        :returns: The complete report, where these batches make up an import whose jobs have ended.
        """
        is_known = self._import.stage in (ENDED, SUCCEEDED) and self._import.batches == batches
        # Records that are refused here are in no batch.
        before = self._import.report
        is_known = is_known and (before.get("records"), before.get("invalid")) == (
            report.records,
            report.invalid,
        )
        # Entries are read one by one, so only where all else is equal.
        if is_known and all(
            self.is_verified(entry) for number in range(1, batches + 1) for entry in self._leaves(str(number))
        ):
            return self._report()
        self._change(stage=SENT, batches=batches, report=_counts(report), is_remade=False)
        return report

    def ended(self, report: ImportReport, *, is_success: bool) -> None:
        """
        Note that the import has ended.

        :param report: The report.
        :param is_success: Whether it has passed its gates.
        """
        # The task may end in another process than the one that sent the batches.
        if not self._import.id and self._load() is None:
            return
        changes: dict[str, Any] = {
            "stage": SUCCEEDED if is_success else ENDED,
            "report": _counts(report),
            "is_remade": False,
        }
        if report.imported is not None:
            changes["round"] = self._import.round + 1
        if report.imported == 0 and not self._import.has_more:
            changes["empty_rounds"] = self._import.round + 1
        self._change(**changes)

    @property
    def is_own(self) -> bool:
        """Whether no later try of the task works on the import, which then owns what is left of it."""
        known = self._read_import()
        return known is None or known.try_number <= self._import.try_number

    def _taken_over(self, known: _Import, try_number: int, run: str) -> _Import:
        """Note that this try works on the import, and return what is known of that."""
        is_new_run = run != known.run
        known = dataclasses.replace(known, is_remade=known.is_remade or is_new_run)
        # What has ended is not gone on with, but compared with what the source gives now.
        self._is_new = is_new_run or not (known.stage == SENDING or known.waits_for_judgement)
        import_id = uuid.uuid4().hex if self._is_new else known.id
        self._import = dataclasses.replace(known, try_number=try_number, id=import_id, run=run)
        self._save()
        return self._import

    def _compare_halves(self, batch: Batch) -> None:
        """Find what stands in the way of any half of a batch that FullStory found too large."""
        for half in batch.split():
            if self.decision(half)[0] is Decision.SEND_HALVES:
                self._compare_halves(half)

    def _explained_key(self, batch: Batch, decision: Decision, known: Entry) -> str:
        """Return the key under which a batch is sent though earlier tries sent something in its place."""
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
        return batch.idempotency_key

    def _counts(self, entry: Entry) -> bool:
        """Return whether FullStory may have records of an entry."""
        return not entry.is_refused and entry.round >= self._policy.empty_rounds

    def _has_taken(self) -> bool:
        """Return whether FullStory has, or may have, any batch of the import."""
        number = 1
        while (entry := self._entry(str(number))) is not None:
            if self._counts(entry):
                return True
            number += 1
        return False

    def _change(self, **changes: Any) -> None:
        self._import = dataclasses.replace(self._import, **changes)
        latest = self._read_import()
        if latest is not None and latest.try_number > self._import.try_number:
            # This try was taken for dead, and another one works on the import.
            self._store.set(
                IMPORT_KEY,
                _set_values(dataclasses.replace(self._import, try_number=latest.try_number, id=latest.id)),
            )
            return
        self._save()

    def _save(self) -> None:
        self._store.set(IMPORT_KEY, _set_values(self._import))

    def _load(self) -> _Import | None:
        known = self._read_import()
        if known is not None:
            self._import = known
        return known

    def _read_import(self) -> _Import | None:
        value = self._store.get(IMPORT_KEY)
        return None if value is None else _read(value, _Import)

    def _entry(self, name: str) -> Entry | None:
        value = self._store.get(_key(name))
        return None if value is None else _read({"name": name} | value, Entry)

    def _write(self, entry: Entry) -> None:
        value = _set_values(entry)
        del value["name"]
        self._store.set(_key(entry.name), value)

    def _report(self) -> ImportReport:
        """Return the report of batches that were all sent."""
        report = ImportReport(**self._import.report)
        report.job_ids = [
            entry.job_id
            for number in range(1, self._import.batches + 1)
            for entry in self._leaves(str(number))
            if entry.job_id
        ]
        return report

    def _leaves(self, name: str) -> Iterator[Entry]:
        """Yield the entry of a batch, or those of its halves."""
        entry = self._entry(name)
        if entry is not None and entry.is_split and not entry.job_id:
            for half in (1, 2):
                yield from self._leaves(f"{name}.{half}")
        elif entry is not None:
            yield entry

    def _changed(self, what: str) -> FullStorySourceChangedError:
        return source_changed(
            what,
            ending=self._ending,
            version=self._import.version,
            has_other_arguments=self._has_other_arguments,
            is_data_at_hand=self._import.arguments is None,
        )

    @property
    def _ending(self) -> str:
        """How the import ended that earlier tries sent, as a sentence; empty where it did not."""
        report = self._import.report
        if self._import.stage not in (ENDED, SUCCEEDED):
            return ""
        if report.get("imported") is None:
            return f"\nAll {report.get('records'):,} records of that import were sent."
        return (
            f"\nThat import had ended with {report.get('imported'):,} of {report.get('records'):,} records "
            "in FullStory."
        )


def _key(name: str) -> str:
    return f"batch_{name}"


def _set_values(value: Entry | _Import) -> dict[str, Any]:
    """Return JSON without what is not set: there may be thousands of entries."""
    return {name: item for name, item in dataclasses.asdict(value).items() if item}


def _read(value: dict[str, Any], kind: type[T]) -> T:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise FullStoryLedgerError(
            f"The ledger of this task holds something that this version of the package cannot read: {error}. "
            "Nothing was sent. Finish the run with the version that began it."
        ) from error


def _counts(report: ImportReport) -> dict[str, Any]:
    """Return what is set of a report, but for the jobs: these are in the entries, and may be many."""
    values = report.to_xcom() | {"job_ids": None}
    return {name: value for name, value in values.items() if value not in (None, [], {})}
