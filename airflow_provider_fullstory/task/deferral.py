"""Waiting in the triggerer, up to a deadline."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator

    from airflow_provider_fullstory.batch_import.reporting.report import ImportReport


def deadline_of(operator: BaseOperator, started_at: float, timeout: float) -> float:
    """
    Return the time at which a task gives up waiting, in seconds since the epoch.

    Airflow does not count ``execution_timeout`` while a task is deferred (apache/airflow#69678), so it counts
    here.

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
    Defer a task until all jobs of an import are finished; ``execute_complete`` continues.

    :param report: The report so far, which comes back in the event.
    :param poll_interval: Shortest time between two polls, in seconds.
    """
    from airflow_provider_fullstory.text import plural
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
