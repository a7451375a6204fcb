"""How an import is waited for and ends, in Airflow's terms; what the operator and the sensor share."""

from __future__ import annotations

import time
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_fullstory.exceptions import (
    FullStoryAmbiguousError,
    FullStoryInputError,
    FullStoryLedgerError,
    FullStoryQuotaError,
    FullStoryRecordsRefusedError,
    FullStorySourceChangedError,
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


@contextmanager
def without_retry() -> Iterator[None]:
    """Fail the task at once for what a retry cannot mend, such as bad input and records that were refused."""
    try:
        yield
    except (
        FullStoryInputError,
        FullStoryRecordsRefusedError,
        FullStorySourceChangedError,
        FullStoryAmbiguousError,
        FullStoryQuotaError,
    ) as error:
        raise AirflowFailException(str(error)) from error


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


def run_identity(context: Context, salt: str = "") -> RunIdentity:
    """
    Return what names a run of a task, the same in all its tries.

    :param context: The task's context.
    :param salt: Anything that tells one import of the run from another on purpose.
    """
    from airflow_provider_fullstory.batch_import.batches import RunIdentity

    instance = context["ti"]
    return RunIdentity(
        dag_id=instance.dag_id,
        run_id=instance.run_id,
        task_id=instance.task_id,
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
    from airflow_provider_fullstory.triggers.fullstory import FullStoryImportJobTrigger, deferral_timeout

    now = time.time()
    operator.log.info("Waiting for %d jobs in the triggerer.", len(report.job_ids))
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
    report: ImportReport,
    outcomes: Sequence[JobOutcome],
    refused: RefusedFile | None,
    samples: Samples,
) -> None:
    """
    Complete the report of a finished import, and the file of its refused records.

    :param hook: Reads the refused records.
    :param report: The report so far.
    :param outcomes: What became of all jobs.
    :param refused: The file, where one is wanted.
    :param samples: Explains refused records in the log, where no file does.
    """
    from airflow_provider_fullstory.batch_import.report import rejections

    def counted() -> Iterator[tuple[str, Sequence[RecordError]]]:
        for job_id, errors in rejections(hook, report.resource, outcomes, is_required=refused is not None):
            report.add_codes(error.code or "unknown" for error in errors)
            if refused is None:
                samples.rejected(job_id, errors)
            yield job_id, errors

    rejected = {outcome.job_id: outcome.errors for outcome in outcomes if outcome.errors}
    # Halves of a batch share their traces, which are read once if they follow each other.
    places = {job_id: place for place, job_id in enumerate(report.job_ids)}
    outcomes = sorted(outcomes, key=lambda outcome: places[outcome.job_id])
    if refused is not None and not refused.is_complete(report.invalid, rejected):
        refused.add_rejected(counted(), report.invalid)
    else:
        for _ in counted():
            pass
    has_file = refused is not None and refused.exists
    report.rejected_uri = str(refused) if has_file else None
    report.finish(outcomes)


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
) -> dict[str, Any]:
    """
    Return the report as XCom where it is one of a success.

    :param report: The report.
    :param task: The task.
    :param context: Its context.
    :param max_rejected: How many records may be refused; below 1 which share of all.
    :raises FullStoryRecordsRefusedError: Where more records are not in FullStory.
    """
    try:
        report.judge(max_rejected)
    except FullStoryRecordsRefusedError:
        publish(report, task, context)
        raise
    if report.refused:
        task.log.warning(
            "%d records are not in FullStory; max_rejected=%s lets them pass.", report.refused, max_rejected
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
    except FullStoryLedgerError as error:
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

    task.log.info("Import of %s finished, after waiting %.0f s for FullStory:", report.resource, waited)
    for line in report.lines():
        task.log.info("%s", line)
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
