"""Operator that imports events into FullStory."""

from __future__ import annotations

import dataclasses
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.common.compat.sdk import BaseOperator, conf

from airflow_provider_fullstory.exceptions import (
    FullStoryInputError,
    FullStoryLedgerError,
    FullStoryNotFoundError,
    FullStoryRecordsRefusedError,
)
from airflow_provider_fullstory.operators.hidden_records import HiddenRecords, is_records
from airflow_provider_fullstory.outcome import (
    complete,
    deadline_of,
    judge,
    wait_in_triggerer,
    without_retry,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    from airflow_provider_fullstory.batch_import.batches import RunIdentity
    from airflow_provider_fullstory.batch_import.importer import Importer, Submission
    from airflow_provider_fullstory.batch_import.ledger import Ledger
    from airflow_provider_fullstory.batch_import.report import ImportReport
    from airflow_provider_fullstory.durability import Durability
    from airflow_provider_fullstory.hooks.fullstory import FullStoryHook
    from airflow_provider_fullstory.records.mapping import MappedChunk, MappingOptions
    from airflow_provider_fullstory.records.refusals import InvalidRecord

#: Seconds for which a request that fails in a passing way is repeated.
_RETRY_FOR = 300.0
_ARGUMENT_TYPES: dict[str, tuple[type, ...]] = {
    "batch_size": (int,),
    "max_batch_bytes": (int,),
    "max_parallel_uploads": (int,),
    "max_outstanding_records": (int,),
    "poll_interval": (int, float),
    "timeout": (int, float),
    "timezone": (str,),
    "idempotency_salt": (str,),
    "staging_uri": (str, os.PathLike, type(None)),
}
#: Refused records that the log explains; the others are only counted.
_EXPLAINED_REFUSALS = 5


class FullStoryImportEventsOperator(BaseOperator):
    """
    Import events into FullStory, from XCom, a file, or the result of a query.

    Records are read, mapped, checked and sent in batches piece by piece, so any number of them needs the same
    small memory. The task succeeds only if every record is in FullStory; one that is refused, here or there,
    fails it without a retry after all others were sent.

    A retry doubles nothing and loses nothing. Each batch goes out under an idempotency key that follows from
    the run and the batch's bytes, and is entered in a ledger before and after: a retry waits for the jobs
    that FullStory has accepted and sends only the rest. The ledger is in Airflow's task state store (3.3 and
    newer), or else under ``staging_uri``; with neither, the keys protect for 24 hours. Clearing a task whose
    import has ended imports anew.

    Give exactly one of ``events`` and ``sql``. The name of a column (or key) says where its value goes:
    ``name``, ``timestamp``, ``user.uid``, ``user.id``, ``session.id``, ``context.browser.url`` and the other
    fields of FullStory's events; ``properties.x``, and every name that is no field, becomes a property.

    Returns a report, as XCom: ``{"resource": "events", "job_ids": [...], "records": n, "imported": n,
    "invalid": n, "rejected": n, "batches": n, "codes": {"required_field": 3}}``. ``invalid`` counts records
    refused here, ``rejected`` those that FullStory refused; both are None instead of a number while FullStory
    works (``wait_for_completion=False``).

    .. seealso:: developer.fullstory.com/server/events/create-batch-events-import-job

    :param events: A list or other iterable of dicts, the output of a task (mapped ones too), or the URI of
        newline-delimited JSON (plain or ``.gz``) in any object storage. (templated, not inside dicts)
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
    :param batch_size: Most records of a batch, up to FullStory's 50,000.
    :param max_batch_bytes: Most bytes of a batch; FullStory documents no limit, this one bounds memory.
    :param max_parallel_uploads: Batches that are uploaded, and held in memory, at the same time: 1 to 16.
    :param max_outstanding_records: Records that may be sent and unfinished. Above 500,000 for the whole
        organization FullStory refuses more.
    :param durable: Whether a retry goes on with what earlier tries have sent. False makes each try begin
        anew, under the same idempotency keys.
    :param staging_uri: Folder in any object storage where batches are written, compressed, before the first
        is sent. A retry then reads them and does not ask the source again, whose rows may have changed. They
        are removed once the task succeeds. (templated)
    :param on_ambiguous: What to do where nobody can know whether FullStory has a batch, since its answer was
        lost more than 24 hours ago or its job has vanished: ``fail``, or ``resend`` it.
    :param on_source_change: What to do where the source no longer gives the batches that an earlier try has
        sent: ``fail``, or ``resend`` those that changed, though FullStory has the old ones.
    :param idempotency_salt: Part of the idempotency keys. Change it to send equal data of the same run again
        on purpose, after clearing the task, or to get past an answer that FullStory keeps repeating for a
        key. (templated)
    :param wait_for_completion: Whether the task ends when FullStory has finished, not when it has accepted.
    :param deferrable: Whether the task waits in the triggerer, without a worker slot.
    :param poll_interval: Shortest time between two looks at the jobs, in seconds; it grows to a tenth of the
        time waited.
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
        "staging_uri",
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
    _is_killed = False

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
        batch_size: int = 50_000,
        max_batch_bytes: int = 32 * 2**20,
        max_parallel_uploads: int = 4,
        max_outstanding_records: int = 500_000,
        durable: bool = True,
        staging_uri: str | None = None,
        on_ambiguous: Literal["fail", "resend"] = "fail",
        on_source_change: Literal["fail", "resend"] = "fail",
        idempotency_salt: str = "",
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
        self.batch_size = batch_size
        self.max_batch_bytes = max_batch_bytes
        self.max_parallel_uploads = max_parallel_uploads
        self.max_outstanding_records = max_outstanding_records
        self.durable = durable
        self.staging_uri = staging_uri
        self.on_ambiguous = on_ambiguous
        self.on_source_change = on_source_change
        self.idempotency_salt = idempotency_salt
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

    def execute(self, context: Context) -> dict[str, Any]:
        """Send all records that no earlier try has sent, and wait for FullStory as far as that is wanted."""
        from airflow_provider_fullstory.hooks.fullstory import FullStoryHook

        with without_retry():
            self._check_arguments()
        deadline = deadline_of(self, time.time(), self.timeout)
        with (
            without_retry(),
            FullStoryHook(
                self.fullstory_conn_id,
                retry_for=min(_RETRY_FOR, self.timeout),
                # Other imports of the organization may use up its limits for hours.
                rate_limited_for=self.timeout,
            ) as hook,
        ):
            # Read before the source is opened, so that a wrong connection costs no query.
            host = hook.settings.base_url
            durability = self._durability(context)
            self._importer = importer = self._new_importer(durability.ledger, hook, deadline)
            if self._is_killed:
                importer.stop()
            self.log.info("Importing events into %s, with %s.", host, durability.description)
            report = self._submit(context, importer, durability)
            if report.imported is None and not report.job_ids:
                complete(hook, report, [])
            elif report.imported is None and self.wait_for_completion:
                with _explained():
                    # Small imports are often finished by now, and then need no deferral.
                    outcomes = (
                        importer.look(report.job_ids) if self.deferrable else importer.wait(report.job_ids)
                    )
                if outcomes is None:
                    wait_in_triggerer(
                        self,
                        report,
                        fullstory_conn_id=self.fullstory_conn_id,
                        poll_interval=self.poll_interval,
                        deadline=deadline,
                    )
                complete(hook, report, outcomes)
            return self._end(context, durability, report)

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        """
        Judge the import after the wait in the triggerer.

        :param context: The task's context.
        :param event: What the trigger found.
        """
        from airflow_provider_fullstory.batch_import.report import ImportReport
        from airflow_provider_fullstory.hooks.fullstory import FullStoryHook
        from airflow_provider_fullstory.triggers.fullstory import outcomes_of

        with without_retry(), FullStoryHook(self.fullstory_conn_id) as hook:
            with _explained():
                outcomes = outcomes_of(event)
            report = ImportReport.from_xcom(event["report"])
            complete(hook, report, outcomes)
            return self._end(context, self._durability(context), report)

    def on_kill(self) -> None:
        """End the task as soon as possible; FullStory goes on with what it has, and so does the next try."""
        self._is_killed = True
        if self._importer is not None:
            self._importer.stop()
            self.log.warning("The task was told to end. %s", self._importer.left_behind)

    def _check_arguments(self) -> None:
        """Refuse what only shows now, since templates and upstream tasks can give anything."""
        for name, kinds in _ARGUMENT_TYPES.items():
            value = getattr(self, name)
            if not isinstance(value, kinds) or isinstance(value, bool):
                raise FullStoryInputError(
                    f"{name} is {value!r}; it must be {' or '.join(kind.__name__ for kind in kinds)}."
                )

    def _durability(self, context: Context) -> Durability:
        from airflow_provider_fullstory.durability import durability

        return durability(
            context,
            self._run_identity(context),
            durable=self.durable,
            staging_uri=None if self.staging_uri is None else str(self.staging_uri),
            on_ambiguous=self.on_ambiguous,
            on_source_change=self.on_source_change,
        )

    def _new_importer(self, ledger: Ledger, hook: FullStoryHook, deadline: float) -> Importer:
        from airflow_provider_fullstory.api.models import Resource
        from airflow_provider_fullstory.batch_import.importer import Importer

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
        from airflow_provider_fullstory.durability import fingerprint

        if isinstance(self.events, HiddenRecords):
            return None
        names = ("sql", "sql_conn_id", "parameters", "event_name", "mapping", "timezone", "schema", "shared")
        limits = ("hook_params", "allow_anonymous", "batch_size", "max_batch_bytes")
        arguments = {name: getattr(self, name) for name in (*names, *limits)}
        return fingerprint(arguments | {"events": None if self.events is None else str(self.events)})

    def _submit(self, context: Context, importer: Importer, durability: Durability) -> ImportReport:
        """Send what no earlier try has sent, and return the report so far."""
        arguments = self._fingerprint()
        report = durability.ledger.begin(arguments, context["ti"].max_tries)
        if report is not None:
            self.log.info(
                "An earlier try has sent all %d batches: nothing is sent, their jobs count.", report.batches
            )
            return report
        report, submissions = self._send(context, importer, durability, arguments)
        report.add_submissions(submissions)
        self._log_submissions(report)
        return durability.ledger.submitted(report, submissions[-1].ordinal if submissions else 0)

    def _send(
        self, context: Context, importer: Importer, durability: Durability, arguments: str | None
    ) -> tuple[ImportReport, list[Submission]]:
        from airflow_provider_fullstory.batch_import.batches import Batcher, BatchLimits
        from airflow_provider_fullstory.batch_import.report import ImportReport

        limits = BatchLimits(self.batch_size, self.max_batch_bytes)
        limits.check()
        options = self._mapping_options()
        report = ImportReport()

        def refuse(invalid: Sequence[InvalidRecord]) -> None:
            for record in invalid[: max(0, _EXPLAINED_REFUSALS - report.invalid)]:
                self.log.warning("Not sent: %s", record)
            report.add_invalid(invalid)

        run = self._run_identity(context)
        batcher = Batcher(run, limits, options.shared, refuse)
        area = durability.staging_area(arguments)
        if area is None:
            with self._source(options) as chunks:
                return report, importer.submit(batcher.batches(chunks))
        manifest = area.manifest()
        if manifest is None:
            with self._source(options) as chunks:
                manifest = area.fill(importer.watched(batcher.batches(chunks)), lambda: report)
        else:
            self.log.info("An earlier try has staged all batches: the source is not read again.")
        return ImportReport.from_xcom(manifest.report), importer.submit(area.batches(manifest, run))

    def _log_submissions(self, report: ImportReport) -> None:
        if not report.records:
            self.log.warning("The source gave no records: nothing was sent to FullStory.")
            return
        self.log.info(
            "FullStory accepted %d records in %d batches; %d records were refused here.",
            report.records - report.invalid,
            report.batches,
            report.invalid,
        )

    def _end(self, context: Context, durability: Durability, report: ImportReport) -> dict[str, Any]:
        """Close the account of an import, then judge it."""
        from airflow_provider_fullstory.batch_import.staging import remove_staged

        durability.ledger.finished(report)
        try:
            result = judge(report, context)
        except FullStoryRecordsRefusedError as error:
            if durability.folder is not None:
                error.add(f"What was sent is kept in {durability.folder}.")
            raise
        if durability.folder is not None:
            try:
                remove_staged(durability.folder)
            except FullStoryLedgerError as error:
                # Failing now would have somebody send everything again.
                self.log.warning("All is delivered; remove what was staged by hand. %s", error)
        return result

    @contextmanager
    def _source(self, options: MappingOptions) -> Iterator[Iterator[MappedChunk]]:
        """Open whatever the records come from."""
        from airflow_provider_fullstory.records.events import events_of_records, events_of_rows
        from airflow_provider_fullstory.records.sources import query, records_of

        events = self.events.records if isinstance(self.events, HiddenRecords) else self.events
        if (events is None) == (self.sql is None):
            raise FullStoryInputError(
                f"Give exactly one of events and sql, not {'neither' if events is None else 'both'}. "
                "An upstream task that returned nothing counts as no events."
            )
        if self.sql is None:
            yield events_of_records(records_of(events), options)
            return
        with query(self._database(), self.sql, self.parameters) as result:
            yield events_of_rows(result.columns, result.chunks, options)

    def _database(self) -> DbApiHook:
        from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook
        from airflow.providers.common.sql.hooks.sql import DbApiHook

        if not self.sql_conn_id:
            raise FullStoryInputError("sql is given without sql_conn_id: say which database it is for.")
        try:
            connection: Any = BaseHook.get_connection(self.sql_conn_id)
        except AirflowNotFoundException:
            raise FullStoryInputError(
                f"Airflow has no connection {self.sql_conn_id!r}, which sql_conn_id names."
            ) from None
        hook = connection.get_hook(hook_params=dict(self.hook_params or {}))
        if not isinstance(hook, DbApiHook):
            raise FullStoryInputError(
                f"Connection {self.sql_conn_id!r} is no database that takes SQL: its hook is "
                f"{type(hook).__name__}."
            )
        return hook

    def _mapping_options(self) -> MappingOptions:
        import pendulum

        from airflow_provider_fullstory.records.events import shared_part
        from airflow_provider_fullstory.records.mapping import MappingOptions
        from airflow_provider_fullstory.records.schema import check_types

        try:
            zone = pendulum.timezone(self.timezone)
        except (ValueError, KeyError):
            raise FullStoryInputError(
                f"timezone is {self.timezone!r}; it must be a name such as 'UTC' or 'Europe/Berlin'."
            ) from None
        check_types(self.schema or {})
        own = MappingOptions(
            event_name=self.event_name,
            mapping=self.mapping or {},
            zone=zone,
            schema=self.schema or {},
            allow_anonymous=self.allow_anonymous,
        )
        return dataclasses.replace(own, shared=shared_part(self.shared, own))

    def _run_identity(self, context: Context) -> RunIdentity:
        from airflow_provider_fullstory.batch_import.batches import RunIdentity

        instance = context["ti"]
        return RunIdentity(
            dag_id=instance.dag_id,
            run_id=instance.run_id,
            task_id=instance.task_id,
            map_index=-1 if instance.map_index is None else instance.map_index,
            salt=self.idempotency_salt,
        )


@contextmanager
def _explained() -> Iterator[None]:
    """Say what can be done about a job that FullStory does not know."""
    try:
        yield
    except FullStoryNotFoundError as error:
        error.add(
            'A retry looks again. To send the batches of unknown jobs again, set on_ambiguous="resend".'
        )
        raise
