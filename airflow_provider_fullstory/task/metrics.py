"""What the log and Airflow's metrics say of a finished import."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator

    from airflow_provider_fullstory.batch_import.reporting.report import ImportReport


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
