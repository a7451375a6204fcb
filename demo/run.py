"""The demo: one DAG, 69,659 purchases, and a comparison of every event with its row."""

from __future__ import annotations

import threading
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

from rich.table import Table

from demo.comparison import Comparison, compare, expected_event, imported_events
from demo.processes import wait_for
from demo.progress import Progress
from demo.purchases import COUNT, fetch_purchases, read_purchases
from demo.services import Services, running_services, temporary_directory

if TYPE_CHECKING:
    from collections import Counter
    from pathlib import Path

    from rich.console import Console

DAG_ID = "example_fullstory_import_table"
# Long enough to watch the task wait in the triggerer.
PROCESSING_SECONDS = 3
SHOWN_DIFFERENCES = 5


class DemoFailedError(Exception):
    """Say what did not come out as it should."""


def run_demo(console: Console, *, keep_ui: bool) -> None:
    """
    Import the purchases, check them and print the result.

    :param console: Where to print.
    :param keep_ui: Whether to keep Airflow up until Ctrl-C.
    :raises DemoFailedError: If the task failed or an event differs from its row.
    """
    progress = Progress(console)
    with ExitStack() as stack:
        directory = stack.enter_context(temporary_directory())
        with progress.phase("Getting the purchase log"):
            purchases = fetch_purchases()
        with progress.phase("Starting the emulator and PostgreSQL"):
            services = stack.enter_context(running_services(directory, PROCESSING_SECONDS))
        with progress.phase("Loading the purchases into PostgreSQL"):
            _load(services, purchases)
        with progress.phase("Waiting for Airflow to start"):
            services.airflow.wait_until_healthy()
            services.airflow.wait_for_dag(DAG_ID)
        with progress.phase("Running the DAG"):
            report = _run_dag(services, progress)
        with progress.phase("Comparing every event with its row"):
            expected = (expected_event(purchase) for purchase in read_purchases(purchases))
            comparison = compare(expected, imported_events(services.emulator.url))
        console.print(_table(report, progress))
        _judge(report, comparison, console)
        if keep_ui:
            console.print(
                f"Until you press Ctrl-C, Airflow is at {services.airflow.api.url} "
                f"and the local FullStory at {services.emulator.url}."
            )
            with suppress(KeyboardInterrupt):
                threading.Event().wait()


def _load(services: Services, purchases: Path) -> None:
    loaded = services.warehouse.load_purchases(read_purchases(purchases))
    if loaded != COUNT:
        raise DemoFailedError(
            f"{purchases} holds {loaded:,} purchases instead of {COUNT:,}. "
            "Remove it, and the next run will download it again."
        )


def _run_dag(services: Services, progress: Progress) -> dict[str, Any]:
    airflow = services.airflow
    run_id = airflow.api.trigger(DAG_ID)

    def final_state() -> str | None:
        """Show how far it is, and return the state of the task once it has ended."""
        [task] = airflow.api.task_instances(DAG_ID, run_id)
        accepted = sum(job["records"] for job in services.emulator.jobs())
        state = task.state or "waiting for the scheduler"
        progress.show(f"{task.task_id}: {state}; FullStory has accepted {accepted:,} records")
        return state if state in {"success", "failed"} else None

    if wait_for("the task to end", final_state, airflow.components.values()) == "failed":
        raise DemoFailedError(
            f"The task failed. The end of its log:\n{airflow.task_log_tail(DAG_ID, run_id)}"
        )
    report: dict[str, Any] = airflow.api.xcom(DAG_ID, run_id, "import_purchases")
    return report


def _table(report: dict[str, Any], progress: Progress) -> Table:
    table = Table("What", "Result", title="The import", title_justify="left")
    for name in ("records", "batches", "imported", "invalid", "rejected"):
        table.add_row(name, f"{report[name]:,}")
    table.add_row("job ids", "\n".join(report["job_ids"]), end_section=True)
    for phase, seconds in progress.seconds.items():
        table.add_row(phase, f"{seconds:.1f} s")
    return table


def check_equal(comparison: Comparison) -> None:
    """Raise `DemoFailedError`, with some of the differences, where FullStory differs from the source."""
    if not comparison.is_equal:
        raise DemoFailedError(
            f"{comparison.imported:,} events were imported where {comparison.expected:,} were expected.\n"
            + _differences("missing, or there less often than in the source", comparison.missing)
            + _differences("not in the source, or there more often", comparison.surplus)
        )


def _judge(report: dict[str, Any], comparison: Comparison, console: Console) -> None:
    check_equal(comparison)
    if report["imported"] != comparison.imported or report["records"] != comparison.expected:
        raise DemoFailedError(f"The events are right, but the task's report is wrong: {report}")
    console.print(
        f"All {comparison.expected:,} purchases are in FullStory, each exactly once and equal to its row: "
        "customer, date, quantity and amount, with their types.",
        style="green",
    )


def _differences(what: str, events: Counter[str]) -> str:
    shown = [f"    {count} x {event}" for event, count in events.most_common(SHOWN_DIFFERENCES)]
    return "\n".join([f"{events.total():,} {what}, such as:", *shown, ""]) if events else ""
