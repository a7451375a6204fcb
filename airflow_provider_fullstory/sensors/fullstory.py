"""Sensor that waits for import jobs."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowSensorTimeout,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from airflow_provider_fullstory.exceptions import (
    FullStoryError,
    FullStoryInputError,
    FullStoryKilledError,
    FullStoryTimeoutError,
)
from airflow_provider_fullstory.outcome import complete, deadline_of, judge, wait_in_triggerer, without_retry

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_fullstory.batch_import.report import ImportReport
    from airflow_provider_fullstory.batch_import.waiting import JobWatch
    from airflow_provider_fullstory.hooks.fullstory import FullStoryHook


class FullStoryImportJobSensor(BaseSensorOperator):
    """
    Wait until FullStory has finished import jobs, and judge them.

    Takes the jobs of a :class:`FullStoryImportEventsOperator` that did not wait, or those of any other
    import. Succeeds only if no record was refused, and returns the report of the import, as the operator
    does; for jobs given by id, what is counted is what FullStory counts.

    :param job_ids: One id, a list of them, or the report of the operator (``submit.output``); reports of
        mapped tasks count as one. (templated)
    :param resource: What the jobs import: ``events`` or ``users``. The report, where one is given, says it.
    :param deferrable: Whether the task waits in the triggerer, without a worker slot. It looks once before.
    :param poke_interval: Seconds between two looks. In the triggerer it is the shortest time, which grows to
        a tenth of the time waited.
    :param fullstory_conn_id: Connection with the API key. (templated)
    """

    template_fields: Sequence[str] = ("job_ids", "resource", "fullstory_conn_id")
    ui_color = "#f3e8ff"
    _watch: JobWatch | None = None
    _is_killed = False

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

    def poke(self, context: Context) -> PokeReturnValue:
        """
        Look at all jobs once, and go on waiting in the triggerer where that is wanted.

        :param context: The task's context.
        """
        from airflow_provider_fullstory.batch_import.waiting import JobWatch
        from airflow_provider_fullstory.hooks.fullstory import FullStoryHook

        with without_retry(), FullStoryHook(self.fullstory_conn_id) as hook:
            report = self._report()
            deadline = deadline_of(self, time.time(), self.timeout)
            self._watch = watch = JobWatch(report.job_ids, started_at=0, poll_interval=0, deadline=deadline)
            self._look(hook, report.resource, watch)
            if self._is_killed:
                # Airflow lets a task go on after on_kill, and it would be green if it did.
                raise FullStoryKilledError("The task was told to end.")
            if not watch.pending:
                complete(hook, report, list(watch.outcomes.values()))
                return PokeReturnValue(True, judge(report, context))
        self.log.info("%d of %d jobs are finished.", len(watch.outcomes), len(watch.job_ids))
        if self.deferrable:
            wait_in_triggerer(
                self,
                report,
                fullstory_conn_id=self.fullstory_conn_id,
                poll_interval=self.poke_interval,
                deadline=deadline,
            )
        return PokeReturnValue(False)

    def on_kill(self) -> None:
        """End the task at its next look at the latest, and say what goes on in FullStory."""
        from airflow_provider_fullstory.batch_import.waiting import still_running

        self._is_killed = True
        if self._watch is not None and self._watch.pending:
            self.log.warning("The task was told to end. %s", still_running(self._watch.pending))

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
            if deadline_of(self, 0.0, self.timeout) < self.timeout:
                # It was execution_timeout, after which a sensor is tried again.
                raise
            raise AirflowSensorTimeout(str(error)) from error
        with without_retry(), FullStoryHook(self.fullstory_conn_id) as hook:
            report = ImportReport.from_xcom(event["report"])
            complete(hook, report, outcomes)
            return judge(report, context)

    def _look(self, hook: FullStoryHook, resource: str, watch: JobWatch) -> None:
        once = hook.without_retries()
        try:
            for job_id in watch.job_ids:
                watch.saw(job_id, once.get_job_status(resource, job_id))
        except FullStoryError as error:
            if not error.is_transient:
                raise
            # The next look is the sensor's own way of trying again.
            self.log.warning("%s", error)

    def _report(self) -> ImportReport:
        from airflow_provider_fullstory.batch_import.report import ImportReport

        given = self.job_ids
        is_several = isinstance(given, Iterable) and not isinstance(given, (str, Mapping))
        entries = list(given) if is_several else [given]
        if entries and all(isinstance(entry, Mapping) for entry in entries):
            return ImportReport.merged([ImportReport.from_xcom(entry) for entry in entries])
        if not entries or not all(isinstance(entry, str) and entry for entry in entries):
            raise FullStoryInputError(
                "job_ids must be the id of a job, a list of ids, or the report of "
                f"FullStoryImportEventsOperator (.output), not {type(given).__name__} without any."
            )
        job_ids = list(dict.fromkeys(entries))
        return ImportReport(resource=self.resource, job_ids=job_ids, batches=len(job_ids), records=None)
