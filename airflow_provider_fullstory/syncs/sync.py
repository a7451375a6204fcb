"""
A sync, as one import of it works on it.

An import begins by taking the hold on the sync: nobody else reads or sends meanwhile. What earlier imports
left open is settled first. Once all is sent, the hold is given up, since from then on anyone can settle the
import from its jobs. Whoever learns their outcomes takes the hold again, and notes what was imported.
"""

from __future__ import annotations

import datetime
import logging
import time
from typing import TYPE_CHECKING, Any, Final

import msgspec

from airflow_provider_fullstory.exceptions import (
    FullStoryKilledError,
    FullStorySyncOpenError,
    FullStoryTimeoutError,
)
from airflow_provider_fullstory.syncs.hold import take
from airflow_provider_fullstory.syncs.import_files import import_folder, import_numbers
from airflow_provider_fullstory.syncs.insert_ids.files import remove_unnamed, write_ids
from airflow_provider_fullstory.syncs.record import (
    InsertIdsRecord,
    OpenImport,
    SyncRecord,
    WatermarkRecord,
    read_record,
    write_record,
)
from airflow_provider_fullstory.syncs.settlement import Settlement
from airflow_provider_fullstory.syncs.watermark_order import higher
from airflow_provider_fullstory.text import plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_fullstory.batch_import.storage.folder import Folder
    from airflow_provider_fullstory.batch_import.waiting.outcomes import JobOutcome
    from airflow_provider_fullstory.syncs.definition import SyncDefinition
    from airflow_provider_fullstory.syncs.hold import Hold
    from airflow_provider_fullstory.syncs.record import StoredValue
    from airflow_provider_fullstory.syncs.settlement import Settling

#: Seconds between two looks at whether another run has settled an import.
_SECONDS_BETWEEN_LOOKS: Final = 2.0
#: Seconds for which an import that is finished waits for the hold, although its time may be up.
_SECONDS_TO_FINISH: Final = 300.0

log = logging.getLogger(__name__)


class Sync:
    """
    Let one import work on a sync.

    :param folder: The folder of the sync.
    :param definition: What the sync is.
    :param me: The task of the import.
    :param who: Its process, for people who wait for it.
    :param settling: How imports are settled.
    """

    def __init__(
        self, folder: Folder, definition: SyncDefinition, me: OpenImport, who: str, settling: Settling
    ) -> None:
        self._folder = folder
        self._definition = definition
        self._me = me
        self._who = who
        self._settling = settling
        #: The number of the import in the sync.
        self.number = 0
        self._organization: str | None = None
        self.hold: Hold | None = None

    @property
    def record(self) -> SyncRecord:
        """What the sync remembers."""
        record = read_record(self._folder)
        if record is not None:
            return record
        return SyncRecord(self._definition.name, resource=self._definition.resource)

    @property
    def folder(self) -> Folder:
        """The folder of the sync."""
        return self._folder

    def take_hold(self) -> None:
        """
        Wait until no other process works on the sync, and keep others from it.

        :raises FullStoryTimeoutError: If another one works on it until the deadline.
        """
        self.hold = take(
            self._folder,
            self._who,
            deadline=self._settling.deadline,
            is_stopped=self._settling.stopped.is_set,
        )

    def release(self) -> None:
        """Let others work on the sync."""
        if self.hold is not None:
            self.hold.release()
            self.hold = None

    # The beginning of an import, which has the hold.

    def begin(self, organization: str | None) -> Any:
        """
        Settle what earlier imports left open, and begin an import, or resume it.

        :param organization: The organization that the connection leads to, None if it is not known.
        :returns: The value that the query is given, None if the import has no watermark.
        :raises FullStoryInputError: If the sync is not what its record says.
        :raises FullStorySyncOpenError: If what another run left must be finished there first.
        """
        self._organization = organization
        record = self._without_unsent(self.record)
        self._definition.check(record)
        self._definition.check_organization(record.organization, organization)
        record = self._settled(record)
        since = self._definition.since(record)
        if record.open is None:
            record = self._opened(record)
        self.number = record.imports
        self._remove_left_folders()
        log.info("%s.", ", ".join(self._summary(record, since)))
        return since

    def _opened(self, record: SyncRecord) -> SyncRecord:
        definition, insert_ids = self._definition, record.insert_ids
        if insert_ids is None or not insert_ids.count:
            insert_ids = definition.no_ids if definition.insert_id else None
        opened = msgspec.structs.replace(
            self._me,
            number=record.imports + 1,
            began_at=_now(),
            column=None if definition.watermark is None else definition.watermark.column,
        )
        return self._write(
            record,
            imports=opened.number,
            open=opened,
            insert_ids=insert_ids,
            resource=definition.resource,
            organization=self._organization or record.organization,
        )

    def _remove_left_folders(self) -> None:
        """Remove the folders of imports that were closed by processes that ended before they did so."""
        for number in import_numbers(self._folder):
            if number != self.number:
                import_folder(self._folder, number).remove()

    def _summary(self, record: SyncRecord, since: Any) -> list[str]:
        parts = [f"Import {record.imports:,} of sync {self._definition.name!r}"]
        if self._definition.watermark is not None:
            if record.watermark is None:
                why = "the first run"
            elif self._definition.is_full_refresh:
                why = "a full refresh"
            else:
                why = f"the watermark is at {record.watermark.value.value}"
            parts.append(f"which reads from {since} ({why})")
        if record.insert_ids is not None:
            parts.append(f"with {plural(record.insert_ids.count, 'insert id')} that were imported before")
        return parts

    # What earlier imports left open.

    def _without_unsent(self, record: SyncRecord) -> SyncRecord:
        """Return the record without an import that sent nothing: its definition binds nobody."""
        left = record.open
        has_ids = record.insert_ids is not None or bool(self._definition.insert_id)
        # Without insert ids, this task may have staged what it is about to send.
        if left is None or (left.is_of(self._me) and not has_ids) or self._settlement(left).has_sent:
            return record
        log.info("%s left import %d open, but sent nothing.", _capital(left), left.number)
        return self._write(record, open=None)

    def _settled(self, record: SyncRecord) -> SyncRecord:
        """Return the record without an open import, or with this task's own, which is to be resumed."""
        left = record.open
        if left is None:
            return record
        # Without insert ids, a task resumes what it began itself.
        if not self._definition.insert_id and left.is_of(self._me):
            if self._definition.is_upserted:
                # Their jobs must be finished before the task sends what has changed since.
                self._settlement(left).ask_for_answers()
            return record
        if self._definition.is_repeatable:
            log.info("%s left import %d open, which is settled first.", _capital(left), left.number)
            return self._closed(record, left)
        settlement = self._settlement(left)
        if settlement.has_sent and left.invalid is not None:
            settlement.settle()
            if not left.invalid and settlement.is_whole:
                log.info("All that %s sent is in FullStory.", left)
                return self._write(record, open=None, watermark=_moved(record, left))
        # Looked at again: batches of unknown outcome may count as not sent by now.
        if not settlement.has_sent:
            log.info("%s left import %d open, but sent nothing.", _capital(left), left.number)
            return self._write(record, open=None)
        raise FullStorySyncOpenError(
            f"{_capital(left)} has not finished import {left.number} of sync {self._definition.name!r}, "
            f"which it began at {left.began_at}: records of it may be missing, or were refused.\n"
            "Nothing was sent in this try. Without insert ids, what is missing cannot be told from what was "
            "sent.\n"
            "Let that task end; if it has, clear it: it sends only the rest, or judges anew what was refused "
            "(max_rejected).\n"
            "Or see that all is in FullStory, and move on by: fullstory-sync set "
            f"{self._definition.name!r} VALUE."
        )

    def _closed(
        self,
        record: SyncRecord,
        left: OpenImport,
        outcomes: Sequence[JobOutcome] = (),
        *,
        moves: bool = False,
    ) -> SyncRecord:
        """Note what an import has brought to FullStory, and close it."""
        settlement = self._settlement(left, outcomes)
        settlement.settle()
        ids = self._with_imported(record, left, settlement) if self._definition.insert_id else None
        # Else runs that overlap would settle each other, and each would read from where the first one did.
        moves = moves or (left.invalid == 0 and settlement.is_whole)
        watermark = _moved(record, left) if moves else record.watermark
        record = self._write(record, open=None, insert_ids=ids, watermark=watermark)
        import_folder(self._folder, left.number).remove()
        return record

    def _with_imported(self, record: SyncRecord, left: OpenImport, settlement: Settlement) -> InsertIdsRecord:
        """Return what is known of insert ids, with those that an import has brought to FullStory."""
        ids = record.insert_ids or self._definition.no_ids
        file = write_ids(self._folder, left.number, settlement.imported(), ids.id_bytes)
        if not file.count:
            return ids
        log.info("Import %d: %s noted.", left.number, plural(file.count, "insert id"))
        return msgspec.structs.replace(ids, recent=[*ids.recent, file])

    def _settlement(self, left: OpenImport, outcomes: Sequence[JobOutcome] = ()) -> Settlement:
        return Settlement(import_folder(self._folder, left.number), left, self._settling, outcomes)

    # The end of an import.

    def note_highest(self, highest: StoredValue | None) -> None:
        """
        Note the highest value of the watermark's column, once the source is read to its end.

        :param highest: The value, None if no record has one.
        """
        record = self.record
        if record.open is not None and self._is_open(record):
            # The task may have named another column since the import began.
            watermark = self._definition.watermark
            column = None if watermark is None else watermark.column
            self._write(record, open=msgspec.structs.replace(record.open, highest=highest, column=column))

    def sent(self, *, invalid: int) -> None:
        """
        Note that all was sent, and let others work on the sync.

        :param invalid: How many records were never sent.
        """
        record = self.record
        if record.open is not None and self._is_open(record):
            opened = msgspec.structs.replace(record.open, invalid=invalid)
            self._write(record, open=opened)
        self.release()

    def finish(self, outcomes: Sequence[JobOutcome], *, is_success: bool) -> WatermarkRecord | None:
        """
        Note what the import has brought to FullStory, and return the watermark, None if there is none.

        :param outcomes: The outcomes of its jobs, as far as they are known.
        :param is_success: Whether no more records were refused than the task allows, so that the watermark
            may move.
        """
        if not self._take_hold_if_open():
            log.info(
                "Import %d of sync %r is closed already: another run has settled it, or fullstory-sync has "
                "closed it.",
                self.number,
                self._definition.name,
            )
            return self.record.watermark
        try:
            record = self.record
            done, before = record.open, record.watermark
            if done is None or not self._is_open(record):
                return before
            if self._definition.insert_id:
                record = self._closed(record, done, outcomes, moves=is_success)
            elif is_success:
                record = self._write(record, open=None, watermark=_moved(record, done))
                import_folder(self._folder, self.number).remove()
            if record.watermark is not None and record.watermark != before:
                log.info("The watermark is at %s now.", record.watermark.value.value)
            return record.watermark
        finally:
            self.release()

    def keep_ids(self, record: InsertIdsRecord | None) -> None:
        """Let the record name other files of insert ids, with the same ids, and remove those before."""
        before = self.record
        if record is None or before.insert_ids is None:
            return
        self._write(before, insert_ids=record)
        remove_unnamed(self._folder, before.insert_ids, record)

    def _take_hold_if_open(self) -> bool:
        """Take the hold, unless another run settles the import meanwhile; return whether it is held."""
        looked_at, is_open = time.monotonic(), self._is_open(self.record)

        def is_over() -> bool:
            nonlocal looked_at, is_open
            if time.monotonic() - looked_at >= _SECONDS_BETWEEN_LOOKS:
                looked_at, is_open = time.monotonic(), self._is_open(self.record)
            return not is_open or self._settling.stopped.is_set()

        if not is_open:
            return False
        deadline = max(self._settling.deadline, time.time() + _SECONDS_TO_FINISH)
        try:
            self.hold = take(self._folder, self._who, deadline=deadline, is_stopped=is_over)
        except FullStoryTimeoutError as error:
            error.add("The records of this import are in FullStory. A later run of the sync notes them.")
            raise
        except FullStoryKilledError:
            if is_open:
                raise
            return False
        return True

    def _is_open(self, record: SyncRecord) -> bool:
        return record.open is not None and record.open.number == self.number

    def _write(self, record: SyncRecord, **changes: Any) -> SyncRecord:
        record = msgspec.structs.replace(record, **changes)
        if self.hold is not None:
            self.hold.check()
        write_record(self._folder, record)
        return record


def _moved(record: SyncRecord, done: OpenImport) -> WatermarkRecord | None:
    """Return the watermark after an import; it never moves back."""
    known = record.watermark
    if done.highest is None or done.column is None:
        return known
    if known is not None and higher(known.value, done.highest, done.column) == known.value:
        return known
    return WatermarkRecord(done.column, done.highest, _now(), f"import {done.number}, {done}")


def _capital(left: OpenImport) -> str:
    text = str(left)
    return text[:1].upper() + text[1:]


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
