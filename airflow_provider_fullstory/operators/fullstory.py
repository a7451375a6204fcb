"""Operator that imports events into FullStory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_fullstory.operators.imports import FullStoryImportOperator
from airflow_provider_fullstory.task.hidden_records import RecordsField

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provider_fullstory.task.arguments import ImportEventsArguments
    from airflow_provider_fullstory.task.source import EventSource


class FullStoryImportEventsOperator(FullStoryImportOperator):
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
        "event_name",
        "shared",
        *FullStoryImportOperator.template_fields,
    )
    template_fields_renderers = {  # noqa: RUF012 - The form that Airflow's operators give it.
        **FullStoryImportOperator.template_fields_renderers,
        "shared": "json",
    }
    events = RecordsField()

    def __init__(
        self,
        *,
        events: Any = None,
        event_name: str | None = None,
        shared: Mapping[str, Any] | None = None,
        allow_anonymous: bool = False,
        allow_missing_timestamp: bool = False,
        check_quota: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.events = events
        self.event_name = event_name
        self.shared = shared
        self.allow_anonymous = allow_anonymous
        self.allow_missing_timestamp = allow_missing_timestamp
        self.check_quota = check_quota

    def _checked_arguments(self) -> ImportEventsArguments:
        """Return the arguments in their declared types."""
        from airflow_provider_fullstory.task.arguments import ImportEventsArguments, checked

        return checked(ImportEventsArguments, vars(self))

    def _source(self, arguments: ImportEventsArguments) -> EventSource:
        """
        Return the source of the events.

        :param arguments: The checked arguments.
        """
        from airflow_provider_fullstory.task.source import EventSource, mapping_options

        options = mapping_options(
            event_name=arguments.event_name,
            mapping=arguments.mapping,
            timezone=arguments.timezone,
            schema=arguments.schema,
            shared=arguments.shared,
            allow_anonymous=arguments.allow_anonymous,
            allow_missing_timestamp=arguments.allow_missing_timestamp,
            record_key=arguments.record_key,
        )
        return EventSource(
            arguments.events,
            arguments.sql,
            arguments.sql_conn_id,
            arguments.parameters,
            arguments.hook_params,
            options,
        )
