"""From records to accepted batches, with every record that is not sent accounted for."""

from __future__ import annotations

import itertools
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Protocol

from airflow_provider_fullstory.api.encoding import DECODER, ENCODER
from airflow_provider_fullstory.batch_import.batching.batcher import Batcher
from airflow_provider_fullstory.batch_import.batching.garbage import rarely_searched
from airflow_provider_fullstory.batch_import.reporting.fingerprints import SentImport
from airflow_provider_fullstory.batch_import.reporting.report import ImportReport
from airflow_provider_fullstory.records.timestamps import TimestampSummary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from airflow_provider_fullstory.batch_import.batching.batch import Batch, BatchLimits
    from airflow_provider_fullstory.batch_import.batching.identity import RunIdentity
    from airflow_provider_fullstory.batch_import.batching.submissions import Submission
    from airflow_provider_fullstory.batch_import.reporting.refusal_log import RefusalLog
    from airflow_provider_fullstory.batch_import.reporting.refused_file import RefusedFile
    from airflow_provider_fullstory.batch_import.sending.importer import Importer
    from airflow_provider_fullstory.batch_import.sending.quota import RemainingQuota
    from airflow_provider_fullstory.batch_import.staging.staging_area import Manifest, StagingArea
    from airflow_provider_fullstory.records.mapped_chunk import MappedChunk
    from airflow_provider_fullstory.records.options import MappingOptions
    from airflow_provider_fullstory.records.refusals import InvalidRecord


class SyncMemory(Protocol):
    """What a sync remembers of earlier imports, and learns of this one."""

    @property
    def skipped(self) -> int:
        """How many records were left out."""

    def new_only(self, chunks: Iterable[MappedChunk]) -> Iterable[MappedChunk]:
        """Yield the records that were not imported before."""

    def kept(self, batches: Iterable[Batch]) -> Iterable[Batch]:
        """Yield batches once their insert ids are written down."""

    def records_of(self, number: int) -> int | None:
        """Return how many records an earlier try had in a batch, given its number."""

    def all_read(self) -> None:
        """Note that the source is read to its end."""


class Sender:
    """
    Send the records of one import.

    :param run: The run that sends them.
    :param limits: Where a batch ends.
    :param options: How rows became records.
    :param importer: Sends batches.
    :param refusal_log: Explains refused records in the log.
    :param refused: The file of refused records, None where the user names none.
    :param memory: What the sync of the records remembers, None if they belong to none.
    :param remaining_quota: Reads the remaining quota of server events, None where it does not limit the
        import. It is called only if the records count against the quota.
    """

    def __init__(
        self,
        run: RunIdentity,
        limits: BatchLimits,
        options: MappingOptions,
        importer: Importer,
        refusal_log: RefusalLog,
        *,
        refused: RefusedFile | None,
        memory: SyncMemory | None = None,
        remaining_quota: Callable[[], RemainingQuota | None],
    ) -> None:
        self._run = run
        self._limits = limits
        self._options = options
        self._importer = importer
        self._refusal_log = refusal_log
        self._refused = refused
        self._memory = memory
        self._remaining_quota = remaining_quota

    def streamed(self, chunks: Iterable[MappedChunk]) -> tuple[ImportReport, list[Submission]]:
        """Send batches as they are made, and return the report so far and what FullStory accepted."""
        report = ImportReport(self._options.kind.resource.value)
        with self._made(chunks, report) as (batches, commit):
            submissions = self._importer.submit(self._written_down(self._fitting(batches)))
            commit()
        return self._account(report, submissions)

    def stage(self, area: StagingArea, chunks: Iterable[MappedChunk]) -> Manifest:
        """Write all batches to the staging area, and return its manifest."""
        report = ImportReport(self._options.kind.resource.value)
        with self._made(chunks, report) as (batches, commit):

            def complete_report() -> ImportReport:
                # The invalid records are in their file before the staging area counts as complete.
                commit()
                return report

            return area.fill(self._written_down(batches), complete_report)

    def staged(self, area: StagingArea, manifest: Manifest) -> tuple[ImportReport, list[Submission]]:
        """Send the staged batches, and return the report so far and what FullStory accepted."""
        unsent = [
            records
            for number, (records, digest) in enumerate(manifest.batches, start=1)
            if not self._importer.has_sent(str(number), digest)
        ]
        if unsent and (remaining_quota := self._quota()) is not None:
            remaining_quota.check(sum(unsent))
        submissions = self._importer.submit(area.batches(manifest, self._run))
        return self._account(ImportReport.from_xcom(manifest.report), submissions)

    @contextmanager
    def _made(
        self, chunks: Iterable[MappedChunk], report: ImportReport
    ) -> Iterator[tuple[Iterator[Batch], Callable[[], None]]]:
        """Make batches; the function puts the invalid records into their file, once all batches were made."""
        writing = nullcontext() if self._refused is None else self._refused.writing(self._sent_import({}))
        with rarely_searched(), writing as file:

            def refuse(invalid: Sequence[InvalidRecord]) -> None:
                self._refusal_log.invalid(invalid)
                report.add_invalid(invalid)
                if file is not None:
                    file.add(invalid)

            memory = self._memory
            batcher = Batcher(
                self._run,
                self._limits,
                self._options,
                refuse,
                keeps_fingerprints=file is not None,
                sizes=None if memory is None else memory.records_of,
            )
            if memory is not None:
                chunks = memory.new_only(chunks)
            batches = self._importer.watched(batcher.batches(_noted(chunks, report)))

            def commit() -> None:
                if file is not None:
                    file.commit()
                if self._memory is not None:
                    self._memory.all_read()
                    report.add_skipped(self._memory.skipped)

            yield batches, commit

    def _fitting(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        for batch in batches:
            if not self._importer.has_sent(batch.name, batch.digest):
                # Read only once there is something to send.
                remaining_quota = self._quota()
                rest = itertools.chain([batch], batches)
                yield from rest if remaining_quota is None else remaining_quota.within(rest)
                return
            yield batch

    def _quota(self) -> RemainingQuota | None:
        return self._remaining_quota() if self._options.kind.counts_against_quota else None

    def _written_down(self, batches: Iterable[Batch]) -> Iterable[Batch]:
        """Yield batches once all is written down that their records can be told by."""
        if self._memory is not None:
            batches = self._memory.kept(batches)
        return batches if self._refused is None else self._refused.fingerprints.kept(batches)

    def _account(
        self, report: ImportReport, submissions: list[Submission]
    ) -> tuple[ImportReport, list[Submission]]:
        report.add_submissions(submissions)
        if self._refused is not None:
            report.rejected_uri = str(self._refused)
            self._refused.write_sent_import(
                self._sent_import({entry.job_id: entry.name for entry in submissions})
            )
        return report, submissions

    def _sent_import(self, jobs: dict[str, str]) -> SentImport:
        shared = self._options.shared
        in_common = {} if shared is None else DECODER.decode(ENCODER.encode(shared))
        return SentImport(jobs, self._options.key_paths(), in_common)


def _noted(chunks: Iterable[MappedChunk], report: ImportReport) -> Iterator[MappedChunk]:
    """Yield chunks, and note in the report their timestamps, and which properties they lack."""
    timestamps = TimestampSummary()
    for chunk in chunks:
        timestamps += chunk.timestamps
        yield chunk
        # Now that none of them is too large for a batch.
        report.add_dropped(chunk.dropped_reasons)
    report.timestamps = timestamps
