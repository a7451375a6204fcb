"""Sensor that waits for import jobs."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowSensorTimeout,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from airflow_provider_fullstory.exceptions import FullStoryInputError, FullStoryTimeoutError
from airflow_provider_fullstory.outcome import conclude, without_retry

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_fullstory.batch_import.report import ImportReport


class FullStoryImportJobSensor(BaseSensorOperator):
    """
    Wait until FullStory has finished import jobs, and judge them.

    Takes the jobs of a :class:`FullStoryImportEventsOperator` that did not wait, or those of any other
    import. Succeeds only if no record was refused, and returns the report of the import, as the operator
    does; for jobs given by id, what is counted is what FullStory counts.

    :param job_ids: One id, a list of them, or the report of the operator (``submit.output``). (templated)
    :param resource: What the jobs import: ``events`` or ``users``. The report, where one is given, says it.
    :param deferrable: Whether the task waits in the triggerer, without a worker slot. It looks once before.
    :param poke_interval: Seconds between two looks. In the triggerer it is the shortest time, which grows to
        a tenth of the time waited.
    :param fullstory_conn_id: Connection with the API key. (templated)
    """

    template_fields: Sequence[str] = ("job_ids", "resource", "fullstory_conn_id")
    ui_color = "#f3e8ff"

    def __init__(
        self,
        *,
        job_ids: Any,
        resource: str = "events",
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poke_interval: float = 10.0,
        fullstory_conn_id: str = "fullstory_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(poke_interval=poke_interval, **kwargs)
        self.job_ids = job_ids
        self.resource = resource
        self.deferrable = deferrable
        self.fullstory_conn_id = fullstory_conn_id

    def execute(self, context: Context) -> Any:
        """Wait as the sensor's mode says."""
        if not self.deferrable:
            return super().execute(context)
        started_at = time.time()
        found = self.poke(context)
        return found.xcom_value if found else self._defer(started_at)

    def poke(self, context: Context) -> PokeReturnValue:
        """Look at all jobs once."""
        from airflow_provider_fullstory.batch_import.waiting import JobWatch
        from airflow_provider_fullstory.hooks.fullstory import FullStoryHook

        with without_retry(), FullStoryHook(self.fullstory_conn_id) as hook:
            report = self._report()
            watch = JobWatch(report.job_ids, started_at=0, poll_interval=0, deadline=0)
            for job_id in watch.job_ids:
                watch.saw(job_id, hook.get_job_status(report.resource, job_id))
            if watch.pending:
                self.log.info("%d of %d jobs are finished.", len(watch.outcomes), len(watch.job_ids))
                return PokeReturnValue(False)
            return PokeReturnValue(True, conclude(hook, report, list(watch.outcomes.values()), context))

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        """
        Judge the import after the wait in the triggerer.

        :param context: The task's context.
        :param event: What the trigger found.
        """
        from airflow_provider_fullstory.batch_import.report import ImportReport
        from airflow_provider_fullstory.hooks.fullstory import FullStoryHook
        from airflow_provider_fullstory.triggers.fullstory import outcomes_of

        try:
            outcomes = outcomes_of(event)
        except FullStoryTimeoutError as error:
            raise AirflowSensorTimeout(str(error)) from error
        with without_retry(), FullStoryHook(self.fullstory_conn_id) as hook:
            return conclude(hook, ImportReport.from_xcom(event["report"]), outcomes, context)

    def _defer(self, started_at: float) -> None:
        from airflow_provider_fullstory.triggers.fullstory import FullStoryImportJobTrigger, deferral_timeout

        report = self._report()
        limits = [float(self.timeout)]
        if isinstance(self.execution_timeout, timedelta):
            limits.append(self.execution_timeout.total_seconds())
        deadline = started_at + min(limits)
        self.defer(
            trigger=FullStoryImportJobTrigger(
                job_ids=report.job_ids,
                started_at=started_at,
                deadline=deadline,
                resource=report.resource,
                poll_interval=self.poke_interval,
                report=report.to_xcom(),
                fullstory_conn_id=self.fullstory_conn_id,
            ),
            method_name="execute_complete",
            timeout=deferral_timeout(deadline - time.time()),
        )

    def _report(self) -> ImportReport:
        from airflow_provider_fullstory.batch_import.report import ImportReport

        jobs = self.job_ids
        if isinstance(jobs, Mapping):
            return ImportReport.from_xcom(jobs)
        if isinstance(jobs, str):
            jobs = [jobs]
        job_ids = list(jobs) if isinstance(jobs, Iterable) else []
        if not all(isinstance(job_id, str) and job_id for job_id in job_ids) or not job_ids:
            raise FullStoryInputError(
                "job_ids must be the id of a job, a list of ids, or the report of "
                f"FullStoryImportEventsOperator (.output), not {type(self.job_ids).__name__} without ids."
            )
        return ImportReport(resource=self.resource, job_ids=job_ids, batches=len(set(job_ids)), records=None)
