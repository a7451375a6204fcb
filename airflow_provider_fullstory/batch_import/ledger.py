"""
The ledger of an import: which batch went out under which key, and which job answers for it.

An entry is written before a batch is sent and completed after it, in a store that outlives the process. So a
later try knows of every batch that FullStory may have, and sends none of them anew. Each batch costs two
small writes and a read, however many there are.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import msgspec

from airflow_provider_fullstory import __version__
from airflow_provider_fullstory.api.protocol import IDEMPOTENCY_SECONDS
from airflow_provider_fullstory.batch_import.report import ImportReport
from airflow_provider_fullstory.exceptions import (
    FullStoryAmbiguousError,
    FullStoryInputError,
    FullStoryLedgerError,
    FullStorySourceChangedError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Literal

    from airflow_provider_fullstory.batch_import.batches import Batch

FAIL: Final = "fail"
RESEND: Final = "resend"
#: Where a ledger keeps what is known of the import as a whole; without it, nothing is known.
IMPORT_KEY: Final = "fullstory_import"
_SENDING, _SUBMITTED, _FINISHED = "sending", "submitted", "finished"

log = logging.getLogger(__name__)
T = TypeVar("T")


class Store(Protocol):
    """Where a ledger is kept: small JSON objects by key. Used from several threads at once."""

    def get(self, key: str) -> dict[str, Any] | None:
        """Return what was last set, None where nothing was."""

    def set(self, key: str, value: dict[str, Any]) -> None:
        """Keep a value, or replace it as a whole: a reader never meets half of it."""


class MemoryStore(dict[str, dict[str, Any]]):
    """Keep a ledger no longer than the process lives."""

    def set(self, key: str, value: dict[str, Any]) -> None:
        """Keep a value."""
        self[key] = value


@dataclasses.dataclass(slots=True)
class Entry:
    """
    What is known of one batch.

    :param name: The batch's place in the import: ``12``, or ``12.1`` for its first half.
    :param digest: SHA-256 of its body.
    :param idempotency_key: The key under which it was sent.
    :param records: How many records it holds.
    :param at: When it was first sent, in seconds since the epoch.
    :param job_id: The job that FullStory answered with.
    :param is_split: Whether FullStory found it too large, so that its halves count instead.
    :param is_refused: Whether FullStory certainly did not take it.
    :param has_failed: Whether FullStory last answered with a server error.
    """

    name: str
    digest: str
    idempotency_key: str
    records: int
    at: float
    job_id: str | None = None
    is_split: bool = False
    is_refused: bool = False
    has_failed: bool = False
    #: When an earlier try sent it, where the answer is not known.
    sent_before: float | None = None


@dataclasses.dataclass(slots=True)
class _Import:
    """
    What is known of the import as a whole.

    :param generation: Counts the times that the import was begun anew, so that entries do not mix.
    :param life: What Airflow's ``max_tries`` was: clearing a task changes it, a retry does not.
    :param version: The version of this package that began it.
    :param arguments: Fingerprint of what the source and its mapping are, None where only data can tell.
    :param stage: How far it is.
    :param batches: How many batches there are, once all were sent.
    :param report: The report's counts, once all were sent.
    """

    generation: int
    life: int
    version: str
    arguments: str | None
    stage: str = _SENDING
    batches: int = 0
    report: dict[str, Any] = dataclasses.field(default_factory=dict)


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
        self._resends_ambiguous = on_ambiguous == RESEND
        self._resends_changed = on_source_change == RESEND
        self._is_resumed = False
        self._has_other_arguments = False
        self._import = _Import(0, 0, __version__, None)

    @property
    def generation(self) -> int:
        """Which of the task's imports this is, from 1; clearing a finished one begins another."""
        return self._import.generation

    @property
    def promise(self) -> str:
        """What a retry will do about batches that were sent, as a sentence."""
        if isinstance(self._store, MemoryStore):
            return (
                "A retry sends equal batches under the same idempotency keys, and for 24 hours FullStory "
                "takes none of them twice."
            )
        return "A retry waits for these jobs and sends only the rest."

    @property
    def resends_ambiguous(self) -> bool:
        """Whether a batch is sent again where nobody can know if FullStory has it."""
        return self._resends_ambiguous

    @property
    def is_lasting(self) -> bool:
        """Whether it outlives the process."""
        return not isinstance(self._store, MemoryStore)

    def has(self, name: str, digest: str) -> bool:
        """
        Tell whether an earlier try may have sent a batch.

        :param name: The batch's place in the import.
        :param digest: SHA-256 of its body.
        """
        entry = self._entry(name) if self._is_resumed else None
        return entry is not None and entry.digest == digest and not entry.is_refused

    def begin(self, arguments: str | None, life: int) -> ImportReport | None:
        """
        Begin the import, or go on with what an earlier try began.

        :param arguments: Fingerprint of what the source and its mapping are; None where the data is at hand,
            which is then compared itself.
        :param life: Airflow's ``max_tries``.
        :returns: The report where all was sent before: complete if the import is finished.
        """
        if (known := self._load()) is None:
            self._start(1, arguments, life)
            return None
        if known.stage == _FINISHED and known.life != life:
            self._start(known.generation + 1, arguments, life)
            return None
        self._is_resumed = True
        self._has_other_arguments = known.arguments != arguments
        is_same = arguments is not None and not self._has_other_arguments
        if known.stage == _FINISHED and is_same:
            # The task died after the import had ended, before Airflow knew.
            return self._report()
        # Jobs that FullStory no longer knows show only batch by batch.
        if known.stage == _SUBMITTED and is_same and not self._resends_ambiguous:
            if known.life != life:
                self._change(life=life)
            return self._report()
        # Written only once everything was compared: until then, what is known is still of the earlier try.
        self._import = dataclasses.replace(known, arguments=arguments, life=life)
        return None

    def find(self, batch: Batch) -> Entry | None:
        """
        Return what earlier tries left of a batch, None where it is to be sent as if for the first time.

        :param batch: The batch.
        :raises FullStorySourceChangedError: Where another batch was sent in its place.
        :raises FullStoryAmbiguousError: Where it was sent without an answer, too long ago to be recognized.
        """
        # Asked for in a first try too: another one may run at the same time, unknown to Airflow.
        entry = self._entry(batch.name)
        if entry is None or (entry.is_refused and (entry.digest == batch.digest or not self._has_sent())):
            return None
        if entry.digest != batch.digest:
            self._refuse_change(
                f"Batch {batch.name} is not the one that an earlier try sent in its place, which "
                f"{_fate(entry)}"
            )
            return None
        if entry.job_id or entry.is_split:
            return entry
        if entry.has_failed and entry.idempotency_key != batch.idempotency_key:
            log.warning(
                "Batch %s, which FullStory answered with an error, goes out under a new idempotency key, "
                "since idempotency_salt was changed.",
                batch.name,
            )
            return None
        if time.time() >= entry.at + IDEMPOTENCY_SECONDS:
            self._refuse_ambiguity(entry)
            return None
        entry.sent_before = entry.at
        return entry

    def enter(self, batch: Batch, known: Entry | None) -> Entry:
        """
        Note that a batch is about to be sent.

        :param batch: The batch.
        :param known: What ``find`` returned for it.
        """
        if known is not None:
            return known
        entry = Entry(batch.name, batch.digest, batch.idempotency_key, batch.records, self._first_sent(batch))
        self._write(entry)
        return entry

    def accepted(self, entry: Entry, job_id: str) -> None:
        """
        Note the job that FullStory answered with.

        :param entry: The batch's entry.
        :param job_id: The job.
        """
        entry.job_id = job_id
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
        Note that FullStory answered with a server error, which it may go on repeating for the key.

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
        while (entry := self._entry(str(number))) is not None and entry.is_refused:
            number += 1
        if entry is not None:
            self._refuse_change(
                f"The source gives {batches} batches, fewer than an earlier try has sent: batch {entry.name} "
                f"{_fate(entry)}"
            )

    def submitted(self, report: ImportReport, batches: int) -> ImportReport:
        """
        Note that all batches were sent, and return the report so far.

        :param report: The report so far.
        :param batches: How many batches the source gave.
        :returns: The complete report, where these batches make up an import that has ended.
        """
        if self._import.stage == _FINISHED and (ended := self._report()).job_ids == report.job_ids:
            return ended
        self._change(stage=_SUBMITTED, batches=batches, report=_counts(report))
        return report

    def finished(self, report: ImportReport) -> None:
        """
        Note that the import has ended; the next one of this task begins anew.

        :param report: The complete report.
        """
        # The task may end in another process than the one that sent the batches.
        if self._import.generation or self._load() is not None:
            self._change(stage=_FINISHED, report=_counts(report))

    def _has_sent(self) -> bool:
        """Tell whether FullStory has, or may have, any batch of this import."""
        number = 1
        while (entry := self._entry(str(number))) is not None:
            if not entry.is_refused:
                return True
            number += 1
        return False

    def _first_sent(self, batch: Batch) -> float:
        """Return since when FullStory may know a batch's key: the import before this one may have used it."""
        now = time.time()
        before = self._entry(batch.name, self.generation - 1) if self.generation > 1 else None
        if before is None or before.idempotency_key != batch.idempotency_key:
            return now
        return before.at if now < before.at + IDEMPOTENCY_SECONDS else now

    def _start(self, generation: int, arguments: str | None, life: int) -> None:
        self._import = _Import(generation, life, __version__, arguments)
        self._save()

    def _change(self, **changes: Any) -> None:
        self._import = dataclasses.replace(self._import, **changes)
        self._save()

    def _save(self) -> None:
        self._store.set(IMPORT_KEY, dataclasses.asdict(self._import))

    def _load(self) -> _Import | None:
        value = self._store.get(IMPORT_KEY)
        if value is None:
            return None
        self._import = _read(value, _Import)
        return self._import

    def _entry(self, name: str, generation: int | None = None) -> Entry | None:
        value = self._store.get(self._key(name, generation))
        return None if value is None else _read({"name": name} | value, Entry)

    def _write(self, entry: Entry) -> None:
        value = dataclasses.asdict(entry)
        del value["name"], value["sent_before"]
        # What is not set is left out: there may be thousands of entries.
        self._store.set(self._key(entry.name), {name: item for name, item in value.items() if item})

    def _key(self, name: str, generation: int | None = None) -> str:
        return f"fullstory_batch_{generation or self._import.generation}_{name}"

    def _report(self) -> ImportReport:
        """Return the report of batches that were all sent."""
        report = ImportReport(**self._import.report)
        report.job_ids = [
            job_id for number in range(1, self._import.batches + 1) for job_id in self._jobs_of(str(number))
        ]
        return report

    def _jobs_of(self, name: str) -> Iterator[str]:
        entry = self._entry(name)
        if entry is None:
            return
        if entry.job_id:
            yield entry.job_id
        elif entry.is_split:
            for half in (1, 2):
                yield from self._jobs_of(f"{name}.{half}")

    def _refuse_change(self, what: str) -> None:
        if self._resends_changed:
            log.warning('%s. It is sent as it is now, since on_source_change="resend".', what)
            return
        upgrade = (
            f"; or this package was upgraded, from {self._import.version} to {__version__}"
            if self._import.version != __version__
            else ""
        )
        if self._has_other_arguments:
            reason = (
                "Its arguments changed (sql, parameters, mapping, batch_size, ...), or the item of this "
                f"mapped task{upgrade}. With the old ones, a retry goes on where the last try ended"
            )
        elif self._import.arguments is None:
            reason = (
                "Its records or their order changed, or its arguments (batch_size, mapping, ...), or the "
                f"item of this mapped task{upgrade}"
            )
        else:
            reason = (
                f"Its rows or their order changed{upgrade}. ORDER BY a unique column; staging_uri= keeps the "
                "batches of the first try"
            )
        raise FullStorySourceChangedError(
            f"The task no longer gives the batches that it gave in an earlier try. {what}. {reason}. Nothing "
            'new was sent in this try. on_source_change="resend" sends all that changed, though FullStory '
            "will then have some records twice."
        )

    def _refuse_ambiguity(self, entry: Entry) -> None:
        what = (
            f"Batch {entry.name} ({entry.records} records) was sent {_utc(entry.at)}, and no answer arrived. "
            "FullStory recognizes a repeated batch for 24 hours only, so nobody can know whether it has "
            "these records"
        )
        if self._resends_ambiguous:
            log.warning('%s. They are sent again, since on_ambiguous="resend".', what)
            return
        raise FullStoryAmbiguousError(
            f"{what}. Nothing was sent again. Look for them in FullStory; if they are missing, or twice is "
            'better than never, set on_ambiguous="resend" and clear the task.'
        )


def _read(value: dict[str, Any], kind: type[T]) -> T:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise FullStoryLedgerError(
            f"The ledger of this task holds something that this version of the package cannot read: {error}. "
            "Nothing was sent. Finish the run with the version that began it."
        ) from error


def _fate(entry: Entry) -> str:
    """Say what became of a batch of an earlier try."""
    if entry.job_id:
        return f"was sent {_utc(entry.at)} and accepted as job {entry.job_id} ({entry.records} records)"
    return f"was sent {_utc(entry.at)} and may be in FullStory ({entry.records} records)"


def _utc(seconds: float) -> str:
    return f"at {time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(seconds))} UTC"


def _counts(report: ImportReport) -> dict[str, Any]:
    # The jobs are in the entries: one value with all of them would grow with the import.
    return report.to_xcom() | {"job_ids": []}
