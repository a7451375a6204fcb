"""The run of an import: what one execution of an operator does, step by step."""

from __future__ import annotations

import dataclasses
import logging
import time
from contextlib import nullcontext
from threading import Event
from typing import TYPE_CHECKING, Any, Final, Self

from airflow.providers.common.compat.sdk import AirflowSkipException

from airflow_provider_fullstory.batch_import.batching.batch import BatchLimits
from airflow_provider_fullstory.batch_import.reporting.refusal_log import RefusalLog
from airflow_provider_fullstory.batch_import.reporting.report import ImportReport
from airflow_provider_fullstory.batch_import.sending.importer import Importer
from airflow_provider_fullstory.batch_import.sending.sender import Sender
from airflow_provider_fullstory.batch_import.storage.outages import Outages
from airflow_provider_fullstory.exceptions import (
    FullStoryInputError,
    FullStoryRecordsRefusedError,
    FullStoryTooFewRecordsError,
)
from airflow_provider_fullstory.hooks.fullstory import FullStoryHook
from airflow_provider_fullstory.task import import_log
from airflow_provider_fullstory.task.account import Account
from airflow_provider_fullstory.task.arguments import StateArguments, checked
from airflow_provider_fullstory.task.completion import Completion
from airflow_provider_fullstory.task.deferral import deadline_of, wait_in_triggerer
from airflow_provider_fullstory.task.errors import explaining_unknown_jobs, with_report
from airflow_provider_fullstory.task.intervals import warn_of_empty_interval
from airflow_provider_fullstory.task.separate_disks import warn_of_separate_disks
from airflow_provider_fullstory.task.state import import_state, state_uri_of
from airflow_provider_fullstory.task.storage import refused_file
from airflow_provider_fullstory.task.sync import TaskSync, is_sync
from airflow_provider_fullstory.text import plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from airflow.providers.common.compat.sdk import BaseOperator, Context

    from airflow_provider_fullstory.batch_import.batching.submissions import Submission
    from airflow_provider_fullstory.batch_import.reporting.refused_file import RefusedFile
    from airflow_provider_fullstory.batch_import.sending.quota import RemainingQuota
    from airflow_provider_fullstory.batch_import.waiting.outcomes import JobOutcome
    from airflow_provider_fullstory.records.mapped_chunk import MappedChunk
    from airflow_provider_fullstory.syncs.memory import ImportMemory
    from airflow_provider_fullstory.task.arguments import ImportArguments
    from airflow_provider_fullstory.task.source import RecordSource
    from airflow_provider_fullstory.task.state import SyncImport

#: Seconds for which a request that fails in a passing way is repeated.
RETRY_FOR: Final = 300.0

log = logging.getLogger(__name__)


class ImportRun:
    """
    Run an import: one try of a task, or the rest of it after the wait in the triggerer.

    :param is_resumed: Whether the triggerer has waited for the jobs, so that nothing is left to be sent.
    """

    def __init__(
        self,
        operator: BaseOperator,
        context: Context,
        arguments: ImportArguments,
        source: RecordSource,
        *,
        is_resumed: bool = False,
    ) -> None:
        self._operator = operator
        self._context = context
        self._arguments = arguments
        self._source = source
        self._is_resumed = is_resumed
        self._outages = Outages()
        self._stopped = Event()
        self._is_open = False
        #: The field of each column; empty unless this try has run a query.
        self.targets: Mapping[str, str] = {}
        #: The report as far as it is known; None until all records are sent.
        self.report: ImportReport | None = None
        self._outcomes: Sequence[JobOutcome] = ()
        self._empty_interval = ""
        self._limits = BatchLimits(arguments.batch_size, arguments.max_batch_bytes)
        self._refusal_log = RefusalLog(
            source.options.kind,
            source.options.key_paths(),
            shows_records=arguments.rejected_uri is None,
            shows_values=arguments.log_values,
        )
        self._deadline = deadline_of(operator, time.time(), arguments.timeout)
        self.hook = (
            FullStoryHook(arguments.fullstory_conn_id)
            if is_resumed
            else FullStoryHook(
                arguments.fullstory_conn_id,
                retry_for=min(RETRY_FOR, arguments.timeout),
                # Other imports of the organization may use up its limits for hours.
                rate_limited_for=arguments.timeout,
                deadline=self._deadline,
            )
        )
        self._completion = Completion(operator, context, self.hook)
        self._sync = (
            TaskSync(
                context,
                operator,
                arguments,
                options=source.options,
                hook=self.hook,
                outages=self._outages,
                deadline=self._deadline,
                stopped=self._stopped,
            )
            if is_sync(arguments)
            else None
        )

    def __enter__(self) -> Self:
        self.hook.__enter__()
        self._completion.metrics.start()
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            if self._sync is not None:
                self._sync.release()
        finally:
            self.hook.__exit__(*exception)
            self._completion.metrics.end()

    def _open_state(self, sync_import: SyncImport | None) -> None:
        """Open what earlier tries of the task, or of the import of a sync, have left."""
        arguments = self._arguments
        self._fingerprint = arguments.fingerprint
        self._state = import_state(
            self._context,
            self._operator.task_id,
            arguments,
            is_upserted=self._source.options.is_upserted,
            sync_import=sync_import,
            outages=self._outages,
        )
        self._account = Account(self.hook, self._state.ledger)
        self._importer = Importer(
            self._state.ledger,
            self.hook.imports(arguments.resource),
            max_parallel_uploads=arguments.max_parallel_uploads,
            max_outstanding_records=arguments.max_outstanding_records,
            poll_interval=arguments.poll_interval,
            deadline=self._deadline,
        )
        self._completion.metrics.follow(self._importer)
        self._is_open = True
        if self._stopped.is_set():
            self._importer.stop()

    def stop(self) -> None:
        """End the run as soon as possible. May be called from a signal handler."""
        self._stopped.set()
        if self._is_open:
            self._importer.stop()
        self._outages.close()

    @property
    def left_behind(self) -> str:
        """
        The jobs that continue in FullStory after the task ends, and what a retry does about them.

        Empty after the wait in the triggerer: all jobs are finished.
        """
        return self._importer.left_behind if self._is_open and not self._is_resumed else ""

    @property
    def submissions(self) -> Sequence[Submission]:
        """The batches that FullStory has accepted so far, if this process sends them."""
        return self._importer.submissions if self._is_open else ()

    def begin(self, *, names_interval: bool) -> ImportReport | None:
        """
        Begin the import, or resume what an earlier try began; nothing is read or sent yet.

        :param names_interval: Whether a template of the task names the data interval.
        :return: The report so far, if earlier tries have sent everything.
        :raises FullStoryInputError: If the source or its mapping cannot work.
        """
        if self._sync is None:
            self._open_state(None)
            self._state.note_try()
            self._check_source()
        else:
            self._check_source()
            self._arguments = self._sync.begin()
            self._source = dataclasses.replace(self._source, arguments=self._arguments)
            self._open_state(self._sync.sync_import())
            self._state.note_try()
        self.report = report = self._state.begin(self._fingerprint)
        self._warn_of_separate_disks()
        if names_interval:
            self._empty_interval = warn_of_empty_interval(self._operator, self._context)
        # Checked before the source is opened, so that a wrong connection costs no query.
        account = self._account.check(needs_results=self._arguments.rejected_uri is not None)
        if report is None:
            import_log.begun(self._arguments, self._source, account, self._state)
            return None
        if self._sync is not None:
            self._sync.release()
        import_log.resumed(account, self._state, report)
        if report.imported is None:
            self._completion.metrics.resumed(report.batches)
        if self._arguments.rejected_uri is not None and report.rejected and not report.rejected_uri:
            # The argument is new in this try, so the rejected records are read once more.
            report.imported = report.rejected = None
        return report

    def _warn_of_separate_disks(self) -> None:
        arguments = self._arguments
        state_uri = state_uri_of(arguments) if arguments.durable else None
        uris = {"state_uri": state_uri, "rejected_uri": arguments.rejected_uri}
        warn_of_separate_disks(self._operator, uris)

    def _check_source(self) -> None:
        map_index = self._context["ti"].map_index
        self._source.check(is_mapped=map_index is not None and map_index >= 0)
        self._limits.check()

    def resume(self, report: ImportReport) -> None:
        """
        Resume the import after the wait in the triggerer.

        :param report: The report that the trigger was given.
        """
        self.report = report
        self._open_state(None if self._sync is None else self._sync.resumed())

    def send(self) -> ImportReport:
        """Send all records that no earlier try has sent, and return the report so far."""
        refused = self._refused_file()
        with nullcontext() if refused is None else refused.claimed():
            report, submissions = self._send(refused)
        import_log.sent(report, self._importer, self._empty_interval, is_sync=self._sync is not None)
        known = self._state.ledger.sent(report, submissions[-1].ordinal if submissions else 0)
        if self._sync is not None:
            self._sync.sent(report.invalid)
        # An earlier try may have ended the import, but the file of refused records was just begun again.
        self.report = report = known if refused is None else report
        import_log.waiting(report, self._arguments)
        return report

    def _send(self, refused: RefusedFile | None) -> tuple[ImportReport, list[Submission]]:
        memory = nullcontext() if self._sync is None else self._sync.memory(self._state.ledger)
        with memory as opened:
            return self._send_all(refused, opened)

    def _send_all(
        self, refused: RefusedFile | None, memory: ImportMemory | None
    ) -> tuple[ImportReport, list[Submission]]:
        sender = Sender(
            self._state.identity,
            self._limits,
            self._source.options,
            self._importer,
            self._refusal_log,
            refused=refused,
            memory=memory,
            remaining_quota=self._remaining_quota,
        )
        area = self._state.staging_area(self._fingerprint)
        manifest = None if area is None else area.manifest()
        if area is not None and manifest is not None:
            log.info("The source is not read: an earlier try staged its batches in %s.", self._state.folder)
            return sender.staged(area, manifest)
        self._importer.wait_for_superseded()
        with self._source.open(None if self._sync is None else self._sync.column) as opened:
            self.targets = opened.targets
            import_log.opened(opened)
            chunks = self._enough(opened.chunks)
            if area is None:
                return sender.streamed(chunks)
            manifest = sender.stage(area, chunks)
        return sender.staged(area, manifest)

    def _remaining_quota(self) -> RemainingQuota | None:
        """Return the remaining quota, None if it does not limit the import, or is not known."""
        # The usage includes what earlier tries sent, and only a ledger says how much that is.
        is_known = self._state.ledger.is_lasting or self._context["ti"].try_number == 1
        return self._account.remaining_quota() if self._arguments.check_quota and is_known else None

    def _enough(self, chunks: Iterable[MappedChunk]) -> Iterator[MappedChunk]:
        """Yield the records; a source with too few fails before its last batch is made."""
        kind = self._source.options.kind
        records = 0
        for chunk in chunks:
            has_timestamps = kind.timestamp is None or chunk.timestamps.earliest is not None
            if chunk.records and not records and not has_timestamps:
                log.warning(
                    "No timestamp in the first %s: FullStory gives each the time of its import.",
                    plural(len(chunk.records), kind.noun),
                )
            records += len(chunk.records) + len(chunk.invalid)
            yield chunk
        if records or not self._arguments.skip_if_empty:
            self._check_size(records)

    def _check_size(self, records: int) -> None:
        try:
            ImportReport(self._arguments.resource.value, records=records).check_size(
                self._arguments.min_records
            )
        except FullStoryTooFewRecordsError as error:
            if self._fingerprint is None:
                # A retry would be given the same records.
                raise FullStoryInputError(str(error)) from None
            raise

    def is_waited_for(self, report: ImportReport) -> bool:
        """Return whether the task waits for FullStory."""
        return report.imported is None and (self._arguments.wait_for_completion or not report.job_ids)

    def wait(self, report: ImportReport) -> list[JobOutcome]:
        """Wait until all jobs are finished, here or in the triggerer."""
        self._completion.publish(report)
        with with_report(report), explaining_unknown_jobs():
            if not self._arguments.deferrable:
                return self._importer.wait(report.job_ids)
            # The jobs of a small import are often finished by now, so that it need not be deferred.
            outcomes = self._importer.poll(report.job_ids)
        if outcomes is None:
            wait_in_triggerer(
                self._operator,
                report,
                fullstory_conn_id=self._arguments.fullstory_conn_id,
                poll_interval=self._arguments.poll_interval,
                deadline=self._deadline,
            )
        return outcomes

    def complete(self, report: ImportReport, outcomes: Sequence[JobOutcome], *, waited: float) -> None:
        """
        Complete the report and the file of refused records, and log the result.

        :param waited: How long the task waited for FullStory, in seconds.
        """
        self._outcomes = outcomes
        with with_report(report):
            self._completion.complete([report], outcomes, self._refused_file(report), self._refusal_log)
        self._completion.report(report, waited=waited)

    def end(self, report: ImportReport) -> dict[str, Any]:
        """
        Check how many records were refused, note the end in the ledger, and return the report for XCom.

        :raises FullStoryRecordsRefusedError: If more records were refused than ``max_rejected`` allows.
        :raises AirflowSkipException: If the source gave no records and ``skip_if_empty`` is set.
        """
        refused = None if report.imported is None else self._refused_file(report)
        if refused is not None:
            self._completion.clean_up(refused.release)
        try:
            self._completion.result(
                report,
                max_rejected=self._arguments.max_rejected,
                sync="" if self._sync is None else self._sync.arguments,
                correcting=self._correcting(report),
            )
        except FullStoryRecordsRefusedError as error:
            self._state.ledger.ended(report, is_success=False)
            if self._sync is not None:
                self._sync.finish(self._outcomes, is_success=False)
            # With insert ids, the next try reads its source again.
            if self._state.folder is not None and report.job_ids and not self._arguments.insert_id:
                error.add(f"What was sent is kept in {self._state.folder}.")
            raise
        self._state.ledger.ended(report, is_success=True)
        if self._sync is not None:
            report.watermark = self._sync.finish(self._outcomes, is_success=True)
        self._completion.clean_up(self._state.clean_up)
        if self._arguments.skip_if_empty and not report.records:
            self._completion.publish(report)
            raise AirflowSkipException("The source gave no records.")
        return report.to_xcom()

    def _correcting(self, report: ImportReport) -> str:
        """Return what sends records that were corrected in the source; empty if it is not read again."""
        if self._arguments.insert_id:
            return "the next run sends them, as does a clear of this task."
        if self._sync is None and report.imported == 0:
            return "a clear of this task then sends all, since FullStory has none."
        return ""

    def _refused_file(self, report: ImportReport | None = None) -> RefusedFile | None:
        """Return the file of refused records that an earlier try has begun, or that the argument names."""
        uri = report.rejected_uri if report and report.rejected_uri else self._arguments.rejected_uri
        if uri is None:
            return None
        return refused_file(self._source.options.kind, uri, self._state.owner, outages=self._outages)


def note_failed_try(operator: BaseOperator, context: Context) -> None:
    """
    Note a try whose arguments are wrong, so that the next one knows that nothing was sent.

    :raises FullStoryInputError: If the arguments that lead to the state are wrong as well.
    """
    arguments = checked(StateArguments, vars(operator))
    import_state(context, operator.task_id, arguments).note_try()
