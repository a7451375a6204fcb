"""The end of an import in a task, whether it was sent there or only waited for."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow_provider_fullstory.exceptions import (
    FullStoryDiskError,
    FullStoryRecordsRefusedError,
    FullStoryStorageError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from airflow.providers.common.compat.sdk import BaseOperator, Context

    from airflow_provider_fullstory.api.jobs import RecordError
    from airflow_provider_fullstory.batch_import.reporting.refusal_log import RefusalLog
    from airflow_provider_fullstory.batch_import.reporting.refused_file import RefusedFile
    from airflow_provider_fullstory.batch_import.reporting.report import ImportReport
    from airflow_provider_fullstory.batch_import.waiting.outcomes import JobOutcome
    from airflow_provider_fullstory.hooks.fullstory import FullStoryHook


class Completion:
    """
    Complete imports whose jobs are finished, and decide whether their task succeeds.

    :param hook: Reads the rejected records.
    """

    def __init__(self, task: BaseOperator, context: Context, hook: FullStoryHook) -> None:
        from airflow_provider_fullstory.task.metrics import ImportMetrics

        self._task = task
        self._context = context
        self._hook = hook
        self.metrics = ImportMetrics(task, hook)

    def complete(
        self,
        reports: Sequence[ImportReport],
        outcomes: Sequence[JobOutcome],
        refused: RefusedFile | None,
        refusal_log: RefusalLog,
    ) -> None:
        """
        Complete the reports of finished imports, and the one file of their refused records.

        Counts that were complete before stay as they are; the file gets the rejected records of all.

        :param outcomes: The outcomes of all jobs of these imports.
        :param refusal_log: Explains refused records in the log if no file holds them.
        """
        unfinished = [report for report in reports if report.imported is None]
        # Halves of a batch share their fingerprints, which are read once if the halves follow each other.
        job_ids = (job_id for report in reports for job_id in report.job_ids)
        places = {job_id: place for place, job_id in enumerate(job_ids)}
        outcomes = sorted(outcomes, key=lambda outcome: places[outcome.job_id])
        rejected = self._rejected(reports, outcomes, refused, refusal_log)
        if refused is None:
            for _ in rejected:
                pass
        else:
            with _explaining(outcomes):
                _fill(refused, reports, outcomes, rejected)
        _name_file(reports, refused)
        of_job = {outcome.job_id: outcome for outcome in outcomes}
        for report in unfinished:
            report.finish([of_job[job_id] for job_id in report.job_ids if job_id in of_job])

    def _rejected(
        self,
        reports: Sequence[ImportReport],
        outcomes: Sequence[JobOutcome],
        refused: RefusedFile | None,
        refusal_log: RefusalLog,
    ) -> Iterator[tuple[str, Sequence[RecordError]]]:
        """Yield the rejected records with their jobs, once they are counted or logged."""
        from airflow_provider_fullstory.batch_import.reporting.rejections import rejections

        unfinished = {
            job_id: report for report in reports if report.imported is None for job_id in report.job_ids
        }
        client = self._hook.imports(reports[0].resource)
        for job_id, errors in rejections(client, outcomes, is_required=refused is not None):
            if job_id in unfinished:
                unfinished[job_id].add_rejected(errors)
            if refused is None:
                refusal_log.rejected(job_id, errors)
            yield job_id, errors

    def report(self, report: ImportReport, *, waited: float) -> None:
        """
        Write the closing table to the log, and the counts to Airflow's metrics.

        :param waited: How long the task waited for FullStory, in seconds.
        """
        log = self._task.log
        log.info(
            "Import of %s finished, after waiting %s s for FullStory:", report.resource, f"{waited:,.0f}"
        )
        for line in report.lines():
            log.info("%s", line)
        self.metrics.count(report, waited=waited)
        self.metrics.send()

    def publish(self, report: ImportReport) -> None:
        """Push a report to XCom before the task ends, or although it fails: others need its counts."""
        if self._task.do_xcom_push:
            self._context["ti"].xcom_push(key="return_value", value=report.to_xcom())

    def result(
        self,
        report: ImportReport,
        *,
        max_rejected: float,
        files: Sequence[str] = (),
        sync: str = "",
        correcting: str = "",
    ) -> dict[str, Any]:
        """
        Return the report for XCom, and tell its counts to the outlets, if the import is a success.

        :param max_rejected: How many records may be refused; below 1, which share of all.
        :param files: The files of refused records, if the report cannot name all.
        :param sync: The arguments that a file needs to be imported by the same sync; empty without one.
        :param correcting: What sends records that were corrected in the source; empty if nothing does.
        :raises FullStoryRecordsRefusedError: If more records were refused.
        """
        from airflow_provider_fullstory.task.outlets import tell_outlets

        try:
            report.check_refused(max_rejected, files, sync=sync, correcting=correcting)
        except FullStoryRecordsRefusedError as error:
            error.report = report.to_xcom()
            self.publish(report)
            raise
        if report.refused:
            self._task.log.warning(
                "%s not in FullStory; max_rejected=%s allows that.",
                f"{report.refused:,} {'record is' if report.refused == 1 else 'records are'}",
                max_rejected,
            )
        tell_outlets(self._task.outlets, self._context, report, self._hook)
        return report.to_xcom()

    def clean_up(self, remove: Callable[[], None]) -> None:
        """Remove files that an import no longer needs. A failure is logged, and does not fail the task."""
        try:
            remove()
        except FullStoryStorageError as error:
            # A task that fails now would make people send everything again.
            self._task.log.warning(
                "The import is complete, but some of its files must be removed by hand. %s", error
            )


def _name_file(reports: Sequence[ImportReport], refused: RefusedFile | None) -> None:
    """Name the file in reports if it holds records, and no other one."""
    has_file = refused is not None and refused.exists
    for report in reports:
        if has_file:
            report.rejected_uri = str(refused)
        elif report.rejected_uri == str(refused) or not report.invalid:
            report.rejected_uri = None


def _fill(
    refused: RefusedFile,
    reports: Sequence[ImportReport],
    outcomes: Sequence[JobOutcome],
    rejected: Iterator[tuple[str, Sequence[RecordError]]],
) -> None:
    """Write a file, unless an earlier try completed it, which may have known more than this one."""
    # Invalid records stay in the file of the task that found them.
    invalid = sum(report.invalid for report in reports if report.rejected_uri == str(refused))
    if refused.is_complete(
        invalid, {outcome.job_id: outcome.errors for outcome in outcomes if outcome.errors}
    ):
        for _ in rejected:
            pass
    else:
        refused.add_rejected(rejected, invalid)


@contextmanager
def _explaining(outcomes: Sequence[JobOutcome]) -> Iterator[None]:
    """Add to the error of a file that cannot be written how many records FullStory has."""
    try:
        yield
    except (FullStoryStorageError, FullStoryDiskError) as error:
        error.add(
            f"The import itself is finished: {sum(outcome.imports for outcome in outcomes):,} records are in "
            f"FullStory, {sum(outcome.errors for outcome in outcomes):,} were rejected by it.\n"
            "A retry sends nothing, and writes the file."
        )
        raise
