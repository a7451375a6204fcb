"""Operator that imports events into FullStory."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from airflow.providers.common.compat.sdk import AirflowSkipException, BaseOperator, conf

from airflow_provider_fullstory.exceptions import (
    FullStoryAmbiguousError,
    FullStoryAuthenticationError,
    FullStoryError,
    FullStoryInputError,
    FullStoryNotFoundError,
    FullStoryRecordsRefusedError,
    FullStoryTooFewRecordsError,
)
from airflow_provider_fullstory.task.completion import clean_up, complete, judge, publish
from airflow_provider_fullstory.task.deferral import deadline_of, wait_in_triggerer
from airflow_provider_fullstory.task.errors import with_report, without_retry
from airflow_provider_fullstory.task.hidden_records import HiddenRecords, is_records
from airflow_provider_fullstory.task.identity import run_identity
from airflow_provider_fullstory.task.intervals import (
    explain_missing_interval,
    names_interval,
    warn_of_empty_interval,
)
from airflow_provider_fullstory.task.metrics import count_retries, log_table, tell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_fullstory.batch_import.batching.batch import BatchLimits
    from airflow_provider_fullstory.batch_import.batching.identity import RunIdentity
    from airflow_provider_fullstory.batch_import.batching.submissions import Submission
    from airflow_provider_fullstory.batch_import.ledger.ledger import Ledger
    from airflow_provider_fullstory.batch_import.reporting.preview import Preview
    from airflow_provider_fullstory.batch_import.reporting.refusal_log import RefusalLog
    from airflow_provider_fullstory.batch_import.reporting.refused_file import RefusedFile
    from airflow_provider_fullstory.batch_import.reporting.report import ImportReport
    from airflow_provider_fullstory.batch_import.sending.importer import Importer
    from airflow_provider_fullstory.batch_import.sending.quota import RemainingQuota
    from airflow_provider_fullstory.batch_import.waiting.outcomes import JobOutcome
    from airflow_provider_fullstory.hooks.fullstory import FullStoryHook
    from airflow_provider_fullstory.records.mapping import MappedChunk
    from airflow_provider_fullstory.task.source import EventSource, OpenSource
    from airflow_provider_fullstory.task.state import ImportState

T = TypeVar("T")

#: Seconds for which a request that fails in a passing way is repeated.
_RETRY_FOR = 300.0
#: Columns whose mapping the log shows.
_MOST_COLUMNS = 50


class FullStoryImportEventsOperator(BaseOperator):
    """
    Import events into FullStory, from XCom, a file, or the result of a query.

    Records are read, mapped, checked and sent in batches piece by piece, so any number of them needs the same
    small memory. The task succeeds only if every record is in FullStory, or as many as ``max_rejected`` asks
    for; those that are refused, here or there, never keep the others from being sent. ``rejected_uri`` has
    them written to a file that can be mended and imported.

    A retry doubles nothing and loses nothing, and a clear is a try like any other. Each batch goes out under
    an idempotency key that follows from the run and the batch's bytes, and is entered in a ledger before and
    after: a later try waits for the jobs that FullStory has accepted and sends only the rest. The ledger is
    under ``state_uri``, or else in Airflow's task state store (3.3 and newer); with neither, the keys protect
    for 24 hours.

    Give exactly one of ``events`` and ``sql``. The name of a column (or key) says where its value goes:
    ``name``, ``timestamp``, ``user.uid``, ``user.id``, ``session.id``, ``context.browser.url`` and the other
    fields of FullStory's events; ``properties.x``, and every name that is no field, becomes a property.

    Returns a report, as XCom: ``{"resource": "events", "job_ids": [...], "records": n, "imported": n,
    "invalid": n, "rejected": n, "rejected_uri": ..., "batches": n, "codes": {"required_field": 3}, "reasons":
    {"required_field: name is missing": 3}, "earliest": "2026-01-02T10:00:00+00:00", "latest": ...,
    "without_timestamp": n}``. ``reasons`` are the five most frequent, and the rest as one.
    ``invalid`` counts records refused here, ``rejected`` those that FullStory refused; ``imported`` and
    ``rejected`` are None while FullStory works, and ``records == imported + invalid + rejected`` afterwards.
    The report is there as soon as all is sent.

    .. seealso:: developer.fullstory.com/server/events/create-batch-events-import-job

    :param events: A list or other iterable of dicts, the output of a task (mapped ones too), or where files
        of newline-delimited JSON (plain or gzip) are, in any object storage: the URI of a file, such as an
        earlier ``rejected_uri``, a pattern, a folder (with a slash at its end), or a list of these. Files are
        read in the order of their names. (templated, not inside dicts)
    :param sql: One SELECT, or the name of a ``.sql`` file. Add ORDER BY, so that a retry gives the same
        batches. (templated)
    :param sql_conn_id: Connection of the database that ``sql`` is for. (templated)
    :param parameters: Parameters of the query, in the form of the database's driver. (templated)
    :param hook_params: Arguments for the database's hook.
    :param event_name: Name of all events, where no column holds it. (templated)
    :param mapping: Field of the API -> column, for columns that cannot be renamed in the query. (templated)
    :param timezone: Time zone of timestamps that carry no offset. (templated)
    :param schema: Property -> type, where its values do not tell: ``{"amount": "real", "opened_at":
        "date"}``. Types are str, int, real, bool, date, and their plurals for arrays. (templated)
    :param shared: What all events have in common, as the API has it: any of user, session, context,
        page_properties. (templated)
    :param allow_anonymous: Whether an event may have neither user nor session. FullStory would make up a user
        for each, and so would hide a mapping that lost the user.
    :param allow_missing_timestamp: Whether events are sent whose ``timestamp`` is NULL (or whose key that
        ``mapping`` names is missing). FullStory would give them the time of the import, and so ruin their
        history. A source without any column or key for it is always allowed.
    :param record_key: Columns (or keys) that tell one record from another: messages about refused records
        name them with their values.
    :param batch_size: Most records of a batch, up to FullStory's 50,000.
    :param max_batch_bytes: Most bytes of a batch; FullStory documents no limit.
    :param max_parallel_uploads: Batches that are uploaded at the same time: 1 to 16. Meanwhile each lies on
        the worker's disk (``TMPDIR``), not in memory.
    :param max_outstanding_records: Records that may be sent and unfinished. Above 500,000 for the whole
        organization FullStory refuses more; several imports at once share that, best through a pool.
    :param durable: Whether a retry goes on with what earlier tries have sent. False makes each try begin
        anew, under the same idempotency keys.
    :param state_uri: Folder in any object storage where the ledger is kept, by DAG, task and run; by default
        ``[fullstory] state_uri`` of Airflow's configuration. It outlives clears, upgrades, and Airflow's
        database. (templated)
    :param stage_batches: Whether batches are written under ``state_uri``, compressed, before the first is
        sent. A retry then reads them and does not ask the source again, whose rows may have changed. They are
        removed once the task succeeds.
    :param on_ambiguous: What to do with a batch of unknown outcome: its answer was lost more than 24 hours
        ago, FullStory repeats a server error for it, its job has vanished or ended without counts. ``fail``,
        or ``resend`` just such batches, under new keys.
    :param on_source_change: What to do where the source no longer gives the batches that an earlier try has
        sent: ``fail``, or ``resend`` those that changed, though FullStory has the old ones.
    :param idempotency_salt: Names another import of the same run: a new one sends all records again, on
        purpose. (templated)
    :param max_rejected: How many records may be refused, here and by FullStory together, before the task
        fails: a number of records, or below 1 a share of all.
    :param min_records: How many records the source has to give. With fewer the task fails; up to
        ``batch_size``, before anything is sent.
    :param skip_if_empty: Whether the task is skipped if the source gives no records.
    :param rejected_uri: File of newline-delimited JSON, in any object storage, for the records that are
        refused, each with its reason; with a slash at its end, a folder in which each run of each task has
        its own file. Those that FullStory refuses take a key of level Architect or above. (templated)
    :param log_values: Whether the log shows refused records with their values; the first five of each kind
        are shown where no ``rejected_uri`` takes them.
    :param check_quota: Whether an import that does not fit into the organization's monthly quota of server
        events is refused. Nothing is sent then, if at most 500,000 events are left, or if batches are staged;
        with more left, the batches that fit are.
    :param wait_for_completion: Whether the task ends when FullStory has finished, not when it has accepted.
    :param deferrable: Whether the task waits in the triggerer, without a worker slot.
    :param poll_interval: Shortest time between two looks at the jobs, in seconds; it grows to a tenth of the
        time waited. While a batch waits for room, jobs that must be about to end are looked at sooner.
    :param timeout: Seconds until the task gives up; ``execution_timeout``, where it is shorter, counts for
        the time in the triggerer too. FullStory goes on with what it has: it cannot cancel an import.
    :param fullstory_conn_id: Connection with the API key. (templated)
    """

    template_fields: Sequence[str] = (
        "events",
        "sql",
        "sql_conn_id",
        "parameters",
        "event_name",
        "mapping",
        "timezone",
        "schema",
        "shared",
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
        "shared": "json",
    }
    ui_color = "#f3e8ff"
    _importer: Importer | None = None
    _state: ImportState | None = None
    _is_killed = False
    _names_interval = False
    _empty_interval = ""

    def __init__(
        self,
        *,
        events: Any = None,
        sql: str | None = None,
        sql_conn_id: str | None = None,
        parameters: Any = None,
        hook_params: Mapping[str, Any] | None = None,
        event_name: str | None = None,
        mapping: Mapping[str, str] | None = None,
        timezone: str = "UTC",
        schema: Mapping[str, str] | None = None,
        shared: Mapping[str, Any] | None = None,
        allow_anonymous: bool = False,
        allow_missing_timestamp: bool = False,
        record_key: str | Sequence[str] = (),
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
        check_quota: bool = True,
        wait_for_completion: bool = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float = 2.0,
        timeout: float = 24 * 60 * 60.0,
        fullstory_conn_id: str = "fullstory_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.events = events
        self.sql = sql
        self.sql_conn_id = sql_conn_id
        self.parameters = parameters
        self.hook_params = hook_params
        self.event_name = event_name
        self.mapping = mapping
        self.timezone = timezone
        self.schema = schema
        self.shared = shared
        self.allow_anonymous = allow_anonymous
        self.allow_missing_timestamp = allow_missing_timestamp
        self.record_key = record_key
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
        self.check_quota = check_quota
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.fullstory_conn_id = fullstory_conn_id

    @property
    def events(self) -> Any:
        """The events, or where they are."""
        return self._events

    @events.setter
    def events(self, value: Any) -> None:
        # Airflow assigns a template field again once it is rendered, and shows it to all who see the task.
        is_rendered = hasattr(self, "_events")
        self._events = HiddenRecords(value) if is_records(value, is_rendered=is_rendered) else value
        if is_rendered and isinstance(value, HiddenRecords):
            value.was_passed_over = True

    def render_template(self, content: Any, context: Context, *arguments: Any, **keywords: Any) -> Any:
        """Render a template, and note whether it names the data interval."""
        self._names_interval = self._names_interval or names_interval(content)
        with without_retry(), explain_missing_interval():
            return super().render_template(content, context, *arguments, **keywords)

    def execute(self, context: Context) -> dict[str, Any]:
        """Send all records that no earlier try has sent, and wait for FullStory as far as that is wanted."""
        from airflow_provider_fullstory.hooks.fullstory import FullStoryHook

        with without_retry():
            try:
                self._check_arguments()
            except FullStoryInputError:
                # As far as the arguments let it be noted, the next try knows that nothing was sent.
                with suppress(Exception):
                    self._import_state(context).note_try(context)
                raise
            self._state = state = self._import_state(context)
            state.note_try(context)
            self._check_source(is_mapped=self._run(context).map_index >= 0)
            report = state.begin(context, self._fingerprint())
        if self._names_interval:
            self._empty_interval = warn_of_empty_interval(self, context)
        deadline = deadline_of(self, time.time(), self.timeout)
        with (
            without_retry(),
            FullStoryHook(
                self.fullstory_conn_id,
                retry_for=min(_RETRY_FOR, self.timeout),
                # Other imports of the organization may use up its limits for hours.
                rate_limited_for=self.timeout,
                deadline=deadline,
            ) as hook,
        ):
            self._importer = importer = self._new_importer(state.ledger, hook, deadline)
            if self._is_killed:
                importer.stop()
            # Read before the source is opened, so that a wrong connection costs no query.
            whom = self._check_account(hook, state.ledger)
            self._log_start(whom, state, is_judged_again=report is not None)
            if report is None:
                report = self._submit(context, hook, state)
            else:
                self._judge_again(report)
            waited_since = time.time()
            if report.imported is not None or not (self.wait_for_completion or not report.job_ids):
                return self._end(context, state, report)
            publish(report, self, context)
            with with_report(report), _explained():
                # Small imports are often finished by now, and then need no deferral.
                outcomes = importer.look(report.job_ids) if self.deferrable else importer.wait(report.job_ids)
            if outcomes is None:
                count_retries(self, hook.retries)
                wait_in_triggerer(
                    self,
                    report,
                    fullstory_conn_id=self.fullstory_conn_id,
                    poll_interval=self.poll_interval,
                    deadline=deadline,
                )
            self._complete(context, hook, report, outcomes, time.time() - waited_since)
            return self._end(context, state, report)

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        """
        Judge the import after the wait in the triggerer.

        :param context: The task's context.
        :param event: What the trigger found.
        """
        from airflow_provider_fullstory.batch_import.reporting.report import ImportReport
        from airflow_provider_fullstory.hooks.fullstory import FullStoryHook
        from airflow_provider_fullstory.triggers.fullstory import outcomes_of

        with without_retry():
            self._check_arguments()
        with without_retry(), FullStoryHook(self.fullstory_conn_id) as hook:
            report = ImportReport.from_xcom(event["report"])
            self._state = state = self._import_state(context)
            with with_report(report), _explained():
                outcomes = outcomes_of(event)
            self._complete(context, hook, report, outcomes, event.get("waited", 0.0))
            return self._end(context, state, report)

    def preview(self, limit: int | None = 1000) -> Preview:
        """
        Run the source and the mapping, and return what an import would be; nothing is sent.

        FullStory is not asked for anything, and needs no connection. Arguments are taken as they are:
        templates, and names of ``.sql`` files, are rendered by Airflow only (``render_template_fields``).
        The result holds values of records.

        :param limit: How many records to read at most, None for all. The number of batches is known only if
            that is all of them.
        """
        from airflow_provider_fullstory.batch_import.reporting.preview import preview

        self._check_arguments()
        self._check_source()
        source = self._source()
        with source.open() as opened:
            return preview(
                opened.description,
                opened.targets,
                opened.chunks,
                limits=self._limits(),
                shared=source.options.shared,
                mapping=source.options.mapping,
                limit=limit,
            )

    def dry_run(self) -> None:
        """Show in the log what an import would be (``airflow tasks test --dry-run`` in Airflow 2)."""
        for line in self.preview(limit=None).lines():
            self.log.info("%s", line)

    def on_kill(self) -> None:
        """End the task as soon as possible; FullStory goes on with what it has, and so does the next try."""
        self._is_killed = True
        if self._importer is not None:
            self._importer.stop()
            self.log.warning("The task was told to end. %s", self._importer.left_behind)
        if self._state is not None:
            self._state.outages.close()

    def _check_arguments(self) -> None:
        """Put each argument into its declared type, or refuse it: a template can give anything."""
        from airflow_provider_fullstory.task.arguments import ImportEventsArguments, checked

        arguments = checked(ImportEventsArguments, vars(self))
        # In place, as Airflow renders templates: from here on each is what the constructor declares.
        for name in arguments.__struct_fields__:
            setattr(self, name, getattr(arguments, name))

    def _check_source(self, *, is_mapped: bool = False) -> None:
        """Refuse a source, or a mapping, that cannot work, before anything is read or sent."""
        self._source().check(is_mapped=is_mapped)
        self._limits()

    def _import_state(self, context: Context) -> ImportState:
        from airflow_provider_fullstory.task.state import import_state

        return import_state(
            context,
            self._run(context),
            durable=self.durable,
            state_uri=None if self.state_uri is None else str(self.state_uri),
            stage_batches=self.stage_batches,
            on_ambiguous=self.on_ambiguous,
            on_source_change=self.on_source_change,
        )

    def _run(self, context: Context) -> RunIdentity:
        return run_identity(context, self.task_id, self.idempotency_salt)

    def _check_account(self, hook: FullStoryHook, ledger: Ledger) -> str:
        """Return whose API key the connection holds; one of another organization than before is refused."""
        try:
            # What earlier tries sent must not be taken for what this organization has.
            account = (
                hook.get_account()
                if ledger.organization is not None
                else _read_twice(hook.without_retries().get_account)
            )
        except FullStoryAuthenticationError as error:
            error.add("Nothing was sent in this try.")
            raise
        except FullStoryError as error:
            if ledger.organization is not None:
                error.add("Nothing was sent in this try.")
                raise
            self.log.warning("FullStory does not say whose API key this is. %s", error)
            return f"{hook.settings.base_url}, an organization that is not known"
        ledger.check_organization(account.org_id)
        if self.rejected_uri is not None and not account.reads_results:
            self.log.warning(
                "rejected_uri will lack what FullStory refuses: a key of level %s cannot read that.",
                account.level,
            )
            self.log.warning("Use a key of level Architect or Admin to have all refused records there.")
        return f"{hook.settings.base_url}, organization {account.org_id} (API key of level {account.level})"

    def _new_importer(self, ledger: Ledger, hook: FullStoryHook, deadline: float) -> Importer:
        from airflow_provider_fullstory.api.jobs import Resource
        from airflow_provider_fullstory.batch_import.sending.importer import Importer

        return Importer(
            ledger,
            hook,
            hook.without_retries(),
            Resource.EVENTS,
            max_parallel_uploads=self.max_parallel_uploads,
            max_outstanding_records=self.max_outstanding_records,
            poll_interval=self.poll_interval,
            deadline=deadline,
        )

    def _fingerprint(self) -> str | None:
        """Return what identifies the source and its mapping, None where the records are at hand."""
        from airflow_provider_fullstory.task.arguments import fingerprint

        if isinstance(self.events, HiddenRecords):
            return None
        names = ("sql", "sql_conn_id", "parameters", "event_name", "mapping", "timezone", "schema", "shared")
        limits = (
            "hook_params",
            "allow_anonymous",
            "allow_missing_timestamp",
            "batch_size",
            "max_batch_bytes",
        )
        arguments = {name: getattr(self, name) for name in (*names, *limits)}
        return fingerprint(arguments | {"events": None if self.events is None else str(self.events)})

    def _submit(
        self,
        context: Context,
        hook: FullStoryHook,
        state: ImportState,
    ) -> ImportReport:
        """Send what no earlier try has sent, and return the report so far."""
        from airflow_provider_fullstory.text import plural

        refused = self._refused_file(context)
        with nullcontext() if refused is None else refused.claimed():
            report, submissions = self._send(context, hook, state, refused)
        self._log_submissions(report)
        known = state.ledger.sent(report, submissions[-1].ordinal if submissions else 0)
        # An earlier try may have ended the import; but the file of refused records was just begun anew.
        report = known if refused is None else report
        if report.imported is not None and report.job_ids:
            log_table(report, self)
        elif report.job_ids and self.wait_for_completion and not self.deferrable:
            self.log.info("Waiting for %s.", plural(len(report.job_ids), "job"))
        return report

    def _judge_again(self, report: ImportReport) -> None:
        """Prepare the report of an import that was sent as a whole, and has not passed its gates."""
        from airflow_provider_fullstory.text import plural

        self.log.info(
            "Earlier tries have sent all %s with %s: nothing is sent again, their jobs count.",
            plural(report.batches, "batch"),
            plural((report.records or 0) - report.invalid, "record"),
        )
        if self.rejected_uri is not None and report.rejected and not report.rejected_uri:
            # The file was asked for since: the jobs tell once more which records they refused.
            report.imported = report.rejected = None

    def _send(
        self,
        context: Context,
        hook: FullStoryHook,
        state: ImportState,
        refused: RefusedFile | None,
    ) -> tuple[ImportReport, list[Submission]]:
        from airflow_provider_fullstory.batch_import.sending.sender import Sender

        assert self._importer is not None  # noqa: S101 - Tells the type checker.
        source = self._source()
        sending = Sender(
            self._run(context),
            self._limits(),
            source.options,
            self._importer,
            self._refusal_log(),
            refused=refused,
            remaining_quota=lambda: self._remaining_quota(context, hook, state.ledger),
        )
        area = state.staging_area(self._fingerprint())
        manifest = None if area is None else area.manifest()
        if area is not None and manifest is not None:
            self.log.info("The source is not read: an earlier try staged its batches in %s.", state.folder)
            return sending.staged(area, manifest)
        with source.open() as opened:
            for line in _mapping_lines(opened):
                self.log.info("%s", line)
            chunks = self._enough(opened.chunks)
            if area is None:
                return sending.streamed(chunks)
            manifest = sending.stage(area, chunks)
        return sending.staged(area, manifest)

    def _enough(self, chunks: Iterable[MappedChunk]) -> Iterator[MappedChunk]:
        """Yield the events; a source with too few records is refused before its last batch is made."""
        from airflow_provider_fullstory.batch_import.reporting.report import ImportReport

        records = 0
        for chunk in chunks:
            if chunk.events and not records and chunk.timestamps.earliest is None:
                self.log.warning(
                    "The first %d events have no timestamp: FullStory gives each the time of its import.",
                    len(chunk.events),
                )
            records += len(chunk.events) + len(chunk.invalid)
            yield chunk
        if records or not self.skip_if_empty:
            with self._final_where_data_is_at_hand():
                ImportReport(records=records).check_size(self.min_records)

    @contextmanager
    def _final_where_data_is_at_hand(self) -> Iterator[None]:
        try:
            yield
        except FullStoryTooFewRecordsError as error:
            if isinstance(self.events, HiddenRecords):
                raise FullStoryInputError(str(error)) from None
            raise

    def _remaining_quota(
        self, context: Context, hook: FullStoryHook, ledger: Ledger
    ) -> RemainingQuota | None:
        """Return what is left of the quota, None where it is not to be asked for, or does not tell."""
        from airflow_provider_fullstory.batch_import.sending.quota import RemainingQuota

        # What an earlier try sent is part of the usage by now, and only a ledger tells what that is.
        if not self.check_quota or (not ledger.is_lasting and context["ti"].try_number > 1):
            return None
        try:
            quota = _read_twice(hook.without_retries().get_quotas).server_event_quota
        except FullStoryAuthenticationError:
            raise
        except FullStoryError as error:
            self.log.warning("The import is not checked against the quota of server events. %s", error)
            return None
        if quota is None:
            self.log.warning(
                "FullStory states no quota of server events: the import is not checked against it."
            )
            return None
        remaining_quota = RemainingQuota(quota, ledger.has)
        self.log.info("Quota: %s.", remaining_quota)
        return remaining_quota

    def _log_start(self, whom: str, state: ImportState, *, is_judged_again: bool) -> None:
        """Say what is imported from where and to whom, how it is protected, and within which limits."""
        from airflow_provider_fullstory.text import plural

        if not is_judged_again:
            self.log.info("Importing events from %s", self._source().description)
        self.log.info("into %s.", whom)
        for line in f"State: {state.description}.".split("\n"):
            self.log.info("%s", line)
        if not is_judged_again:
            self.log.info(
                "Limits: %s or %.1f MB a batch, %s at once, %s unfinished.",
                plural(self.batch_size, "record"),
                self.max_batch_bytes / 1e6,
                plural(self.max_parallel_uploads, "upload"),
                plural(self.max_outstanding_records, "record"),
            )

    def _log_submissions(self, report: ImportReport) -> None:
        from airflow_provider_fullstory.text import plural

        if not report.records:
            nothing = f"{self._empty_interval} The source gave no records: nothing was sent to FullStory."
            self.log.warning("%s", nothing.lstrip())
            return
        assert self._importer is not None  # noqa: S101 - Tells the type checker.
        if report.job_ids:
            for line in self._importer.summary():
                self.log.info("%s", line)
        else:
            self.log.warning("Nothing was sent: all records were refused here.")
        if report.invalid:
            self.log.info("Refused here and not sent: %s.", plural(report.invalid, "record"))

    def _complete(
        self,
        context: Context,
        hook: FullStoryHook,
        report: ImportReport,
        outcomes: Sequence[JobOutcome],
        waited: float,
    ) -> None:
        with with_report(report):
            complete(hook, [report], outcomes, self._refused_file(context, report), self._refusal_log())
        tell(report, self, retries=hook.retries, waited=waited)

    def _end(self, context: Context, state: ImportState, report: ImportReport) -> dict[str, Any]:
        """Judge an import, and close its account."""
        if report.imported is not None:
            refused = self._refused_file(context, report)
            if refused is not None:
                clean_up(self, refused.release)
        try:
            result = judge(report, self, context, max_rejected=self.max_rejected)
        except FullStoryRecordsRefusedError as error:
            state.ledger.ended(report, is_success=False)
            if state.folder is not None:
                error.add(f"What was sent is kept in {state.folder}.")
            raise
        state.ledger.ended(report, is_success=True)
        clean_up(self, state.clean_up)
        if self.skip_if_empty and not report.records:
            publish(report, self, context)
            raise AirflowSkipException("The source gave no records.")
        return result

    def _source(self) -> EventSource:
        from airflow_provider_fullstory.task.source import EventSource, mapping_options

        options = mapping_options(
            event_name=self.event_name,
            mapping=self.mapping,
            timezone=self.timezone,
            schema=self.schema,
            shared=self.shared,
            allow_anonymous=self.allow_anonymous,
            allow_missing_timestamp=self.allow_missing_timestamp,
            record_key=self.record_key,
        )
        return EventSource(
            self.events, self.sql, self.sql_conn_id, self.parameters, self.hook_params, options
        )

    def _limits(self) -> BatchLimits:
        from airflow_provider_fullstory.batch_import.batching.batch import BatchLimits

        limits = BatchLimits(self.batch_size, self.max_batch_bytes)
        limits.check()
        return limits

    def _refused_file(self, context: Context, report: ImportReport | None = None) -> RefusedFile | None:
        """Return the file of refused records: where an earlier try has begun it, or where it is to be."""
        from airflow_provider_fullstory.task.storage import refused_file

        uri = report.rejected_uri if report and report.rejected_uri else self.rejected_uri
        if uri is None:
            return None
        outages = None if self._state is None else self._state.outages
        return refused_file(str(uri), self._run(context), outages=outages)

    def _refusal_log(self) -> RefusalLog:
        from airflow_provider_fullstory.batch_import.reporting.refusal_log import RefusalLog
        from airflow_provider_fullstory.records.mapping import MappingOptions

        names = [self.record_key] if isinstance(self.record_key, str) else self.record_key
        keys = MappingOptions(mapping=self.mapping or {}, record_key=names).key_paths()
        return RefusalLog(keys, shows_records=self.rejected_uri is None, shows_values=self.log_values)


def _read_twice(read: Callable[[], T]) -> T:
    """Return what a call gives that must not hold up an import, and may fail in a passing way."""
    try:
        return read()
    except FullStoryError as error:
        if not error.is_transient:
            raise
    return read()


def _mapping_lines(source: OpenSource) -> list[str]:
    """Return where columns go, one a line."""
    from airflow_provider_fullstory.text import plural

    if not source.targets:
        return ["Mapping: each key goes to the field of its name, or where mapping says."]
    lines = [f"  {column} -> {field}" for column, field in source.targets.items()]
    rest = len(lines) - _MOST_COLUMNS
    more = [f"  and {plural(rest, 'more column')}"] if rest > 0 else []
    return [f"Mapping of {plural(len(lines), 'column')}:", *lines[:_MOST_COLUMNS], *more]


@contextmanager
def _explained() -> Iterator[None]:
    """Say what can be done about a job that FullStory does not know."""
    try:
        yield
    except FullStoryNotFoundError as error:
        raise FullStoryAmbiguousError(
            f"{error}\nSo nobody can know whether FullStory has its records.\nTo send just the batches of "
            'unknown jobs again, set on_ambiguous="resend" and clear the task.',
            status_code=error.status_code,
            code=error.code,
        ) from None
