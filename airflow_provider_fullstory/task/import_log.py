"""What the log of a task says of an import before its jobs are finished."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from airflow_provider_fullstory.text import plural

if TYPE_CHECKING:
    from airflow_provider_fullstory.batch_import.reporting.report import ImportReport
    from airflow_provider_fullstory.batch_import.sending.importer import Importer
    from airflow_provider_fullstory.task.arguments import ImportArguments
    from airflow_provider_fullstory.task.source import EventSource, OpenSource
    from airflow_provider_fullstory.task.state import ImportState

#: Columns whose mapping the log shows.
_MOST_COLUMNS: Final = 50

log = logging.getLogger(__name__)


class ImportLog:
    """
    Log the steps of an import.

    :param arguments: The arguments of the operator.
    :param source: Its source.
    """

    #: Why the data interval of the run selects nothing, empty if it selects something.
    empty_interval = ""

    def __init__(self, arguments: ImportArguments, source: EventSource) -> None:
        self._arguments = arguments
        self._source = source

    def begun(self, account: str, state: ImportState) -> None:
        """
        Log from where records go where, what protects them, and the limits.

        :param account: Whom the API key belongs to.
        :param state: The state of the import.
        """
        log.info("Importing %s from %s", self._arguments.resource, self._source.description)
        self._log_target(account, state)
        log.info(
            "Limits: %s or %.1f MB a batch, %s at once, %s unfinished.",
            plural(self._arguments.batch_size, "record"),
            self._arguments.max_batch_bytes / 1e6,
            plural(self._arguments.max_parallel_uploads, "upload"),
            plural(self._arguments.max_outstanding_records, "record"),
        )

    def resumed(self, account: str, state: ImportState, report: ImportReport) -> None:
        """
        Log that earlier tries have sent everything.

        :param account: Whom the API key belongs to.
        :param state: The state of the import.
        :param report: The report so far.
        """
        self._log_target(account, state)
        log.info(
            "Earlier tries have sent all %s with %s: nothing is sent again, their jobs count.",
            plural(report.batches, "batch"),
            plural((report.records or 0) - report.invalid, "record"),
        )

    def _log_target(self, account: str, state: ImportState) -> None:
        log.info("into %s.", account)
        for line in f"State: {state.description}.".split("\n"):
            log.info("%s", line)

    def opened(self, source: OpenSource) -> None:
        """
        Log the field of each column, one per line.

        :param source: The open source.
        """
        if not source.targets:
            log.info("Mapping: each key goes to the field of its name, or where mapping says.")
            return
        lines = [f"  {column} -> {field}" for column, field in source.targets.items()]
        rest = len(lines) - _MOST_COLUMNS
        more = [f"  and {plural(rest, 'more column')}"] if rest > 0 else []
        for line in [f"Mapping of {plural(len(lines), 'column')}:", *lines[:_MOST_COLUMNS], *more]:
            log.info("%s", line)

    def sent(self, report: ImportReport, importer: Importer) -> None:
        """
        Log what was sent, by this try and earlier ones.

        :param report: The report so far.
        :param importer: The importer.
        """
        if not report.records:
            nothing = f"{self.empty_interval} The source gave no records: nothing was sent to FullStory."
            log.warning("%s", nothing.lstrip())
            return
        if report.job_ids:
            for line in importer.summary():
                log.info("%s", line)
        else:
            log.warning("Nothing was sent: all records are invalid.")
        if report.invalid:
            log.info("Invalid and not sent: %s.", plural(report.invalid, "record"))

    def waiting(self, report: ImportReport) -> None:
        """
        Log the result if it is known already, and else how many jobs the task waits for.

        :param report: The report so far.
        """
        if not report.job_ids:
            return
        if report.imported is not None:
            for line in report.lines():
                log.info("%s", line)
        elif self._arguments.wait_for_completion and not self._arguments.deferrable:
            log.info("Waiting for %s.", plural(len(report.job_ids), "job"))
