"""What became of every record of an import."""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_fullstory.batch_import.waiting import some
from airflow_provider_fullstory.exceptions import (
    FullStoryAccountingError,
    FullStoryError,
    FullStoryInputError,
    FullStoryPermissionError,
    FullStoryRecordsRefusedError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from airflow_provider_fullstory.api.models import Page, RecordError, Resource
    from airflow_provider_fullstory.batch_import.importer import Submission
    from airflow_provider_fullstory.batch_import.waiting import JobOutcome
    from airflow_provider_fullstory.records.refusals import InvalidRecord

log = logging.getLogger(__name__)


class ErrorsReader(Protocol):
    """The part of a hook that reads refused records."""

    def iter_errors(self, resource: Resource | str, job_id: str) -> Iterator[Page[RecordError]]:
        """Yield the records that a job refused."""


@dataclasses.dataclass(slots=True)
class ImportReport:
    """
    The report of an import: counts and ids, never a record.

    ``records == imported + invalid + rejected`` holds once the import is finished.

    :param resource: ``events`` or ``users``.
    :param job_ids: FullStory's jobs.
    :param records: Records that the source gave; None while only FullStory knows.
    :param imported: Records that are in FullStory; None while it works.
    :param invalid: Records refused here, which were never sent.
    :param rejected: Records that FullStory refused; None while it works.
    :param batches: Requests that FullStory accepted.
    :param codes: How many records were refused with which code, on either side.
    """

    resource: str = "events"
    job_ids: list[str] = dataclasses.field(default_factory=list)
    records: int | None = 0
    imported: int | None = None
    invalid: int = 0
    rejected: int | None = None
    batches: int = 0
    codes: dict[str, int] = dataclasses.field(default_factory=dict)

    @classmethod
    def from_xcom(cls, value: Mapping[str, Any]) -> ImportReport:
        """
        Return the report that a task left in XCom.

        :param value: What ``to_xcom`` gave.
        :raises FullStoryInputError: Where it is something else.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        if not isinstance(value, Mapping) or not value.keys() >= set(names):
            raise FullStoryInputError(
                f"This is not the report of a FullStory import, which has {', '.join(names)}."
            )
        return cls(**{name: value[name] for name in names})

    @classmethod
    def merged(cls, reports: Sequence[ImportReport]) -> ImportReport:
        """
        Return one report for several imports that are not finished.

        :param reports: The reports, of the same resource.
        :raises FullStoryInputError: Where they are not.
        """
        [*resources] = {report.resource for report in reports}
        if len(resources) != 1:
            raise FullStoryInputError("Imports of events and of users cannot be waited for together.")
        codes: Counter[str] = sum((Counter(report.codes) for report in reports), Counter())
        return cls(
            resource=resources[0],
            job_ids=[job_id for report in reports for job_id in report.job_ids],
            records=sum(report.records or 0 for report in reports),
            invalid=sum(report.invalid for report in reports),
            batches=sum(report.batches for report in reports),
            codes=dict(codes),
        )

    def to_xcom(self) -> dict[str, Any]:
        """Return the report as JSON."""
        return dataclasses.asdict(self)

    def add_invalid(self, invalid: Sequence[InvalidRecord]) -> None:
        """
        Take note of records that are not sent.

        :param invalid: The records.
        """
        self.records = (self.records or 0) + len(invalid)
        self.invalid += len(invalid)
        self.add_codes(record.refusal.code for record in invalid)

    def add_submissions(self, submissions: Sequence[Submission]) -> None:
        """
        Take note of what FullStory accepted.

        :param submissions: All batches of the import, in their order.
        """
        self.records = (self.records or 0) + sum(submission.records for submission in submissions)
        self.job_ids = [submission.job_id for submission in submissions]
        self.batches = len(submissions)

    def add_codes(self, codes: Iterable[str]) -> None:
        """
        Count refused records.

        :param codes: The code of each.
        """
        self.codes = dict(sorted((Counter(self.codes) + Counter(codes)).items()))

    def finish(self, outcomes: Sequence[JobOutcome]) -> None:
        """
        Take over FullStory's counts; they decide, not the status of a job.

        :param outcomes: What became of all jobs.
        :raises FullStoryAccountingError: Where FullStory does not answer for every record it was sent.
        """
        self.imported = sum(outcome.imports for outcome in outcomes)
        self.rejected = sum(outcome.errors for outcome in outcomes)
        if self.records is None:
            self.records = self.imported + self.rejected
        sent = self.records - self.invalid
        if self.imported + self.rejected != sent:
            raise FullStoryAccountingError(
                f"FullStory was sent {sent} records, but its jobs answer for {self.imported} imported and "
                f"{self.rejected} rejected: {some([outcome.job_id for outcome in outcomes])}. Compare what "
                "these jobs imported with the source before anything is sent again."
            )

    def judge(self) -> None:
        """
        Refuse to call an import a success while records are missing.

        :raises FullStoryRecordsRefusedError: Naming counts, codes and jobs.
        """
        refused = self.invalid + (self.rejected or 0)
        if not refused:
            return
        codes = ", ".join(f"{code} {count}" for code, count in self.codes.items()) or "not known"
        inside = (
            "The others are still being worked on" if self.imported is None else f"{self.imported} imported"
        )
        raise FullStoryRecordsRefusedError(
            f"{refused} of {self.records} records are not in FullStory: {self.invalid} refused here, never "
            f"sent, {self.rejected or 0} rejected by FullStory; codes: {codes}. {inside} "
            f"({len(self.job_ids)} jobs: {some(self.job_ids) or 'none'}). A retry would change nothing: mend "
            "the records, then send only those."
        )


def refusal_codes(client: ErrorsReader, resource: str, outcomes: Iterable[JobOutcome]) -> Iterator[str]:
    """
    Yield the code of every record that FullStory refused, as far as they can be read.

    :param client: Reads the refused records, which takes an Architect key.
    :param resource: ``events`` or ``users``.
    :param outcomes: What became of the jobs.
    """
    for outcome in outcomes:
        if not outcome.errors:
            continue
        try:
            for page in client.iter_errors(resource, outcome.job_id):
                yield from (record.code or "unknown" for record in page.results)
        except FullStoryPermissionError as error:
            log.warning("Which records FullStory refused, and why, cannot be told. %s", error)
            return
        except FullStoryError as error:
            # The counts are known, and they decide; why records were refused must not stand in their way.
            log.warning("The codes of job %s are not all known. %s", outcome.job_id, error)
