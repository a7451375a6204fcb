"""The log of an import before its jobs are finished."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from airflow_provider_fullstory.text import plural

if TYPE_CHECKING:
    from airflow_provider_fullstory.batch_import.reporting.report import ImportReport
    from airflow_provider_fullstory.batch_import.sending.importer import Importer
    from airflow_provider_fullstory.task.arguments import ImportArguments
    from airflow_provider_fullstory.task.source import OpenSource, RecordSource
    from airflow_provider_fullstory.task.state import ImportState

#: Columns whose mapping the log shows.
_MOST_COLUMNS: Final = 50

log = logging.getLogger(__name__)


def begun(arguments: ImportArguments, source: RecordSource, account: str, state: ImportState) -> None:
    """
    Log the source, the account, the protection against duplicates, and the limits.

    :param account: The account that the API key belongs to, as ``Account.check`` describes it.
    """
    log.info("Importing %s from %s", arguments.resource, source.description)
    _log_target(account, state)
    log.info(
        "Limits: %s or %.1f MB a batch, %s at once, %s unfinished.",
        plural(arguments.batch_size, "record"),
        arguments.max_batch_bytes / 1e6,
        plural(arguments.max_parallel_uploads, "upload"),
        plural(arguments.max_outstanding_records, "record"),
    )


def resumed(account: str, state: ImportState, report: ImportReport) -> None:
    """Log that earlier tries have sent everything."""
    _log_target(account, state)
    log.info(
        "Earlier tries have sent all %s with %s: nothing is sent again, their jobs count.",
        plural(report.batches, "batch"),
        plural((report.records or 0) - report.invalid, "record"),
    )


def _log_target(account: str, state: ImportState) -> None:
    log.info("into %s.", account)
    for line in f"State: {state.description}.".split("\n"):
        log.info("%s", line)


def opened(source: OpenSource) -> None:
    """Log the field of each column, one per line."""
    if not source.targets:
        log.info("Mapping: each key goes to the field of its name, or where mapping says.")
        return
    lines = [f"  {column} -> {field}" for column, field in source.targets.items()]
    rest = len(lines) - _MOST_COLUMNS
    more = [f"  and {plural(rest, 'more column')}"] if rest > 0 else []
    for line in [f"Mapping of {plural(len(lines), 'column')}:", *lines[:_MOST_COLUMNS], *more]:
        log.info("%s", line)


def sent(report: ImportReport, importer: Importer, empty_interval: str, *, is_sync: bool) -> None:
    """
    Log what was sent, by this try and earlier ones.

    :param is_sync: Whether the source gives what is new since the last run, which may be nothing.
    :param empty_interval: Why the data interval of the run selects nothing; empty if it selects
        something.
    """
    if report.skipped:
        log.info(
            "Not sent, since their insert ids were imported before: %s.", plural(report.skipped, "record")
        )
    if not report.records and is_sync and not empty_interval:
        log.info("The source gave no new records.")
        return
    if not report.records:
        nothing = f"{empty_interval} The source gave no records: nothing was sent to FullStory."
        log.warning("%s", nothing.lstrip())
        return
    if report.job_ids:
        for line in importer.summary():
            log.info("%s", line)
    elif report.invalid:
        log.warning("Nothing was sent: all records are invalid.")
    if report.invalid:
        log.info("Invalid and not sent: %s.", plural(report.invalid, "record"))


def waiting(report: ImportReport, arguments: ImportArguments) -> None:
    """Log the result if it is known already, and else how many jobs the task waits for."""
    if not report.job_ids:
        return
    if report.imported is not None:
        for line in report.lines():
            log.info("%s", line)
    elif arguments.wait_for_completion and not arguments.deferrable:
        log.info("Waiting for %s.", plural(len(report.job_ids), "job"))
