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
    FullStoryRecordsRefusedError,
    FullStorySourceChangedError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow.providers.common.compat.sdk import BaseOperator, Context

    from airflow_provider_fullstory.batch_import.report import ImportReport
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


def complete(hook: FullStoryHook, report: ImportReport, outcomes: Sequence[JobOutcome]) -> None:
    """
    Complete the report of a finished import.

    :param hook: Reads the codes of refused records.
    :param report: The report so far.
    :param outcomes: What became of all jobs.
    """
    from airflow_provider_fullstory.batch_import.report import refusal_codes

    report.add_codes(refusal_codes(hook, report.resource, outcomes))
    report.finish(outcomes)


def judge(report: ImportReport, context: Context) -> dict[str, Any]:
    """
    Return the report as XCom where no record was refused.

    :param report: The report.
    :param context: The task's context.
    :raises FullStoryRecordsRefusedError: Where records are not in FullStory.
    """
    try:
        report.judge()
    except FullStoryRecordsRefusedError:
        # A task that fails returns nothing, yet its jobs and counts are what one needs then.
        context["ti"].xcom_push(key="return_value", value=report.to_xcom())
        raise
    return report.to_xcom()
