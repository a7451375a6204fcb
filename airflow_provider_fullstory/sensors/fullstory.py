"""Sensor that waits for import jobs."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any, Final

from airflow.providers.common.compat.sdk import (
    AirflowSensorTimeout,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from airflow_provider_fullstory.exceptions import (
    FullStoryConnectionLookupError,
    FullStoryError,
    FullStoryInputError,
    FullStoryKilledError,
    FullStoryTimeoutError,
)
from airflow_provider_fullstory.task.completion import Completion
from airflow_provider_fullstory.task.deferral import deadline_of, wait_in_triggerer
from airflow_provider_fullstory.task.errors import airflow_error, without_retry
from airflow_provider_fullstory.task.identity import run_identity
from airflow_provider_fullstory.ui.link import IMPORT_LINKS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_fullstory.batch_import.client import ImportClient
    from airflow_provider_fullstory.batch_import.reporting.refused_file import RefusedFile
    from airflow_provider_fullstory.batch_import.reporting.report import ImportReport
    from airflow_provider_fullstory.batch_import.waiting.job_watch import JobWatch
    from airflow_provider_fullstory.batch_import.waiting.outcomes import JobOutcome
    from airflow_provider_fullstory.hooks.fullstory import FullStoryHook


#: FullStory documents only that an id may have characters such as "=".
_JOB_ID: Final = re.compile(r"\S+")


class FullStoryImportJobSensor(BaseSensorOperator):
    """
    Wait until FullStory has finished import jobs, and check how many records were refused.

    The jobs may be those of an import operator that did not wait, or of any other import. The sensor succeeds
    only if no more records were refused than ``max_rejected`` allows. It returns the report of the import, as
    the operator does; for jobs given by id, with the counts of FullStory.

    :param job_ids: One id, a list of them, or the report of the operator (``submit.output``); reports of
        mapped tasks count as one. (templated)
    :param resource: What the jobs import: ``events`` or ``users``. A report has its own.
    :param deferrable: Whether the task waits in the triggerer, without a worker slot. It polls once before.
    :param poke_interval: Seconds between two polls. In the triggerer it is the shortest time, which grows to
        a tenth of the time waited.
    :param max_rejected: How many records may be refused, invalid and rejected ones together, before the task
        fails: a number of records, or below 1 a share of all.
    :param rejected_uri: File of newline-delimited JSON, in any object storage, for the records that FullStory
        rejected; by default the file of the operator, which its report names. (templated)
    :param log_values: Whether the log shows refused records with their values; without a file, it shows the
        first five.
    :param fullstory_conn_id: Connection with the API key. (templated)
    """

    template_fields: Sequence[str] = ("job_ids", "resource", "rejected_uri", "fullstory_conn_id")
    operator_extra_links = IMPORT_LINKS
    ui_color = "#f3e8ff"
    _watch: JobWatch | None = None
    _hook: FullStoryHook | None = None
    _deadline: float | None = None
    _report: ImportReport | None = None
    _is_killed = False

    def __init__(
        self,
        *,
        job_ids: Any,
        resource: str = "events",
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poke_interval: float = 10.0,
        max_rejected: float = 0,
        rejected_uri: str | None = None,
        log_values: bool = False,
        fullstory_conn_id: str = "fullstory_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(poke_interval=poke_interval, **kwargs)
        self.job_ids = job_ids
        self.resource = resource
        self.deferrable = deferrable
        self.max_rejected = max_rejected
        self.rejected_uri = rejected_uri
        self.log_values = log_values
        self.fullstory_conn_id = fullstory_conn_id

    def poke(self, context: Context) -> PokeReturnValue:
        """
        Poll all jobs once, and continue to wait in the triggerer if the sensor is deferrable.

        :param context: The task's context.
        """
        from airflow_provider_fullstory.batch_import.reporting.report import ImportReport
        from airflow_provider_fullstory.batch_import.waiting.job_watch import JobWatch

        now = time.time()
        if self._deadline is None:
            self._deadline = deadline_of(self, now, self.timeout)
        deadline = self._deadline
        with without_retry():
            self._check_arguments()
        with without_retry(), self._new_hook(deadline) as hook:
            reports = self._reports()
            report = ImportReport.merged(reports)
            if self._watch is None or self._watch.job_ids != report.job_ids:
                # A file that cannot be used fails the task before the wait.
                self._files(context, reports)
                # With a process for each poke, the time that the wait has taken is unknown.
                started_at = 0.0 if self.reschedule else now
                self._watch = JobWatch(
                    report.job_ids, started_at=started_at, poll_interval=0, deadline=deadline
                )
            watch = self._watch
            self._poll(hook.imports(report.resource), watch)
            if self._is_killed:
                # Airflow lets a task continue after on_kill, and it could still succeed.
                raise FullStoryKilledError("The task was stopped.")
            if not watch.pending:
                return PokeReturnValue(True, self._end(context, hook, list(watch.outcomes.values()), 0.0))
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
        """End the task at its next poll at the latest, and log which jobs continue."""
        from airflow_provider_fullstory.batch_import.waiting.outcomes import still_running

        self._is_killed = True
        if self._watch is not None and self._watch.pending:
            self.log.warning("The task was stopped. %s", still_running(self._watch.pending))

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        """
        Check the import after the wait in the triggerer.

        :param context: The task's context.
        :param event: The event of the trigger.
        """
        from airflow_provider_fullstory.hooks.fullstory import FullStoryHook
        from airflow_provider_fullstory.triggers.fullstory import outcomes_of

        with without_retry():
            self._check_arguments()
        try:
            outcomes = outcomes_of(event)
        except FullStoryTimeoutError as error:
            error.report = event.get("report")
            if deadline_of(self, 0.0, self.timeout) < self.timeout:
                # It was execution_timeout, after which a sensor is tried again.
                raise
            raise airflow_error(error, AirflowSensorTimeout) from None
        with without_retry(), FullStoryHook(self.fullstory_conn_id) as hook:
            return self._end(context, hook, outcomes, event.get("waited", 0.0))

    def _end(
        self, context: Context, hook: FullStoryHook, outcomes: Sequence[JobOutcome], waited: float
    ) -> dict[str, Any]:
        """Complete the reports of all imports, and check them as one."""
        from airflow_provider_fullstory.batch_import.reporting.refusal_log import RefusalLog
        from airflow_provider_fullstory.batch_import.reporting.report import ImportReport
        from airflow_provider_fullstory.records.kinds import kind_of
        from airflow_provider_fullstory.task.separate_disks import warn_of_separate_disks

        warn_of_separate_disks(self, {"rejected_uri": self.rejected_uri})
        reports = self._reports()
        of_job = {outcome.job_id: outcome for outcome in outcomes}
        if not of_job.keys() >= {job_id for report in reports for job_id in report.job_ids}:
            raise FullStoryInputError(
                "job_ids names other jobs than those that were waited for: the task they come from has run "
                "again. Clear this task to wait for the new ones."
            )
        completion = Completion(self, context, hook)
        files, target = self._files(context, reports)
        with nullcontext() if target is None else target.claimed():
            for refused, group in _by_file(reports, files, target):
                refusal_log = RefusalLog(
                    kind_of(group[0].resource),
                    {},
                    shows_records=refused is None,
                    shows_values=self.log_values,
                )
                ended = [of_job[job_id] for report in group for job_id in report.job_ids]
                completion.complete(group, ended, refused, refusal_log)
        filled = [str(refused) for refused in files.values() if refused.exists]
        for uri in filled:
            self.log.info("Refused records are in %s.", uri)
        for refused in files.values():
            completion.clean_up(refused.release)
        self._report = report = ImportReport.merged(reports)
        completion.report(report, waited=waited)
        return completion.result(report, max_rejected=self.max_rejected, files=filled)

    def get_openlineage_facets_on_start(self) -> OperatorLineage[Any, Any] | None:
        """Tell OpenLineage where the records go."""
        from airflow_provider_fullstory.batch_import.reporting.report import ImportReport
        from airflow_provider_fullstory.lineage.imports import lineage_of_jobs

        try:
            return lineage_of_jobs(self, self._report or ImportReport.merged(self._reports()))
        except FullStoryError as error:
            self.log.debug("OpenLineage is told nothing about these jobs. %s", error)
            return None

    def get_openlineage_facets_on_complete(self, task_instance: object) -> OperatorLineage[Any, Any] | None:  # noqa: ARG002
        """Tell OpenLineage also what became of the records."""
        return self.get_openlineage_facets_on_start()

    def get_openlineage_facets_on_failure(self, task_instance: object) -> OperatorLineage[Any, Any] | None:
        """Tell OpenLineage also what FullStory has imported although the task failed."""
        return self.get_openlineage_facets_on_complete(task_instance)

    def _files(
        self, context: Context, reports: Sequence[ImportReport]
    ) -> tuple[dict[str, RefusedFile], RefusedFile | None]:
        """Return the files of all imports by their URIs, and the file that this task fills, if any."""
        from airflow_provider_fullstory.records.kinds import kind_of
        from airflow_provider_fullstory.task.storage import refused_file

        kind = kind_of(reports[0].resource)
        run = run_identity(context, self.task_id)
        files = {
            report.rejected_uri: refused_file(kind, report.rejected_uri, run, is_given=True)
            for report in reports
            if report.rejected_uri is not None
        }
        if self.rejected_uri is None:
            return files, None
        uri = str(refused_file(kind, str(self.rejected_uri), run))
        others = [refused.fingerprints for other, refused in files.items() if other != uri]
        files[uri] = refused_file(kind, uri, run, is_given=uri in files, others=others)
        return files, files[uri]

    def _new_hook(self, deadline: float) -> FullStoryHook:
        """Return one hook for all pokes of a process, so that the connection is looked up once."""
        from airflow_provider_fullstory.hooks.fullstory import FullStoryHook

        if self._hook is None:
            self._hook = FullStoryHook(self.fullstory_conn_id, deadline=deadline)
            # Polling logs a look-up that fails, and tolerates it; a missing connection is final.
            with suppress(FullStoryConnectionLookupError):
                _ = self._hook.settings
        return self._hook

    def _poll(self, client: ImportClient, watch: JobWatch) -> None:
        for job_id in watch.pending:
            if (error := watch.poll(client, job_id)) is not None:
                # The next poke is the sensor's own way of trying again.
                self.log.warning("%s", error)
                return

    def _reports(self) -> list[ImportReport]:
        """Return a report for each import; jobs given by id are one import."""
        from airflow_provider_fullstory.batch_import.reporting.report import ImportReport

        given = _read(self.job_ids)
        is_several = isinstance(given, Iterable) and not isinstance(given, (str, Mapping))
        entries = list(given) if is_several else [given]
        if entries and all(isinstance(entry, Mapping) for entry in entries):
            return [ImportReport.from_xcom(entry) for entry in entries]
        if not entries or not all(isinstance(entry, str) and _JOB_ID.fullmatch(entry) for entry in entries):
            raise FullStoryInputError(
                "job_ids must be the id of a job, a list of ids, or the report of an import (its task's "
                f".output), not {type(given).__name__} without any."
            )
        job_ids = list(dict.fromkeys(entries))
        return [ImportReport(resource=self.resource, job_ids=job_ids, batches=len(job_ids), records=None)]

    def _check_arguments(self) -> None:
        """Convert each argument to its declared type, or raise an error: a template can return anything."""
        from airflow_provider_fullstory.task.arguments import ImportJobSensorArguments, checked

        arguments = checked(ImportJobSensorArguments, vars(self))
        # In place, as Airflow renders templates: from here on each has the declared type.
        for name in arguments.__struct_fields__:
            setattr(self, name, getattr(arguments, name))


def _by_file(
    reports: Sequence[ImportReport], files: Mapping[str, RefusedFile], target: RefusedFile | None
) -> Iterator[tuple[RefusedFile | None, list[ImportReport]]]:
    """
    Yield each file of refused records to write, with the reports whose records it holds.

    None stands for no file.
    """
    groups: dict[str, list[ImportReport]] = {}
    for report in reports:
        uri = str(target or report.rejected_uri or "")
        # An import that was waited for before, with another file, is complete.
        if report.imported is None or report.rejected_uri in (None, uri):
            groups.setdefault(uri, []).append(report)
    for uri, group in groups.items():
        file = files.get(uri)
        if any(report.imported is None or (file and not report.rejected_uri) for report in group):
            yield file, group


def _read(job_ids: Any) -> Any:
    """Return the jobs, parsed if a template made JSON of the reports of imports."""
    if not isinstance(job_ids, str) or job_ids.lstrip()[:1] not in ("{", "["):
        return job_ids
    with suppress(ValueError):
        reports = json.loads(job_ids)
        if all(isinstance(report, dict) for report in (reports if isinstance(reports, list) else [reports])):
            return reports
    raise FullStoryInputError(
        "job_ids is text that a template made of a report or a list. Pass task.output instead, or render a "
        "report as JSON ({{ ti.xcom_pull(...) | tojson }})."
    )
