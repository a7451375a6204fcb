"""Imports that people run, change and clear, and what became of them in Airflow and FullStory."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from demo.processes import wait_for
from demo.services import AIRFLOW_VERSION
from tests.real_airflow.runs import Run

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from demo.services import Services

TASK = "import_orders"
ROWS = 10
#: How many batches that makes.
BATCHES = 3
DAG_FILE = "clears.py"


def _ledgers() -> tuple[str, ...]:
    if AIRFLOW_VERSION < (3, 3):
        return "folder", "none"
    # Airflow 3.4 empties the task state store unless it is told otherwise.
    return ("folder", "store") if AIRFLOW_VERSION < (3, 4) else ("folder", "store", "emptied")


#: Where ledgers are: in a state folder, or in Airflow's task state store, which a clear keeps or empties, or
#: nowhere.
LEDGERS = _ledgers()
#: Those with which a later try knows what was sent.
LASTING = tuple(ledger for ledger in LEDGERS if ledger in {"folder", "store"})
FLEETING = tuple(ledger for ledger in LEDGERS if ledger not in LASTING)


@dataclass(frozen=True)
class Outcome:
    """
    What became of an import.

    :param states: How its tasks ended.
    :param tries: The numbers of their latest tries.
    :param max_tries: What Airflow has for the number of their tries.
    :param started_at: When the first of them began.
    :param log: What their latest tries have logged.
    :param shown: All that Airflow shows of them.
    :param events: What FullStory has of it: the numbers and the customers of orders.
    :param posts: Of each batch that was posted, whether FullStory recognized it.
    """

    states: list[str | None]
    tries: list[int]
    max_tries: list[int]
    started_at: datetime | None
    log: str
    shown: str
    events: list[tuple[int, str]]
    posts: list[bool]

    @property
    def numbers(self) -> list[int]:
        """The numbers of the orders that FullStory has, each as often as it has them."""
        return [number for number, _ in self.events]


@dataclass
class Import:
    """
    An import of a table of its own, by a DAG of its own; both have its name.

    :param services: Where it runs.
    :param case: What it is about.
    :param ledger: One of ``LEDGERS``.
    :param arguments: How its DAG differs from others now.
    """

    services: Services
    case: str
    ledger: str
    arguments: dict[str, Any] = field(default_factory=dict)
    run: Run = field(init=False)

    def __post_init__(self) -> None:
        self.arguments = {"retries": 2} | self.arguments
        if self.ledger == "folder":
            self.arguments["state_uri"] = f"file://{self.services.directory}/state"
        self.execute(
            "CREATE TABLE {table} (number integer PRIMARY KEY, customer text, email text, "
            "ordered_at timestamp)",
            "INSERT INTO {table} SELECT n, 'secret-customer-' || n, 'secret-' || n || '@example.com', "
            f"'2026-03-02 10:00:00' FROM generate_series(0, {ROWS - 1}) AS n",
        )

    @property
    def name(self) -> str:
        return f"clears_{self.case}_{self.ledger}"

    def execute(self, *statements: str) -> None:
        """Change its table."""
        with self.services.warehouse.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement.format(table=self.name))

    def begin(self) -> None:
        self.run = Run.trigger(self.services, self.name)

    def clear(self) -> None:
        """Do what the button "Clear" does, with the latest version of the DAG."""
        keeps = self.ledger == "store" and AIRFLOW_VERSION >= (3, 4)
        self.services.airflow.api.clear(
            self.name, self.run.run_id, TASK, keep_task_state=keeps, latest_version=AIRFLOW_VERSION >= (3, 0)
        )

    def make_anew(self) -> None:
        """Delete its run, and make one of the same id."""
        airflow = self.services.airflow
        airflow.api.delete_run(self.name, self.run.run_id)
        run_id = airflow.api.trigger(self.name, logical_date=airflow.now(), run_id=self.run.run_id)
        assert run_id == self.run.run_id

    def wait(self) -> None:
        """Wait until its run has ended, well or not, without a retry."""
        api = self.services.airflow.api

        def has_ended() -> bool:
            assert "up_for_retry" not in [task.state for task in self.run.tasks()]
            return api.run_state(self.name, self.run.run_id) in {"success", "failed"}

        self.run.wait(f"{self.name} to end", has_ended)

    def outcome(self, events: dict[str, list[tuple[int, str]]], posts: dict[str, list[bool]]) -> Outcome:
        """
        Return what became of it.

        :param events: What FullStory has, by the name of the import.
        :param posts: What was posted, by the name of the import.
        """
        tasks = self.run.tasks()
        logs = self.services.airflow.task_logs(self.name, self.run.run_id)
        latest = f"attempt={tasks[0].try_number}.log"
        shown = [task.rendered_fields for task in tasks]
        assert all(shown)
        xcoms = self.services.airflow.api.xcoms(self.name, self.run.run_id)
        return Outcome(
            states=[task.state for task in tasks],
            tries=[task.try_number for task in tasks],
            max_tries=[task.max_tries for task in tasks],
            started_at=tasks[0].start_date,
            log="".join(log.read_text() for log in logs if log.name.startswith(latest)),
            shown=json.dumps([shown, xcoms], ensure_ascii=False) + "".join(log.read_text() for log in logs),
            events=sorted(events.get(self.name, [])),
            posts=posts.get(self.name, []),
        )


def write_dags(services: Services, imports: Iterable[Import]) -> None:
    """Change the DAGs; Airflow takes note of it in a while."""
    folder = services.directory / "dags"
    (folder / "clears.json").write_text(json.dumps({one.name: one.arguments for one in imports}))
    # Airflow looks for files that changed since it last read them, by its own clock.
    now = services.airflow.now().timestamp()
    os.utime(folder / DAG_FILE, (now, now))


def wait_for_dags(services: Services, imports: Iterable[Import]) -> None:
    """Wait until Airflow has the numbers of retries that the DAGs have now."""
    airflow = services.airflow
    for one in imports:
        airflow.wait_for_dag(one.name)
        wait_for(
            f"the new {one.name}",
            lambda one=one: airflow.api.task(one.name, TASK)["retries"] == one.arguments["retries"],
            airflow.components.values(),
        )


def outcomes(services: Services, imports: Iterable[Import], posted_before: int = 0) -> dict[str, Outcome]:
    """
    Return what became of imports, by their names.

    :param services: Where they run.
    :param imports: The imports.
    :param posted_before: How many requests FullStory had got when these tries began.
    """
    events: dict[str, list[tuple[int, str]]] = {}
    names: dict[str, str] = {}
    for event in services.emulator.iterate_events():
        name = event["event"]["name"]
        names[event["job_id"]] = name
        number = event["event"]["properties"]["number"]
        events.setdefault(name, []).append((number, event["event"]["user"]["uid"]))
    keys = {job["idempotency_key"]: names.get(job["id"], "") for job in services.emulator.jobs()}
    posts: dict[str, list[bool]] = {}
    for request in services.emulator.requests()[posted_before:]:
        if request["method"] == "POST" and request["idempotency_key"] in keys:
            posts.setdefault(keys[request["idempotency_key"]], []).append(request["replayed"])
    return {one.name: one.outcome(events, posts) for one in imports}
