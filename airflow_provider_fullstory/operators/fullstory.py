"""Operator that imports events into FullStory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_fullstory.operators.annotations import FullStoryAnnotationOperator
from airflow_provider_fullstory.operators.imports import FullStoryImportOperator
from airflow_provider_fullstory.task.hidden_records import RecordsField

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provider_fullstory.task.arguments import ImportEventsArguments
    from airflow_provider_fullstory.task.source import RecordSource

__all__ = ["FullStoryAnnotationOperator", "FullStoryImportEventsOperator"]


class FullStoryImportEventsOperator(FullStoryImportOperator):
    """
    Import events into FullStory, from XCom, files, or the result of a query.

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

    Give exactly one of ``events`` and ``sql``. The name of a column (or key) says where its value goes:
    ``name``, ``timestamp``, ``user.uid``, ``user.id``, ``session.id``, ``context.browser.url`` and the other
    fields of FullStory's events. ``properties.x``, and each other name, becomes a property.

    With a :class:`~airflow_provider_fullstory.watermark.Watermark` among the ``parameters``, with
    ``insert_id``, or with both, the task is a sync: it remembers under ``state_uri`` what it imported, from
    one run to the next. One run of a sync works at a time; another waits for it. A clear, a retry or a later
    run then sends what is new or missing, and nothing else.

    The task returns a report as XCom: ``{"resource": "events", "job_ids": [...], "records": n, "imported": n,
    "invalid": n, "rejected": n, "skipped": n, "rejected_uri": ..., "batches": n, "codes":
    {"required_field": 3}, "reasons": {"required_field: name is missing": 3}, "earliest":
    "2026-01-02T10:00:00+00:00", "latest": ..., "without_timestamp": n}``. ``reasons`` holds the five most
    frequent reasons, and the rest as one. ``imported`` and ``rejected`` are None until FullStory has
    finished; from then on ``records == imported + invalid + rejected + skipped``. The report is pushed as
    soon as all records are sent.

    .. seealso:: developer.fullstory.com/server/events/create-batch-events-import-job

    :param events: A list or other iterable of dicts, the output of a task (mapped tasks too), or the location
        of files of newline-delimited JSON (plain or gzip) in any object storage: the URI of a file, such as
        an earlier ``rejected_uri``, a pattern, a folder (with a slash at its end), or a list of these. Files
        are read in the order of their names. (templated, but not inside dicts)
    :param sql: One SELECT, or the name of a ``.sql`` file. Add ORDER BY, so that a retry makes the same
        batches. (templated)
    :param sql_conn_id: The connection of the database. (templated)
    :param parameters: The parameters of the query, in the form of the database's driver. A ``Watermark``
        stands for the value that the sync has come to. (templated)
    :param hook_params: Arguments for the database's hook.
    :param event_name: The name of all events, if no column holds it. (templated)
    :param mapping: Field of the API -> column, for columns that cannot be renamed in the query. (templated)
    :param timezone: The time zone of timestamps without an offset. (templated)
    :param schema: Property -> type, if its values do not show it: ``{"amount": "real", "opened_at":
        "date"}``. Types are str, int, real, bool, date, and their plurals for arrays. (templated)
    :param shared: The fields that all events have in common, as the API has them: any of user, session,
        context and page_properties. (templated)
    :param allow_anonymous: Whether an event may have neither user nor session. FullStory would create a user
        for each, which would hide a mapping that lost the user.
    :param allow_missing_timestamp: Whether events are sent whose ``timestamp`` is NULL (or lacks the key that
        ``mapping`` names). FullStory would give them the time of the import, and so ruin their history. A
        source without any column or key for it is always allowed.
    :param record_key: Columns (or keys) that identify a record. Messages about refused records show their
        values.
    :param exclude_columns: Columns (or keys) that are not sent, such as that of the watermark. (templated)
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
    :param check_quota: Whether an import fails if it does not fit into the organization's monthly quota of
        server events. Nothing is sent then if at most 500,000 events are left, or if batches are staged; with
        more left, the batches that fit are sent.
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

    def _source(self, arguments: ImportEventsArguments) -> RecordSource:
        """Return the source of the events."""
        from airflow_provider_fullstory.records.kinds import EVENTS
        from airflow_provider_fullstory.task.source import RecordSource, mapping_options

        options = mapping_options(
            EVENTS,
            arguments,
            name=arguments.event_name,
            shared=arguments.shared,
            allow_anonymous=arguments.allow_anonymous,
            allow_missing_timestamp=arguments.allow_missing_timestamp,
        )
        return RecordSource(arguments.events, arguments, options)
