"""The base class of operators that import records."""

from __future__ import annotations

import time
from abc import abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow.providers.common.compat.sdk import BaseOperator, conf

from airflow_provider_fullstory.exceptions import FullStoryError, FullStoryInputError
from airflow_provider_fullstory.task.errors import explaining_unknown_jobs, with_report, without_retry
from airflow_provider_fullstory.task.intervals import explain_missing_interval, names_interval
from airflow_provider_fullstory.ui.link import IMPORT_LINKS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_fullstory.batch_import.reporting.preview import Preview
    from airflow_provider_fullstory.task.arguments import ImportArguments
    from airflow_provider_fullstory.task.import_run import ImportRun
    from airflow_provider_fullstory.task.source import RecordSource


class FullStoryImportOperator(BaseOperator):
    """
    Import records into FullStory, from XCom, files, or the result of a query.

    Records are read, mapped, checked and sent in batches, so that memory does not grow with their number. The
    task succeeds only if each record is in FullStory, or as many as ``max_rejected`` requires. A record is
    refused when it is not in FullStory: it is either invalid (found here, and never sent) or rejected (by
    FullStory). Refused records do not keep the others from being sent, and ``rejected_uri`` writes them to a
    file that can be fixed and imported.

    Retries and clears send no record twice and lose none. Each batch has an idempotency key that follows from
    the run and the bytes of the batch, and an entry in a ledger, which is written before the batch is sent
    and completed afterwards. A later try waits for the jobs that FullStory has accepted and sends only the
    rest. The ledger is under ``state_uri``, or else in Airflow's task state store (3.3 and newer). With
    neither, the idempotency keys protect for 24 hours.

    With a :class:`~airflow_provider_fullstory.watermark.Watermark` among the ``parameters``, with
    ``insert_id``, or with both, the task is a sync: it remembers under ``state_uri`` what it imported, from
    one run to the next. One run of a sync works at a time; another waits for it. A clear, a retry or a later
    run then sends what is new or missing, and nothing else.

    The task returns a report as XCom: ``{"resource": "events", "job_ids": [...], "records": n, "imported": n,
    "invalid": n, "rejected": n, "skipped": n, "rejected_uri": ..., "batches": n, "codes":
    {"required_field": 3}, "reasons": {"required_field: name is missing": 3}, "earliest":
    "2026-01-02T10:00:00+00:00", "latest": ..., "without_timestamp": n, "dropped_properties": {},
    "watermark": None}``.
    ``reasons`` and ``dropped_properties`` hold the five most frequent reasons, and the rest as one.
    ``imported`` and ``rejected`` are None until FullStory has finished; from then on ``records == imported +
    invalid + rejected + skipped``. The report is pushed as soon as all records are sent.

    An operator of one kind of records adds the arguments that only these records have, and says how a row
    becomes a record.

    :param sql: One SELECT, or the name of a ``.sql`` file. Add ORDER BY, so that a retry makes the same
        batches. (templated)
    :param sql_conn_id: The connection of the database. (templated)
    :param parameters: The parameters of the query, in the form of the database's driver. A ``Watermark``
        stands for the value that the sync has come to. (templated)
    :param hook_params: Arguments for the database's hook.
    :param mapping: Field of the API -> column, for columns that cannot be renamed in the query. (templated)
    :param timezone: The time zone of timestamps without an offset. (templated)
    :param schema: Property -> type, if its values do not show it: ``{"amount": "real", "opened_at":
        "date"}``. Types are str, int, real, bool, date, and their plurals for arrays. (templated)
    :param record_key: Columns (or keys) that identify a record. Messages about refused records show their
        values.
    :param exclude_columns: Columns (or keys) that are not sent, such as that of the watermark. (templated)
    :param json_columns: Columns (or keys) whose text is JSON, to be sent as objects, where the database does
        not say so. A record whose text is not JSON is refused. (templated)
    :param insert_id: Columns (or keys) whose values name a record forever, or ``"*"`` for the whole record as
        it is sent. A record whose insert id the sync has imported is not sent again; the report counts it as
        skipped. A record in which one of them is NULL is refused. It takes an API key of level Architect, to
        learn which records FullStory rejected. (templated)
    :param sync_name: The name of the sync, ``dag_id.task_id`` by default. Tasks with the same name share its
        watermark and insert ids, such as a backfill. (templated)
    :param full_refresh: Whether the watermark starts at its ``initial`` value again; with ``insert_id`` only,
        so that only what is missing is sent. A DAG run's configuration asks for it too: ``{"full_refresh":
        true}``, or a list of task ids.
    :param batch_size: The most records of a batch, up to FullStory's 50,000.
    :param max_batch_bytes: The most bytes of a batch; FullStory documents no limit.
    :param max_parallel_uploads: How many batches are uploaded at the same time, from 1 to 16. They are on the
        worker's disk (``TMPDIR``), not in memory.
    :param max_outstanding_records: How many records may be sent and unfinished. FullStory refuses more than
        500,000 for the whole organization; for several imports at the same time, use a pool.
    :param durable: Whether a retry resumes what earlier tries began. With False each try sends everything
        under the same idempotency keys.
    :param state_uri: Folder in any object storage that holds the ledger, by DAG, task and run, and what syncs
        remember; by default ``[fullstory] state_uri`` of Airflow's configuration. It outlives clears,
        upgrades, and Airflow's database. (templated)
    :param stage_batches: Whether all batches are written under ``state_uri``, compressed, before the first is
        sent. A retry then reads them instead of the source, whose rows may have changed. They are removed
        once the task succeeds.
    :param on_ambiguous: What to do with a batch of unknown outcome: its answer was lost more than 24 hours
        ago, FullStory repeats a server error for it, or its job has vanished or ended without counts.
        ``fail``, or ``resend`` only these batches, under new keys.
    :param on_source_change: What to do if the source no longer gives the batches that an earlier try sent:
        ``fail``, or ``resend`` the batches that changed, although FullStory has the old ones.
    :param idempotency_salt: Names another import of the same run: a new value sends all records again, on
        purpose. (templated)
    :param max_rejected: How many records may be refused, invalid and rejected together, before the task
        fails: a number of records, or below 1 a share of all.
    :param min_records: How many records the source must give. With fewer the task fails; up to
        ``batch_size``, before anything is sent.
    :param skip_if_empty: Whether the task is skipped if the source gives no records.
    :param rejected_uri: File of newline-delimited JSON, in any object storage, for the refused records, each
        with its reason; with a slash at its end, a folder in which each run of each task has a file. Rejected
        records can be read only with an API key of level Architect or above. (templated)
    :param log_values: Whether the log shows refused records with their values. It shows the first five of
        each kind if no ``rejected_uri`` takes them.
    :param wait_for_completion: Whether the task ends when FullStory has finished the jobs, rather than when
        it has accepted them.
    :param deferrable: Whether the task waits in the triggerer, without a worker slot.
    :param poll_interval: The shortest time between two polls of a job, in seconds; it grows to a tenth of the
        time waited. While a batch waits for capacity, jobs that are likely to be finished are polled sooner.
    :param timeout: Seconds until the task gives up. A shorter ``execution_timeout`` also counts for the time
        in the triggerer. Its jobs continue in FullStory, which cannot cancel an import.
    :param fullstory_conn_id: The connection with the API key. (templated)
    """

    template_fields: Sequence[str] = (
        "sql",
        "sql_conn_id",
        "parameters",
        "mapping",
        "timezone",
        "schema",
        "exclude_columns",
        "json_columns",
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
    # Read by the registry of Airflow's providers: a retry goes on with the jobs of the try before it.
    __supports_durable_execution: ClassVar[bool] = True
    operator_extra_links = IMPORT_LINKS
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
        json_columns: str | Sequence[str] = (),
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
        self.json_columns = json_columns
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
                report = ImportReport.from_xcom(event["report"])
                run.resume(report)
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

    def get_openlineage_facets_on_start(self) -> OperatorLineage[Any, Any] | None:
        """Tell OpenLineage where the records come from and where they go."""
        from airflow_provider_fullstory.lineage.imports import lineage_of_import

        try:
            arguments = self._checked_arguments()
            return lineage_of_import(self, self._source(arguments), self._run)
        except FullStoryError as error:
            self.log.debug("OpenLineage is told nothing about this import. %s", error)
            return None

    def get_openlineage_facets_on_complete(self, task_instance: object) -> OperatorLineage[Any, Any] | None:  # noqa: ARG002
        """Tell OpenLineage also what became of the records."""
        return self.get_openlineage_facets_on_start()

    def get_openlineage_facets_on_failure(self, task_instance: object) -> OperatorLineage[Any, Any] | None:
        """Tell OpenLineage also what FullStory has accepted or imported although the task failed."""
        return self.get_openlineage_facets_on_complete(task_instance)

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
        with source.open(limit=limit) as opened:
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
