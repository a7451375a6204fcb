"""How an import is waited for and ends, in Airflow's terms; what the operator and the sensor share."""

from __future__ import annotations

import copy
import time
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NoReturn

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_fullstory.exceptions import (
    FullStoryAmbiguousError,
    FullStoryDiskError,
    FullStoryError,
    FullStoryInputError,
    FullStoryQuotaError,
    FullStoryRecordsRefusedError,
    FullStorySourceChangedError,
    FullStorySourceError,
    FullStoryStorageError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from airflow.providers.common.compat.sdk import BaseOperator, Context

    from airflow_provider_fullstory.api.models import RecordError
    from airflow_provider_fullstory.batch_import.batches import RunIdentity
    from airflow_provider_fullstory.batch_import.refused import RefusedFile
    from airflow_provider_fullstory.batch_import.report import ImportReport
    from airflow_provider_fullstory.batch_import.samples import Samples
    from airflow_provider_fullstory.batch_import.waiting import JobOutcome
    from airflow_provider_fullstory.hooks.fullstory import FullStoryHook

#: Failures that no retry fixes.
_FINAL: Final = (
    FullStoryInputError,
    FullStoryRecordsRefusedError,
    FullStorySourceChangedError,
    FullStoryAmbiguousError,
    FullStoryQuotaError,
)


@contextmanager
def without_retry() -> Iterator[None]:
    """
    Fail the task at once for what a retry cannot fix, such as bad input and records that were refused.

    What is raised is both the error and Airflow's AirflowFailException, so that a callback finds the type,
    the codes and the report. Messages say what an error was caused by, so the log shows each of them once,
    without what led to it; only what a source raised keeps its own traceback.
    """
    try:
        yield
    except AirflowFailException:
        raise
    except _FINAL as error:
        raise airflow_error(error, AirflowFailException) from None
    except FullStorySourceError:
        raise
    except FullStoryError as error:
        raise copy.copy(error) from None


def airflow_error(error: FullStoryError, kind: type[Exception]) -> Exception:
    """
    Return an error that Airflow takes for one of its own, and callbacks for ours.

    :param error: The error.
    :param kind: The type by which Airflow knows what to do.
    """
    return _made(type(error), kind, error.args, vars(error))


def _made(
    ours: type[FullStoryError], airflows: type[Exception], args: tuple[Any, ...], attributes: dict[str, Any]
) -> Exception:
    made: Exception = _type_of_both(ours, airflows)(*args)
    vars(made).update(attributes)
    return made


def _type_of_both(ours: type[FullStoryError], airflows: type[Exception]) -> type[Exception]:
    def reduce(error: Exception) -> tuple[Any, ...]:
        return _made, (ours, airflows, error.args, vars(error))

    # The log shows the name of ours, which says more.
    attributes = {"__module__": ours.__module__, "__doc__": ours.__doc__, "__reduce__": reduce}
    return type(ours.__name__, (ours, airflows), attributes)


@contextmanager
def with_report(report: ImportReport) -> Iterator[None]:
    """
    Let errors carry a report, for callbacks.

    :param report: The report as far as it is known.
    """
    try:
        yield
    except FullStoryError as error:
        error.report = report.to_xcom()
        raise


def deadline_of(operator: BaseOperator, started_at: float, timeout: float) -> float:
    """
    Return when a task gives up waiting, in seconds since the epoch.

    Airflow does not count ``execution_timeout`` while a task is deferred (apache/airflow#69678), so it counts
    here.

    :param operator: The task.
    :param started_at: When it began, in seconds since the epoch.
    :param timeout: Its own limit, in seconds.
    """
    limits = [float(timeout)]
    if isinstance(operator.execution_timeout, timedelta):
        limits.append(operator.execution_timeout.total_seconds())
    return started_at + min(limits)


def run_identity(context: Context, task_id: str, salt: str = "") -> RunIdentity:
    """
    Return what names an import of a task, the same in all its tries.

    :param context: The task's context.
    :param task_id: The operator's own id: several operators may be executed inside one task.
    :param salt: Anything that tells one import of the run from another on purpose.
    """
    from airflow_provider_fullstory.batch_import.batches import RunIdentity

    instance = context["ti"]
    return RunIdentity(
        dag_id=instance.dag_id,
        run_id=instance.run_id,
        task_id=task_id,
        map_index=-1 if instance.map_index is None else instance.map_index,
        salt=salt,
    )


def wait_in_triggerer(
    operator: BaseOperator,
    report: ImportReport,
    *,
    fullstory_conn_id: str,
    poll_interval: float,
    deadline: float,
) -> NoReturn:
    """
    Defer a task until all jobs of an import are finished; ``execute_complete`` goes on.

    :param operator: The task.
    :param report: The report so far, which comes back in the event.
    :param fullstory_conn_id: The connection.
    :param poll_interval: Shortest time between two looks at the jobs, in seconds.
    :param deadline: When to give up, in seconds since the epoch.
    """
    from airflow_provider_fullstory.batch_import.waiting import plural
    from airflow_provider_fullstory.triggers.fullstory import FullStoryImportJobTrigger, deferral_timeout

    now = time.time()
    operator.log.info("Waiting for %s in the triggerer.", plural(len(report.job_ids), "job"))
    operator.defer(
        trigger=FullStoryImportJobTrigger(
            job_ids=report.job_ids,
            started_at=now,
            deadline=deadline,
            resource=report.resource,
            poll_interval=poll_interval,
            report=report.to_xcom(),
            fullstory_conn_id=fullstory_conn_id,
        ),
        method_name="execute_complete",
        timeout=deferral_timeout(deadline - now),
    )
    raise AssertionError("defer() does not return")


def complete(
    hook: FullStoryHook,
    reports: Sequence[ImportReport],
    outcomes: Sequence[JobOutcome],
    refused: RefusedFile | None,
    samples: Samples,
) -> None:
    """
    Complete the reports of finished imports, and the one file of their refused records.

    Counts that were complete before stay as they are; what FullStory refused of them is in the file too.

    :param hook: Reads the refused records.
    :param reports: The reports so far.
    :param outcomes: What became of all jobs of these imports.
    :param refused: The file, where one is wanted.
    :param samples: Explains refused records in the log, where no file does.
    """
    from airflow_provider_fullstory.batch_import.report import rejections

    unfinished = [report for report in reports if report.imported is None]
    report_of = {job_id: report for report in unfinished for job_id in report.job_ids}

    def counted() -> Iterator[tuple[str, Sequence[RecordError]]]:
        resource = reports[0].resource
        for job_id, errors in rejections(hook, resource, outcomes, is_required=refused is not None):
            if job_id in report_of:
                report_of[job_id].add_rejected(errors)
            if refused is None:
                samples.rejected(job_id, errors)
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


def tell(report: ImportReport, task: BaseOperator, *, retries: int, waited: float) -> None:
    """
    Write the closing table to the log, and the counts to Airflow's metrics.

    :param report: The report of a finished import.
    :param task: The task.
    :param retries: Requests that were sent again.
    :param waited: Seconds for which FullStory was waited for.
    """
    from airflow.providers.common.compat.sdk import Stats

    task.log.info(
        "Import of %s finished, after waiting %s s for FullStory:", report.resource, f"{waited:,.0f}"
    )
    log_table(report, task)
    counts = {
        "records.imported": report.imported or 0,
        "records.invalid": report.invalid,
        "records.rejected": report.rejected or 0,
        "batches": report.batches,
    }
    for name, count in counts.items():
        Stats.incr(f"fullstory.{name}", count, tags=_tags(task))
    Stats.timing("fullstory.waited", timedelta(seconds=waited), tags=_tags(task))
    count_retries(task, retries)


def log_table(report: ImportReport, task: BaseOperator) -> None:
    """
    Write what became of all records to the log.

    :param report: The report of a finished import.
    :param task: The task.
    """
    for line in report.lines():
        task.log.info("%s", line)


def count_retries(task: BaseOperator, retries: int) -> None:
    """
    Add to Airflow's metrics how many requests a process sent again.

    :param task: The task.
    :param retries: How many.
    """
    from airflow.providers.common.compat.sdk import Stats

    Stats.incr("fullstory.retries", retries, tags=_tags(task))


def _tags(task: BaseOperator) -> dict[str, str]:
    return {"dag_id": task.dag_id, "task_id": task.task_id}
