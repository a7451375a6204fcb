"""How an import is waited for and ends, in Airflow's terms; what the operator and the sensor share."""

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


def complete(
    hook: FullStoryHook,
    reports: Sequence[ImportReport],
    outcomes: Sequence[JobOutcome],
    refused: RefusedFile | None,
    refusal_log: RefusalLog,
) -> None:
    """
    Complete the reports of finished imports, and the one file of their refused records.

    Counts that were complete before stay as they are; what FullStory refused of them is in the file too.

    :param hook: Reads the refused records.
    :param reports: The reports so far.
    :param outcomes: What became of all jobs of these imports.
    :param refused: The file, where one is wanted.
    :param refusal_log: Explains refused records in the log, where no file does.
    """
    from airflow_provider_fullstory.batch_import.reporting.rejections import rejections

    unfinished = [report for report in reports if report.imported is None]
    report_of = {job_id: report for report in unfinished for job_id in report.job_ids}

    def counted() -> Iterator[tuple[str, Sequence[RecordError]]]:
        client = hook.imports(reports[0].resource)
        for job_id, errors in rejections(client, outcomes, is_required=refused is not None):
            if job_id in report_of:
                report_of[job_id].add_rejected(errors)
            if refused is None:
                refusal_log.rejected(job_id, errors)
            yield job_id, errors

    # Halves of a batch share their traces, which are read once if they follow each other.
    job_ids = (job_id for report in reports for job_id in report.job_ids)
    places = {job_id: place for place, job_id in enumerate(job_ids)}
    outcomes = sorted(outcomes, key=lambda outcome: places[outcome.job_id])
    if refused is None:
        for _ in counted():
            pass
    else:
        with _explaining(outcomes):
            _fill(refused, reports, outcomes, counted())
    of_job = {outcome.job_id: outcome for outcome in outcomes}
    _name_file(reports, refused)
    for report in unfinished:
        report.finish([of_job[job_id] for job_id in report.job_ids if job_id in of_job])


def _name_file(reports: Sequence[ImportReport], refused: RefusedFile | None) -> None:
    """Let reports name a file that holds records, and no other one."""
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
    """Write a file unless it was completed before, when more may have been known than now."""
    # Records refused before they were sent stay in the file of the task that would have sent them.
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
    """Say what FullStory has where a file cannot be written."""
    try:
        yield
    except (FullStoryStorageError, FullStoryDiskError) as error:
        error.add(
            f"The import itself is finished: {sum(outcome.imports for outcome in outcomes):,} records are in "
            f"FullStory, {sum(outcome.errors for outcome in outcomes):,} were refused by it.\n"
            "A retry sends nothing, and writes the file."
        )
        raise


def publish(report: ImportReport, task: BaseOperator, context: Context) -> None:
    """
    Let others see a report before the task ends, or though it fails: its jobs and counts are what one needs.

    :param report: The report.
    :param task: The task.
    :param context: Its context.
    """
    if task.do_xcom_push:
        context["ti"].xcom_push(key="return_value", value=report.to_xcom())


def judge(
    report: ImportReport,
    task: BaseOperator,
    context: Context,
    *,
    max_rejected: float,
    files: Sequence[str] = (),
) -> dict[str, Any]:
    """
    Return the report as XCom where it is one of a success.

    :param report: The report.
    :param task: The task.
    :param context: Its context.
    :param max_rejected: How many records may be refused; below 1 which share of all.
    :param files: The files of refused records, where the report cannot name all.
    :raises FullStoryRecordsRefusedError: Where more records are not in FullStory.
    """
    try:
        report.judge(max_rejected, files=files)
    except FullStoryRecordsRefusedError as error:
        error.report = report.to_xcom()
        publish(report, task, context)
        raise
    if report.refused:
        task.log.warning(
            "%s not in FullStory; max_rejected=%s lets that pass.",
            f"{report.refused:,} {'record is' if report.refused == 1 else 'records are'}",
            max_rejected,
        )
    return report.to_xcom()


def clean_up(task: BaseOperator, remove: Callable[[], None]) -> None:
    """
    Remove what an import that is accounted for has left.

    :param task: The task.
    :param remove: Removes it.
    """
    try:
        remove()
    except FullStoryStorageError as error:
        # Failing now would have somebody send everything again.
        task.log.warning("All is accounted for; remove what is left by hand. %s", error)
