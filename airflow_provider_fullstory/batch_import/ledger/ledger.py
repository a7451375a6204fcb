"""
The ledger of an import: the key and the job of each batch.

An entry is written before a batch is sent and completed afterwards, in a store that outlives the process. So
a later try knows of each batch that FullStory may have, and sends none of them again. Each batch costs two
small writes and a read, however many there are. ``decision`` decides what a try does with a batch.
"""

from __future__ import annotations

import dataclasses
import uuid
from typing import Any

from airflow_provider_fullstory import __version__
from airflow_provider_fullstory.batch_import.ledger.batch_ledger import BatchLedger
from airflow_provider_fullstory.batch_import.ledger.import_record import (
    ENDED,
    SENDING,
    SENT,
    SUCCEEDED,
    ImportRecord,
    counts_of,
)
from airflow_provider_fullstory.batch_import.reporting.report import ImportReport
from airflow_provider_fullstory.exceptions import FullStoryInputError


class Ledger(BatchLedger):
    """Keep account of an import and its batches, over all tries of a task."""

    #: Whether the source must be read again: batches that were staged under this name are another import's.
    is_new = False

    @property
    def import_id(self) -> str:
        """The id of the import, which no other import has under the same name."""
        return self._import.record.id

    @property
    def organization(self) -> str | None:
        """The organization that has its batches, None if it is not known."""
        return self._import.record.organization

    @property
    def is_own(self) -> bool:
        """Whether no later try of the task works on the import, so that this try may remove its files."""
        return self._import.is_own

    @property
    def promise(self) -> str:
        """What a retry does about batches that were sent, as a sentence."""
        return self.promised("A retry")

    def promised(self, who: str) -> str:
        """
        Return what a later try does about batches that were sent, as a sentence.

        :param who: The subject of the sentence.
        """
        if self.is_lasting:
            return f"{who} waits for these jobs and sends only the rest."
        if self._is_upserted:
            return f"{who} sends all again, which changes nothing that FullStory has already."
        return f"{who} sends equal batches under the same keys: for 24 hours FullStory takes none twice."

    def begin(
        self, arguments: str | None, *, try_number: int, sent_since: float | None, run: str = ""
    ) -> ImportReport | None:
        """
        Begin the import, or resume what an earlier try began.

        :param arguments: Fingerprint of the source and its mapping; None if the data itself is given, and is
            compared.
        :param try_number: Airflow's number of the try, from 1.
        :param sent_since: Since when earlier tries without a ledger may have sent batches, in seconds since
            the epoch; None if there were none.
        :param run: Distinguishes the DAG run from an earlier one of the same id.
        :returns: The report if all was sent, but the import has not succeeded. It is complete if its jobs are
            finished.
        """
        known = self._import.load()
        if self._is_upserted and sent_since is not None:
            # All is sent again, since what was sent last must count: under its old key, FullStory would not
            # even look at content that it had before.
            self._new_keys, sent_since = uuid.uuid4().hex, None
        self._policy = dataclasses.replace(self._policy, sent_since=sent_since)
        if known is None:
            self.is_new = True
            self._import.save(
                ImportRecord(uuid.uuid4().hex, __version__, try_number, arguments=arguments, run=run)
            )
            return None
        self._is_resumed = True
        self._has_other_arguments = known.arguments != arguments
        known = self._taken_over(known, try_number, run)
        self._policy = dataclasses.replace(self._policy, empty_rounds=known.empty_rounds)
        has_taken = any(self._counts(entry) for entry in self._entries.in_order())
        self._policy = dataclasses.replace(self._policy, is_empty=not has_taken)
        is_same = arguments is not None and not self._has_other_arguments
        # Jobs that FullStory no longer knows, and that never reported counts, show only batch by batch.
        is_compared = known.stage == SENT and self.resends_unknown
        if known.is_to_be_checked and is_same and not (self.is_new or is_compared):
            return self._report()
        # Written only once everything was compared: until then, the record is that of the earlier try.
        self._import.record = dataclasses.replace(known, arguments=arguments)
        return None

    def _taken_over(self, known: ImportRecord, try_number: int, run: str) -> ImportRecord:
        """Note that this try works on the import, and return its record."""
        is_new_run = run != known.run
        known = dataclasses.replace(known, is_remade=known.is_remade or is_new_run)
        # An import that has ended is not resumed, but compared with what the source gives now.
        self.is_new = is_new_run or not (known.stage == SENDING or known.is_to_be_checked)
        import_id = uuid.uuid4().hex if self.is_new else known.id
        known = dataclasses.replace(known, try_number=try_number, id=import_id, run=run)
        self._import.save(known)
        return known

    def check_organization(self, organization: str | None) -> None:
        """
        Check that the connection leads to the organization that has the batches of earlier tries.

        :param organization: The organization that the connection leads to, None if it is not known.
        :raises FullStoryInputError: If it leads to another one.
        """
        known = self.organization
        if organization is None or organization == known:
            return
        if known is not None and self._is_resumed and not self._policy.is_empty:
            raise FullStoryInputError(
                f"The connection leads to organization {organization!r}, but earlier tries sent batches of "
                f"this import to {known!r}. Nothing was sent in this try. Let the connection lead to "
                f"{known!r} again; or change idempotency_salt to send all records to {organization!r}, as a "
                "new import."
            )
        # The arguments of this try are written only once everything was compared.
        arguments = self._import.record.arguments
        self._import.load()
        self._import.change(organization=organization)
        self._import.record = dataclasses.replace(self._import.record, arguments=arguments)

    def sent(self, report: ImportReport, batches: int) -> ImportReport:
        """
        Note that all batches were sent, and return the report so far.

        :param batches: How many batches the source gave.
        :returns: The complete report, if these batches make up an import whose jobs are finished.
        """
        record = self._import.record
        # Invalid records are in no batch, so they are compared by their counts.
        counts = (record.report.get("records"), record.report.get("invalid"))
        is_known = (
            record.has_ended and record.batches == batches and counts == (report.records, report.invalid)
        )
        # Entries are read one by one, so only if all else is equal.
        if is_known and all(map(self.is_verified, self._entries.with_jobs(batches))):
            return self._report()
        self._import.change(stage=SENT, batches=batches, report=counts_of(report), is_remade=False)
        return report

    def ended(self, report: ImportReport, *, is_success: bool) -> None:
        """
        Note that the import has ended.

        :param is_success: Whether no more records were refused than the task allows.
        """
        # The task may end in another process than the one that sent the batches.
        if not self.import_id and self._import.load() is None:
            return
        record = self._import.record
        changes: dict[str, Any] = {
            "stage": SUCCEEDED if is_success else ENDED,
            "report": counts_of(report),
            "is_remade": False,
        }
        if report.imported is not None:
            changes["round"] = record.round + 1
        if report.imported == 0 and not record.has_more:
            changes["empty_rounds"] = record.round + 1
        self._import.change(**changes)

    def _report(self) -> ImportReport:
        """Return the report of batches that were all sent."""
        record = self._import.record
        report = ImportReport(**record.report)
        report.job_ids = [entry.job_id for entry in self._entries.with_jobs(record.batches) if entry.job_id]
        return report
