"""The counts of an import in Airflow's metrics."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator

    from airflow_provider_fullstory.batch_import.reporting.report import ImportReport


class ImportMetrics:
    """
    Add the counts of imports to Airflow's metrics.

    :param task: The task, whose ids are the tags.
    """

    def __init__(self, task: BaseOperator) -> None:
        self._tags = {"dag_id": task.dag_id, "task_id": task.task_id}

    def add_import(self, report: ImportReport, *, waited: float) -> None:
        """
        Add the counts of a finished import.

        :param report: The report.
        :param waited: How long the task waited for FullStory, in seconds.
        """
        from airflow.providers.common.compat.sdk import Stats

        counts = {
            "records.imported": report.imported or 0,
            "records.invalid": report.invalid,
            "records.rejected": report.rejected or 0,
            "batches": report.batches,
        }
        for name, count in counts.items():
            Stats.incr(f"fullstory.{name}", count, tags=self._tags)
        Stats.timing("fullstory.waited", timedelta(seconds=waited), tags=self._tags)

    def add_retries(self, retries: int) -> None:
        """
        Add the requests that a process sent again.

        :param retries: How many.
        """
        from airflow.providers.common.compat.sdk import Stats

        Stats.incr("fullstory.retries", retries, tags=self._tags)
