"""The demo of several machines: a year of purchases, while a worker, a triggerer and the database die."""

from __future__ import annotations

import json
import time
from collections import Counter
from contextlib import ExitStack
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from rich.table import Table

from demo.celery.breaking import Breaker
from demo.celery.machines import CeleryAirflow
from demo.celery.servers import BUCKET, S3, Redis
from demo.comparison import compare, expected_event, imported_events
from demo.progress import Progress
from demo.purchases import fetch_purchases, read_purchases
from demo.run import DemoFailedError, check_equal
from demo.services import Services, running_services, temporary_directory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from rich.console import Console

    from demo.airflow_api import TaskInstance
    from demo.purchases import Purchase

DAGS = Path(__file__).with_name("dags")
DAG_ID = "months"
TASK_ID = "import_month"
POOL_SLOTS = 4
#: So long is a batch in the queue of FullStory, which takes two of each import at once.
PROCESSING_SECONDS = 3.0
#: FullStory rejects all purchases of the customers of every so many purchases.
REJECTED_EVERY = 1_000
SECONDS_FOR_ALL = 900
_SECONDS_BETWEEN_LOOKS = 0.5
STATE, REFUSED = "state", "refused"
#: What is dead is to be noticed soon.
SETTINGS = {
    "AIRFLOW__CORE__PARALLELISM": "8",
    "AIRFLOW__SCHEDULER__JOB_HEARTBEAT_SEC": "1",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "8",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "10",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
    # A task that was sent to a worker which died before it began.
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "30",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "5",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "8",
}


def run_demo(console: Console, *, months: int) -> None:
    """
    Import the last months of a year, break what can break, check each record and print the result.

    :param console: Where to print.
    :param months: How many months.
    :raises DemoFailedError: If a task failed, or a record is not where it should be.
    """
    progress = Progress(console)
    first = 13 - months
    with ExitStack() as stack:
        directory = stack.enter_context(temporary_directory())
        with progress.phase("Getting the purchase log"):
            log = fetch_purchases()
            purchases = [each for each in read_purchases(log) if _is_of_year(each, first)]
            rejected = frozenset(each.customer_id for each in purchases[::REJECTED_EVERY])
        with progress.phase("Starting Redis, S3, the emulator and two PostgreSQLs"):
            redis, s3 = Redis(directory), S3(directory)
            for server in (redis, s3):
                stack.callback(server.stop)
                server.start()
            services = stack.enter_context(_running_airflow(directory, redis, s3))
            services.emulator.order_rejection("user.uid", sorted(rejected))
            services.warehouse.load_purchases(read_purchases(log))
        with progress.phase("Waiting for Airflow to start: two workers and two triggerers"):
            services.airflow.wait_until_healthy()
            services.airflow.api.set_pool("fullstory", POOL_SLOTS)
            services.airflow.wait_for_dag(DAG_ID)
        with progress.phase("Importing"):
            run_id = _import(services, progress, len(purchases), first)
        with progress.phase("Comparing every event with its row"):
            refused = [each for each in purchases if each.customer_id in rejected]
            taken = [each for each in purchases if each.customer_id not in rejected]
            check_equal(compare(map(expected_event, taken), imported_events(services.emulator.url)))
            check_equal(compare(map(expected_event, refused), _refused_events(s3)))
            reports = _reports(services, run_id)
            _check_reports(reports, imported=len(taken), rejected=len(refused))
            _check_files(s3)
        console.print(_table(services, run_id, reports, progress))
        console.print(
            f"All {len(purchases):,} purchases of {months} months are accounted for: {len(taken):,} are in "
            f"FullStory, each exactly once and equal to its row, and the {len(refused):,} that FullStory "
            "rejected are in files of refused records.",
            style="green",
        )


def _is_of_year(purchase: Purchase, first: int) -> bool:
    return date(1997, first, 1) <= purchase.purchased_on < date(1998, 1, 1)


def _running_airflow(directory: Path, redis: Redis, s3: S3) -> AbstractContextManager[Services]:
    """Run Airflow and what its tasks need; its database has its own server, which can die alone."""
    settings = SETTINGS | {
        "AIRFLOW__CELERY__BROKER_URL": redis.url(0),
        "AIRFLOW__CELERY__RESULT_BACKEND": redis.url(1),
        "AIRFLOW_CONN_STORAGE": s3.connection_json(),
        "AIRFLOW_VAR_FULLSTORY_STATE_URI": f"s3://storage@{BUCKET}/{STATE}",
        "AIRFLOW_VAR_FULLSTORY_REFUSED_URI": f"s3://storage@{BUCKET}/{REFUSED}/",
    }
    return running_services(
        directory, PROCESSING_SECONDS, DAGS, settings, has_own_metadata=True, airflow_class=CeleryAirflow
    )


def _import(services: Services, progress: Progress, records: int, first: int) -> str:
    """Run the DAG while its machines die, and return the id of the run."""
    api = services.airflow.api
    breaker = Breaker(cast("CeleryAirflow", services.airflow), services.metadata)
    run_id = api.trigger(DAG_ID, {"first": first})
    deadline = time.monotonic() + SECONDS_FOR_ALL
    while (state := api.run_state(DAG_ID, run_id)) not in {"success", "failed"}:
        if time.monotonic() > deadline:
            raise TimeoutError(f"The import has not ended after {SECONDS_FOR_ALL} seconds.")
        breaker.revive()
        tasks = _tasks(services, run_id)
        accepted = sum(job["records"] for job in services.emulator.jobs())
        progress.show(f"{_states(tasks)}; FullStory has accepted {accepted:,} of {records:,} records")
        if broken := breaker.break_due(tasks, accepted / records):
            progress.say(broken)
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    if state == "failed":
        tail = services.airflow.task_log_tail(DAG_ID, run_id)
        raise DemoFailedError(f"An import failed. The end of the logs:\n{tail}")
    if not breaker.is_done:
        raise DemoFailedError("The import ended before all was broken that should have been.")
    return run_id


def _tasks(services: Services, run_id: str) -> list[TaskInstance]:
    tasks = services.airflow.api.task_instances(DAG_ID, run_id)
    return [task for task in tasks if task.task_id == TASK_ID and task.map_index >= 0]


def _states(tasks: Sequence[TaskInstance]) -> str:
    states = Counter(task.state or "waiting" for task in tasks)
    return ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "no imports yet"


def _refused_events(s3: S3) -> Iterator[dict[str, Any]]:
    for name in s3.names(REFUSED):
        for line in s3.lines(name):
            yield json.loads(line, parse_float=Decimal)["event"]


def _reports(services: Services, run_id: str) -> list[dict[str, Any]]:
    api = services.airflow.api
    return [api.xcom(DAG_ID, run_id, TASK_ID, task.map_index) for task in _tasks(services, run_id)]


def _check_reports(reports: Sequence[dict[str, Any]], *, imported: int, rejected: int) -> None:
    expected = {"records": imported + rejected, "imported": imported, "rejected": rejected, "invalid": 0}
    found = {name: sum(report[name] for report in reports) for name in expected}
    if found != expected:
        raise DemoFailedError(f"The reports add up to {found} instead of {expected}.")


def _check_files(s3: S3) -> None:
    """Check that no staged batch and no claim to a file was left behind."""
    left = [name for name in s3.names(STATE) if name.endswith(".json.gz")]
    left += [name for name in s3.names(REFUSED) if not name.endswith(".ndjson")]
    if left:
        raise DemoFailedError(f"{len(left):,} files were left in the bucket, such as {left[0]}.")


def _table(services: Services, run_id: str, reports: Sequence[dict[str, Any]], progress: Progress) -> Table:
    table = Table("What", "Result", title="The import", title_justify="left")
    tasks = _tasks(services, run_id)
    table.add_row(
        "imports", f"{len(tasks)}, of which {sum(task.try_number > 1 for task in tasks)} were retried"
    )
    table.add_row("tries", f"{sum(task.try_number for task in tasks)}")
    for name in ("records", "batches", "imported", "invalid", "rejected"):
        table.add_row(name, f"{sum(report[name] for report in reports):,}")
    posts = sum(request["method"] == "POST" for request in services.emulator.requests())
    table.add_row("requests with batches", f"{posts:,}", end_section=True)
    for phase, seconds in progress.seconds.items():
        table.add_row(phase, f"{seconds:.1f} s")
    return table
