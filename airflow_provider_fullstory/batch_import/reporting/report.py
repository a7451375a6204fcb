"""The report of an import, which accounts for each record."""

from __future__ import annotations

import dataclasses
import datetime
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_fullstory.api.quoting import quoted
from airflow_provider_fullstory.exceptions import (
    FullStoryAccountingError,
    FullStoryAmbiguousError,
    FullStoryInputError,
    FullStoryRecordsRefusedError,
    FullStoryTooFewRecordsError,
)
from airflow_provider_fullstory.records.timestamps import TimestampSummary
from airflow_provider_fullstory.text import plural, some

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from airflow_provider_fullstory.api.jobs import RecordError
    from airflow_provider_fullstory.batch_import.batching.submissions import Submission
    from airflow_provider_fullstory.batch_import.waiting.outcomes import JobOutcome
    from airflow_provider_fullstory.records.refusals import InvalidRecord

#: How many reasons the report, the table and a message name; the others are counted as one.
_TOP_REASONS: Final = 5
#: How many reasons are counted while an import runs: some name a column, and there may be thousands.
_MOST_REASONS: Final = 1_000
_LONGEST_REASON: Final = 200
_OTHER_REASONS: Final = "other reasons"
#: Fields that reports lack which another version of this package left.
_OPTIONAL: Final = frozenset({"watermark"})


@dataclasses.dataclass(slots=True)
class ImportReport:
    """
    The counts and ids of an import, never a record.

    ``records == imported + invalid + rejected + skipped`` holds once the import is finished.

    :param resource: ``events`` or ``users``.
    :param job_ids: FullStory's jobs.
    :param records: Records that the source gave; None while only FullStory knows their number.
    :param imported: Records that are in FullStory; None until it has finished.
    :param invalid: Refused records that were found here, and never sent.
    :param rejected: Refused records that FullStory rejected; None until it has finished.
    :param skipped: Records that were not sent, since their insert ids were imported before.
    :param rejected_uri: The file of refused records. None in the end if there are none.
    :param batches: Requests that FullStory accepted.
    :param codes: How many records were refused with each code, as far as codes are known.
    :param reasons: How many were refused for each reason, the most frequent first; XCom has the first five.
    :param earliest: The first timestamp of the records that were sent, in ISO 8601; None if none has one.
    :param latest: The last timestamp.
    :param without_timestamp: Records that were sent without a timestamp: FullStory gives them the time of the
        import.
    :param dropped_properties: How many properties were left out of the records that are valid, for each
        reason, the most frequent first; XCom has the first five.
    :param watermark: Where the watermark of a sync was once the import had succeeded, as text.
    """

    resource: str
    job_ids: list[str] = dataclasses.field(default_factory=list)
    records: int | None = 0
    imported: int | None = None
    invalid: int = 0
    rejected: int | None = None
    skipped: int = 0
    rejected_uri: str | None = None
    batches: int = 0
    codes: dict[str, int] = dataclasses.field(default_factory=dict)
    reasons: dict[str, int] = dataclasses.field(default_factory=dict)
    earliest: str | None = None
    latest: str | None = None
    without_timestamp: int = 0
    dropped_properties: dict[str, int] = dataclasses.field(default_factory=dict)
    watermark: str | None = None

    @classmethod
    def from_xcom(cls, value: Mapping[str, Any]) -> ImportReport:
        """
        Return the report that a task left in XCom.

        :raises FullStoryInputError: If it is something else.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        if not isinstance(value, Mapping) or not value.keys() >= set(names) - _OPTIONAL:
            raise FullStoryInputError(
                f"This is not the report of a FullStory import, which has {', '.join(names)}."
            )
        return cls(**{name: value[name] for name in names if name in value})

    @classmethod
    def merged(cls, reports: Sequence[ImportReport]) -> ImportReport:
        """
        Return one report for several imports.

        :param reports: The reports of one resource; all finished, or none.
        :raises FullStoryInputError: If they are of several.
        """
        [*resources] = {report.resource for report in reports}
        if len(resources) != 1:
            raise FullStoryInputError("Imports of events and of users cannot be waited for together.")
        codes: Counter[str] = sum((Counter(report.codes) for report in reports), Counter())
        reasons: Counter[str] = sum((Counter(report.reasons) for report in reports), Counter())
        dropped: Counter[str] = sum((Counter(report.dropped_properties) for report in reports), Counter())
        timestamps = sum((report.timestamps for report in reports), TimestampSummary())
        uris = {report.rejected_uri for report in reports} - {None}
        is_finished = all(report.imported is not None for report in reports)
        are_counted = all(report.records is not None for report in reports)
        merged = cls(
            resource=resources[0],
            job_ids=[job_id for report in reports for job_id in report.job_ids],
            records=sum(report.records or 0 for report in reports) if are_counted else None,
            imported=sum(report.imported or 0 for report in reports) if is_finished else None,
            rejected=sum(report.rejected or 0 for report in reports) if is_finished else None,
            invalid=sum(report.invalid for report in reports),
            skipped=sum(report.skipped for report in reports),
            rejected_uri=uris.pop() if len(uris) == 1 else None,
            batches=sum(report.batches for report in reports),
            codes=dict(codes),
            reasons=dict(reasons),
            dropped_properties=dict(dropped),
            watermark=reports[0].watermark if len(reports) == 1 else None,
        )
        merged.timestamps = timestamps
        return merged

    def to_xcom(self) -> dict[str, Any]:
        """Return the report as JSON: small, however many reasons there are."""
        return dataclasses.asdict(self) | {
            "reasons": dict(_top(self.reasons)),
            "dropped_properties": dict(_top(self.dropped_properties)),
        }

    @property
    def timestamps(self) -> TimestampSummary:
        """The timestamps of the records that were sent."""
        earliest, latest = (
            None if text is None else datetime.datetime.fromisoformat(text)
            for text in (self.earliest, self.latest)
        )
        return TimestampSummary(earliest, latest, self.without_timestamp)

    @timestamps.setter
    def timestamps(self, timestamps: TimestampSummary) -> None:
        self.earliest, self.latest = (
            None if moment is None else moment.isoformat()
            for moment in (timestamps.earliest, timestamps.latest)
        )
        self.without_timestamp = timestamps.missing

    def add_invalid(self, invalid: Sequence[InvalidRecord]) -> None:
        """Count invalid records."""
        self.records = (self.records or 0) + len(invalid)
        self.invalid += len(invalid)
        self.add_codes(record.refusal.code for record in invalid)
        self._add_reasons(Counter(f"{record.refusal.code}: {record.refusal.reason}" for record in invalid))

    def add_skipped(self, records: int) -> None:
        """Count records that were imported before."""
        self.records = (self.records or 0) + records
        self.skipped += records

    def add_submissions(self, submissions: Sequence[Submission]) -> None:
        """
        Count the batches that FullStory accepted.

        :param submissions: All batches of the import, in their order.
        """
        self.records = (self.records or 0) + sum(submission.records for submission in submissions)
        self.job_ids = [submission.job_id for submission in submissions]
        self.batches = len(submissions)

    def add_rejected(self, errors: Sequence[RecordError]) -> None:
        """
        Count rejected records.

        :param errors: FullStory's errors. Its messages may repeat values, so only codes are kept.
        """
        codes = [error.code or "unknown" for error in errors]
        self.add_codes(codes)
        self._add_reasons(Counter(f"{code}, says FullStory" for code in codes))

    def add_codes(self, codes: Iterable[str]) -> None:
        """Count refused records by code."""
        self.codes = dict(sorted((Counter(self.codes) + Counter(codes)).items()))

    def _add_reasons(self, reasons: Counter[str]) -> None:
        self.reasons = _added(self.reasons, reasons)

    def add_dropped(self, reasons: Counter[str]) -> None:
        """Count properties that were left out, given how many there are for each reason."""
        if reasons:
            self.dropped_properties = _added(self.dropped_properties, reasons)

    def finish(self, outcomes: Sequence[JobOutcome]) -> None:
        """
        Take over FullStory's counts. They decide, not the status of a job.

        :raises FullStoryAmbiguousError: If a job ended without counts, so that the outcome of its batch is
            unknown.
        :raises FullStoryAccountingError: If FullStory's counts do not cover each record it was sent.
        """
        self.imported = sum(outcome.imports for outcome in outcomes)
        self.rejected = sum(outcome.errors for outcome in outcomes)
        if self.records is None:
            self.records = self.imported + self.rejected
        sent = self.records - self.invalid - self.skipped
        uncounted = [outcome.job_id for outcome in outcomes if outcome.imports + outcome.errors == 0]
        if uncounted and self.imported + self.rejected != sent:
            raise FullStoryAmbiguousError(
                f"{len(uncounted):,} of {plural(len(outcomes), 'job')} ended without counts, so it is "
                "unknown whether FullStory has their records.\n"
                "Look for these records in FullStory; if they are missing, set "
                'on_ambiguous="resend" and\nclear the task: it sends only these batches again.\n'
                f"{plural(self.imported, 'record')} of the other jobs are in FullStory.\n"
                f"Jobs without counts: {some(uncounted)}."
            )
        if self.imported + self.rejected != sent:
            raise FullStoryAccountingError(
                f"FullStory was sent {plural(sent, 'record')}, but its jobs count {self.imported:,} imported "
                f"and {self.rejected:,} rejected.\n"
                "Compare what these jobs imported with the source before anything is sent again.\n"
                f"Jobs: {some([outcome.job_id for outcome in outcomes])}."
            )

    @property
    def refused(self) -> int:
        """How many records are known not to be in FullStory."""
        return self.invalid + (self.rejected or 0)

    def check_refused(
        self, max_rejected: float = 0, files: Sequence[str] = (), *, sync: str = "", correcting: str = ""
    ) -> None:
        """
        Check how many records were refused.

        :param max_rejected: How many may be refused; below 1, which share of all.
        :param files: The files of refused records; by default the one that the report names.
        :param sync: The arguments that a file needs to be imported by the same sync; empty without one.
        :param correcting: What sends records that were corrected in the source; empty if nothing does.
        :raises FullStoryRecordsRefusedError: If more were refused, naming counts, codes, jobs and files.
        """
        if self.refused <= self._allowed(max_rejected):
            return
        limit = f", more than max_rejected={max_rejected} allows" if max_rejected else ""
        are = "is" if self.refused == 1 else "are"
        lines = [
            f"{self.refused:,} of {self.records or 0:,} records {are} not in FullStory{limit}.",
            *self._what_to_do(files, sync, correcting),
            *(f"{plural(count, 'record')}: {reason}" for reason, count in _top(self.reasons)),
            f"{self.invalid:,} invalid, never sent, {self.rejected or 0:,} rejected by FullStory.",
            self._inside(),
        ]
        raise FullStoryRecordsRefusedError("\n".join(lines))

    def _inside(self) -> str:
        """Return what FullStory has, as a line."""
        if not self.job_ids:
            return "Nothing was sent."
        jobs = f"{plural(len(self.job_ids), 'job')}: {some(self.job_ids)}"
        if self.imported is None:
            return f"FullStory is still working on the others ({jobs})."
        return f"{self.imported:,} imported ({jobs})."

    def check_size(self, min_records: int) -> None:
        """
        Check that the source gave enough records.

        :raises FullStoryTooFewRecordsError: If it gave fewer.
        """
        if (self.records or 0) < min_records:
            raise FullStoryTooFewRecordsError(
                f"The source gave {self.records} records, fewer than min_records={min_records}. "
                "Check the process that fills it."
            )

    def lines(self) -> list[str]:
        """Return the report as a table for the log."""
        rows = [
            ("records", self.records, "from the source"),
            ("imported", self.imported, "in FullStory"),
            ("invalid", self.invalid, "found here, never sent"),
            ("rejected", self.rejected, "by FullStory"),
            *([("skipped", self.skipped, "imported before, by their insert ids")] if self.skipped else []),
            ("batches", self.batches, f"in {plural(len(self.job_ids), 'job')}"),
            *(("reason", count, reason) for reason, count in _top(self.reasons)),
            *(("left out", count, reason) for reason, count in _top(self.dropped_properties)),
        ]
        table = [
            f"  {name:<9} {'?' if count is None else format(count, ','):>12}  {meaning}"
            for name, count, meaning in rows
        ]
        if self.earliest is not None:
            table += [f"  earliest timestamp  {self.earliest}", f"  latest timestamp    {self.latest}"]
        if self.without_timestamp:
            table.append(f"  undated   {self.without_timestamp:>12,}  sent without a timestamp")
        return [*table, f"  refused records are in {self.rejected_uri}"] if self.rejected_uri else table

    def _allowed(self, max_rejected: float) -> Decimal:
        # Decimal, since with floats 29 % of 100 records would not be 29.
        limit = Decimal(str(max_rejected))
        return limit * (self.records or 0) if limit < 1 else limit

    def _what_to_do(self, files: Sequence[str], sync: str, correcting: str) -> list[str]:
        """Return the place of the refused records and what to do, one fact per line."""
        files = files or [self.rejected_uri or ""]
        unknown = self.refused - sum(self.codes.values())
        if unknown > 0:
            lines = [
                f"Which {plural(unknown, 'record')} FullStory rejected, and why, could not be read:",
                "that takes an API key of level Architect or above.",
            ]
            return [f"The invalid records are in {some(files)}.", *lines] if files != [""] else lines
        if files == [""]:
            if correcting:
                return [f"Correct them in the source: {correcting}"]
            return ["Fix the records, then send only those; rejected_uri= writes them to a file."]
        import_it = f"import that file ({self.resource}=)"
        fix_them = f"Fix them in their file, where each has its reason, and {import_it}"
        return [
            *([f"{fix_them},", f"with {sync}:"] if sync else [f"{fix_them}:"]),
            some(files),
            *([f"Or correct them in the source: {correcting}"] if correcting else []),
        ]


def _added(counts: Mapping[str, int], more: Counter[str]) -> dict[str, int]:
    # A new dict: a report that was read from XCom shares its own with it.
    added = dict(counts)
    for reason, count in more.items():
        name = quoted(reason, longest=_LONGEST_REASON)
        if name not in added and len(added) >= _MOST_REASONS:
            name = _OTHER_REASONS
        added[name] = added.get(name, 0) + count
    return added


def _top(reasons: Mapping[str, int]) -> list[tuple[str, int]]:
    """Return the most frequent reasons with their counts, and the count of all others."""
    ordered = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    named = [item for item in ordered if item[0] != _OTHER_REASONS]
    others = sum(reasons.values()) - sum(count for _, count in named[:_TOP_REASONS])
    return [*named[:_TOP_REASONS], *([(_OTHER_REASONS, others)] if others else [])]
