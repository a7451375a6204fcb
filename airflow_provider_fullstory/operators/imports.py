"""The base class of operators that import records."""

from __future__ import annotations

import time
from abc import abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.common.compat.sdk import BaseOperator, conf

from airflow_provider_fullstory.exceptions import FullStoryInputError
from airflow_provider_fullstory.task.errors import explaining_unknown_jobs, with_report, without_retry
from airflow_provider_fullstory.task.intervals import explain_missing_interval, names_interval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_fullstory.batch_import.reporting.preview import Preview
    from airflow_provider_fullstory.task.arguments import ImportArguments
    from airflow_provider_fullstory.task.import_run import ImportRun
    from airflow_provider_fullstory.task.source import RecordSource


class FullStoryImportOperator(BaseOperator):
    """
    Import records into FullStory.

    An operator of one kind of records adds the arguments that only these records have, and says how a row
    becomes a record. It documents all parameters.
    """

    template_fields: Sequence[str] = (
        "sql",
        "sql_conn_id",
        "parameters",
        "mapping",
        "timezone",
        "schema",
        "exclude_columns",
        "insert_id",
        "sync_name",
        "state_uri",
        "rejected_uri",
        "idempotency_salt",
        "fullstory_conn_id",
    )
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers = {  # noqa: RUF012 - The form that Airflow's operators give it.
        "sql": "sql",
        "parameters": "json",
        "mapping": "json",
        "schema": "json",
    }
    ui_color = "#f3e8ff"
    _run: ImportRun | None = None
    _is_killed = False
    _names_interval = False

    def __init__(
        self,
        *,
        sql: str | None = None,
        sql_conn_id: str | None = None,
        parameters: Any = None,
        hook_params: Mapping[str, Any] | None = None,
        mapping: Mapping[str, str] | None = None,
        timezone: str = "UTC",
        schema: Mapping[str, str] | None = None,
        record_key: str | Sequence[str] = (),
        exclude_columns: str | Sequence[str] = (),
        insert_id: str | Sequence[str] | None = None,
        sync_name: str | None = None,
        full_refresh: bool = False,
        batch_size: int = 50_000,
        max_batch_bytes: int = 32 * 2**20,
        max_parallel_uploads: int = 4,
        max_outstanding_records: int = 500_000,
        durable: bool = True,
        state_uri: str | None = None,
        stage_batches: bool = False,
        on_ambiguous: Literal["fail", "resend"] = "fail",
        on_source_change: Literal["fail", "resend"] = "fail",
        idempotency_salt: str = "",
        max_rejected: float = 0,
        min_records: int = 0,
        skip_if_empty: bool = False,
        rejected_uri: str | None = None,
        log_values: bool = False,
        wait_for_completion: bool = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float = 2.0,
        timeout: float = 24 * 60 * 60.0,
        fullstory_conn_id: str = "fullstory_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sql = sql
        self.sql_conn_id = sql_conn_id
        self.parameters = parameters
        self.hook_params = hook_params
        self.mapping = mapping
        self.timezone = timezone
        self.schema = schema
        self.record_key = record_key
        self.exclude_columns = exclude_columns
        self.insert_id = insert_id
        self.sync_name = sync_name
        self.full_refresh = full_refresh
        self.batch_size = batch_size
        self.max_batch_bytes = max_batch_bytes
        self.max_parallel_uploads = max_parallel_uploads
        self.max_outstanding_records = max_outstanding_records
        self.durable = durable
        self.state_uri = state_uri
        self.stage_batches = stage_batches
        self.on_ambiguous = on_ambiguous
        self.on_source_change = on_source_change
        self.idempotency_salt = idempotency_salt
        self.max_rejected = max_rejected
        self.min_records = min_records
        self.skip_if_empty = skip_if_empty
        self.rejected_uri = rejected_uri
        self.log_values = log_values
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.fullstory_conn_id = fullstory_conn_id

    @abstractmethod
    def _checked_arguments(self) -> ImportArguments:
        """
        Return the arguments in their declared types; a template may have rendered anything.

        :raises FullStoryInputError: Naming each argument that is wrong.
        """

    @abstractmethod
    def _source(self, arguments: Any) -> RecordSource:
        """
        Return the source of the records.

        :raises FullStoryInputError: If an argument contradicts FullStory's rules for these records.
        """

    def render_template(self, content: Any, context: Context, *arguments: Any, **keywords: Any) -> Any:
        """Render a template, and note whether it names the data interval."""
        self._names_interval = self._names_interval or names_interval(content)
        with without_retry(), explain_missing_interval():
            return super().render_template(content, context, *arguments, **keywords)

    def execute(self, context: Context) -> dict[str, Any]:
        """
        Send all records that no earlier try has sent, and wait for their jobs, as the arguments say.

        :param context: The task's context.
        """
        with without_retry():
            self._run = run = self._new_run(context)
            if self._is_killed:
                run.stop()
            with run:
                report = run.begin(names_interval=self._names_interval)
                if report is None:
                    report = run.send()
                if run.is_waited_for(report):
                    started_at = time.time()
                    outcomes = run.wait(report)
                    run.complete(report, outcomes, waited=time.time() - started_at)
                return run.end(report)

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        """
        End the import after the wait in the triggerer.

        :param context: The task's context.
        :param event: The event of the trigger.
        """
        from airflow_provider_fullstory.batch_import.reporting.report import ImportReport
        from airflow_provider_fullstory.triggers.fullstory import outcomes_of

        with without_retry():
            self._run = run = self._new_run(context, is_resumed=True)
            with run:
                run.resume()
                report = ImportReport.from_xcom(event["report"])
                with with_report(report), explaining_unknown_jobs():
                    outcomes = outcomes_of(event)
                run.complete(report, outcomes, waited=event.get("waited", 0.0))
                return run.end(report)

    def _new_run(self, context: Context, *, is_resumed: bool = False) -> ImportRun:
        from airflow_provider_fullstory.task.import_run import ImportRun, note_failed_try

        try:
            arguments = self._checked_arguments()
            source = self._source(arguments)
        except FullStoryInputError:
            # As far as the arguments allow, the next try must know that nothing was sent. After the wait in
            # the triggerer the try is noted already; twice, it looks like one of a recreated run.
            with suppress(Exception):
                if not is_resumed:
                    note_failed_try(self, context)
            raise
        return ImportRun(self, context, arguments, source, is_resumed=is_resumed)

    def on_kill(self) -> None:
        """Stop the task as soon as possible. Its jobs continue in FullStory; the next try waits for them."""
        self._is_killed = True
        if self._run is not None:
            self._run.stop()
            if left_behind := self._run.left_behind:
                self.log.warning("The task was stopped. %s", left_behind)

    def preview(self, limit: int | None = 1000) -> Preview:
        """
        Run the source and the mapping, and return what an import would be; nothing is sent.

        FullStory is not called, and no connection to it is needed. Arguments are used as they are: only
        Airflow renders templates and names of ``.sql`` files (``render_template_fields``). The result holds
        values of records.

        :param limit: How many records to read at most, None for all. The number of batches is known only if
            all were read.
        """
        from airflow_provider_fullstory.batch_import.batching.batch import BatchLimits
        from airflow_provider_fullstory.batch_import.reporting.preview import preview
        from airflow_provider_fullstory.task.sync import previewed

        arguments = self._checked_arguments()
        options = self._source(arguments).options
        source = self._source(previewed(self.dag_id, self.task_id, arguments, options))
        source.check()
        limits = BatchLimits(arguments.batch_size, arguments.max_batch_bytes)
        limits.check()
        with source.open() as opened:
            return preview(
                opened.description,
                opened.targets,
                opened.chunks,
                limits=limits,
                options=source.options,
                limit=limit,
            )

    def dry_run(self) -> None:
        """Log what an import would be (``airflow tasks test --dry-run`` in Airflow 2)."""
        for line in self.preview(limit=None).lines():
            self.log.info("%s", line)
