"""Airflow's triggerer, and what its two processes take of a processor."""

from __future__ import annotations

import datetime
import json
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil

from demo.local_airflow import LocalAirflow
from demo.processes import Process, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from demo.warehouse import Warehouse

_BLOCKED = re.compile(r"(?m)^(\S+Z) .*Triggerer's async thread was blocked for ([\d.]+) seconds")


@dataclass(frozen=True)
class Share:
    """
    What the triggerer took of one core, in percent.

    :param seconds: Over which it was measured.
    :param runner: The process in which triggers run.
    :param supervisor: The process that speaks with the database for them.
    """

    seconds: float
    runner: float
    supervisor: float


@dataclass(frozen=True)
class Blocked:
    """
    Say that the event loop of the triggerer took longer than Airflow finds right.

    :param at: When Airflow said so, in seconds since the epoch.
    :param seconds: How long it took, of which 0.1 are right.
    """

    at: float
    seconds: float


@dataclass(frozen=True)
class _Sample:
    at: float
    runner: float
    supervisor: float


class Triggerer:
    """
    Run Airflow's triggerer, with Airflow's own settings but for the number of triggers that it takes.

    Nothing else of Airflow runs, so tasks that are resumed stay scheduled.

    :param directory: Where logs go.
    :param database: The server of Airflow's database.
    :param capacity: How many triggers it takes.
    """

    def __init__(self, directory: Path, database: Warehouse, capacity: int) -> None:
        settings = {
            "AIRFLOW__TRIGGERER__CAPACITY": str(capacity),
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "5",
        }
        airflow = LocalAirflow(directory, directory / "dags", database, {}, settings)
        self.process = airflow.components["triggerer"]
        self._migration = Process(
            name="Airflow's database",
            command=[sys.executable, "-m", "airflow", "db", "migrate"],
            log=directory / "logs" / "airflow-db.log",
            environment=self.process.environment,
        )
        self._samples: list[_Sample] = []
        self._orders: list[subprocess.Popen[str]] = []

    def start(self) -> None:
        """Create the database, and start it."""
        self._migration.start()
        wait_for("Airflow to create its database", self._migration.has_succeeded)
        self.process.start()
        self._supervisor = psutil.Process(self.process.session)
        self._runner = wait_for("the process that runs triggers", self._find_runner, [self.process])

    def stop(self) -> None:
        """End it, and what was ordered."""
        for order in self._orders:
            order.kill()
            order.wait()
        self._migration.kill()
        self.process.kill()

    def order(self, **what: Any) -> None:
        """Have `benchmarks.deferrals` do something in its database, and wait until that is done."""
        order = self.begin(**what)
        if order.wait() != 0:
            raise RuntimeError(f"Airflow's database could not be changed: {list(what)}.")

    def begin(self, **what: Any) -> subprocess.Popen[str]:
        """Have `benchmarks.deferrals` do something in its database, later or at once."""
        order = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.deferrals", json.dumps(what)],
            env=self.process.environment,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        self._orders.append(order)
        return order

    def watch(self, what: str, is_over: Callable[[], bool], seconds: float = 120) -> None:
        """Measure until something is over, which has to be within some seconds."""
        deadline = time.time() + seconds
        while not is_over():
            self.process.check()
            if time.time() > deadline:
                raise TimeoutError(f"Waited {seconds:.0f} seconds in vain for {what}.")
            self._samples.append(
                _Sample(time.time(), _seconds_of(self._runner), _seconds_of(self._supervisor))
            )
            time.sleep(1)

    def share(self, start: float, end: float) -> Share:
        """Return what it took between two moments, in seconds since the epoch, that were watched."""
        span = [sample for sample in self._samples if start <= sample.at <= end]
        first, last = span[0], span[-1]
        seconds = last.at - first.at
        return Share(
            seconds=seconds,
            runner=(last.runner - first.runner) / seconds * 100,
            supervisor=(last.supervisor - first.supervisor) / seconds * 100,
        )

    def share_for(self, seconds: float) -> Share:
        """Return what it takes from now on."""
        start = time.time()
        self.watch("time to pass", lambda: time.time() > start + seconds)
        return self.share(start, start + seconds)

    def blocked(self) -> list[Blocked]:
        """Return when Airflow complained that its event loop was blocked."""
        log = self.process.log.read_text(errors="replace")
        return [
            Blocked(datetime.datetime.fromisoformat(at).timestamp(), float(seconds))
            for at, seconds in _BLOCKED.findall(log)
        ]

    def _find_runner(self) -> psutil.Process | None:
        children = self._supervisor.children()
        return children[0] if children else None


def _seconds_of(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
