"""Airflow's metrics of an import: what happens while it runs, and its counts at the end."""

from __future__ import annotations

import logging
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.providers.common.compat.sdk import BaseOperator

    from airflow_provider_fullstory.batch_import.reporting.report import ImportReport
    from airflow_provider_fullstory.batch_import.sending.importer import Importer
    from airflow_provider_fullstory.hooks.fullstory import FullStoryHook

SECONDS_BETWEEN_METRICS: Final = 10.0

log = logging.getLogger(__name__)


class ImportMetrics:
    """
    Write the metrics of a task that imports, or waits for imports, to Airflow's metrics.

    A failure is logged once, and does not fail the task: FullStory has the records.

    :param hook: Knows which requests were limited or sent again.
    """

    def __init__(self, task: BaseOperator, hook: FullStoryHook) -> None:
        self._hook = hook
        self._tags = {"dag_id": task.dag_id, "task_id": task.task_id}
        self._importer: Importer | None = None
        #: Batches that earlier tries sent, if they sent all: the importer does not see these.
        self._resumed = 0
        self._sent: dict[str, int] = {}
        self._has_failed = False
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._send_repeatedly, name="fullstory-metrics", daemon=True)

    def start(self) -> None:
        """Send what changes every few seconds, from a thread: the task itself may wait for long."""
        self._thread.start()

    def follow(self, importer: Importer) -> None:
        """Send also how far an importer is."""
        self._importer = importer

    def resumed(self, batches: int) -> None:
        """Count the batches of an import that earlier tries sent as a whole."""
        self._resumed = batches

    def end(self) -> None:
        """Send what has changed since the last time, and nothing later."""
        self._ended.set()
        self._thread.join()
        self.send()
        if self._importer is not None:
            # StatsD repeats the last value for ever.
            self._gauge_oldest_job(0.0)

    def send(self) -> None:
        """Send by how much each counter has grown; the first time also if it has not, so that it exists."""
        with self._lock:
            for name, total in self._totals():
                grown = int(total) - self._sent.get(name, 0)
                if grown or name not in self._sent:
                    self._sent[name] = int(total)
                    self._write("incr", name, grown)

    def count(self, report: ImportReport, *, waited: float) -> None:
        """
        Add the counts of a finished import.

        :param waited: How long the task waited for FullStory, in seconds.
        """
        counts = {
            "records.imported": report.imported or 0,
            "records.invalid": report.invalid,
            "records.rejected": report.rejected or 0,
            "records.skipped": report.skipped,
            "batches": report.batches,
        }
        for name, count in counts.items():
            self._write("incr", name, count)
        self._write("timing", "waited", timedelta(seconds=waited))

    def _totals(self) -> Iterator[tuple[str, float]]:
        """Yield what was counted in this process so far."""
        yield "retries", self._hook.retries
        yield "rate_limited", self._hook.rate_limited
        yield "waited.rate_limit", self._hook.rate_limited_seconds
        if self._importer is not None:
            submissions = self._importer.submissions
            accepted = sum(submission.records for submission in submissions if not submission.is_earlier)
            taken_over = sum(submission.is_earlier for submission in submissions)
            yield "records.accepted", accepted
            yield "batches.taken_over", self._resumed + taken_over
            yield "waited.capacity", self._importer.seconds_without_capacity

    def _send_repeatedly(self) -> None:
        while not self._ended.wait(SECONDS_BETWEEN_METRICS):
            self.send()
            if self._importer is not None:
                self._gauge_oldest_job(self._importer.oldest_job_seconds)

    def _gauge_oldest_job(self, seconds: float) -> None:
        self._write("gauge", "jobs.oldest_seconds", round(seconds))

    def _write(self, kind: Literal["incr", "gauge", "timing"], name: str, value: Any) -> None:
        from airflow.providers.common.compat.sdk import Stats

        name = f"fullstory.{name}"
        try:
            getattr(Stats, kind)(name, value, tags=self._tags)
        except Exception as error:  # noqa: BLE001 - Airflow lets anyone write the client of metrics.
            if not self._has_failed:
                self._has_failed = True
                log.warning(
                    "Airflow's metrics do not take %s, and maybe others; the import goes on. %s: %s",
                    name,
                    type(error).__name__,
                    error,
                )
