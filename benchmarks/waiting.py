"""
What imports cost while they wait in Airflow's triggerer, and how soon the end of each is noticed.

``python -m benchmarks.waiting`` runs Airflow's real triggerer on PostgreSQL with 1,000 imports and a few more
that end early, all deferred in the same moment, and a FullStory that answers by the clock, over TLS and a
tenth of a second away. It prints what the two processes of the triggerer took of one core, how often FullStory was asked,
and how late each end was noticed.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from benchmarks.job_clock import API_KEY, JobClock, running_job_clock
from demo.local_airflow import LocalAirflow
from demo.processes import Process, wait_for
from demo.services import temporary_directory
from demo.warehouse import Warehouse

if TYPE_CHECKING:
    from collections.abc import Callable

#: Airflow's own defaults, which a demo would not wait for.
SETTINGS = {"AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "5"}
BLOCKED = "Triggerer's async thread was blocked for"
PREPARATION = 20.0
SLACK = 20.0


@dataclass(frozen=True)
class Sample:
    """Seconds of a processor that the two processes of the triggerer have taken until a moment."""

    at: float
    supervisor: float
    runner: float


@dataclass(frozen=True)
class Share:
    """What the two processes of the triggerer took of one core, in percent."""

    seconds: float
    supervisor: float
    runner: float

    @property
    def total(self) -> float:
        return self.supervisor + self.runner


class Triggerer:
    """
    Run Airflow's triggerer, and measure it.

    :param process: The process of the command.
    """

    def __init__(self, process: Process) -> None:
        self.process = process
        self.samples: list[Sample] = []

    def start(self) -> None:
        self.process.start()
        self._supervisor = psutil.Process(self.process.session)
        self._runner = wait_for("the runner of triggers", self._find_runner, [self.process])

    def watch(self, until: float, is_over: Callable[[], bool] = lambda: False) -> None:
        """Take samples up to a moment, or until something is over."""
        while time.time() < until and not is_over():
            self.process.check()
            self.samples.append(
                Sample(time.time(), _cpu_seconds(self._supervisor), _cpu_seconds(self._runner))
            )
            time.sleep(min(1.0, max(0.0, until - time.time())))

    def share(self, start: float, end: float) -> Share:
        """Return the share of one core between two moments."""
        span = [sample for sample in self.samples if start <= sample.at <= end]
        first, last = span[0], span[-1]
        seconds = last.at - first.at
        return Share(
            seconds,
            (last.supervisor - first.supervisor) / seconds * 100,
            (last.runner - first.runner) / seconds * 100,
        )

    def blocked(self) -> int:
        """Return how often Airflow complained about a blocked event loop."""
        return self.process.log.read_text(errors="replace").count(BLOCKED)

    def _find_runner(self) -> psutil.Process | None:
        children = self._supervisor.children()
        return children[0] if children else None


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--imports", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--early", type=int, default=60)
    parser.add_argument("--latency", type=float, default=0.1)
    parser.add_argument("--sleepers", action="store_true")
    arguments = parser.parse_args()
    durations = [30.0] * arguments.early + [120.0] * arguments.early + [arguments.seconds] * arguments.imports
    with temporary_directory() as directory, ExitStack() as stack:
        clock = stack.enter_context(running_job_clock(directory, arguments.latency))
        warehouse = Warehouse(directory)
        stack.callback(warehouse.stop)
        warehouse.start()
        settings = SETTINGS | {"AIRFLOW__TRIGGERER__CAPACITY": str(len(durations) + 1)}
        airflow = LocalAirflow(directory, directory, warehouse, {}, settings)
        process = airflow.components["triggerer"]
        stack.callback(process.kill)
        subprocess.run(
            [sys.executable, "-m", "airflow", "db", "migrate"], env=process.environment, check=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )

        def order(**what: Any) -> None:
            subprocess.run([sys.executable, "-m", "benchmarks.deferrals"], env=process.environment, check=True, input=json.dumps(what).encode(), stdout=subprocess.DEVNULL)

        order(connection={"conn_type": "fullstory", "host": clock.url, "password": API_KEY, "extra": json.dumps({"ca_bundle": str(clock.certificate)})})
        triggerer = Triggerer(process)
        triggerer.start()
        print("pids", process.session, triggerer._runner.pid, flush=True)
        time.sleep(8)
        triggerer.watch(time.time() + 15)
        print("idle", triggerer.share(time.time() - 15, time.time()), flush=True)
        if arguments.sleepers:
            order(sleeping=len(durations))
            start = time.time()
            triggerer.watch(start + 60)
            print("start sleeping", triggerer.share(start, start + 40), flush=True)
            print("sleeping", triggerer.share(time.time() - 20, time.time()), flush=True)
            order(forget="sleeping")
            start = time.time()
            triggerer.watch(start + 15)
            print("forgetting", triggerer.share(start, start + 20), flush=True)
        clock.ends["first"] = 0.0
        order(waiting=[{"job_ids": ["first"], "started_at": time.time(), "deadline": time.time() + 86400}], at=0, name="first")
        start = time.time()
        triggerer.watch(start + 60, lambda: "first" in clock.looks)
        print("first import", time.time() - start, triggerer.blocked())
        triggerer.watch(time.time() + 10)
        start = time.time() + PREPARATION
        waits = []
        for number, duration in enumerate(durations):
            job_id = f"job-{number}"
            clock.ends[job_id] = start + duration
            waits.append({"job_ids": [job_id], "started_at": start, "deadline": start + 86400})
        order(waiting=waits, at=start, name="waiting")
        print("inserted", time.time() - start, flush=True)

        def resumed():
            with warehouse.cursor("airflow") as cursor:
                cursor.execute("SELECT count(*) FROM task_instance WHERE dag_id='waiting' and state = 'scheduled'")
                return cursor.fetchone()[0]

        triggerer.watch(start + arguments.seconds * 1.1 + SLACK, lambda: time.time() > start + arguments.seconds and resumed() == len(durations))
        end = time.time()
        firsts = sorted(looks[0] - start for looks in clock.looks.values())
        print("first looks", firsts[0], firsts[-1])
        for a, b in [(0, 30), (30, 60), (60, 120), (120, 180), (180, 240), (240, 300), (300, 340), (60, 300), (0, 320)]:
            looks = sum(a <= look - start < b for l in clock.looks.values() for look in l)
            if end - start > a + 1:
                print(a, b, triggerer.share(start + a, start + b), looks / (b - a))
        print("blocked", triggerer.blocked(), "connections", clock.connections)
        with warehouse.cursor("airflow") as cursor:
            cursor.execute("SELECT map_index, scheduled_dttm, next_kwargs FROM task_instance WHERE dag_id='waiting' and state = 'scheduled'")
            rows = cursor.fetchall()
        print(len(rows), rows[0][2])
        for duration in sorted(set(durations)):
            numbers = [n for n, d in enumerate(durations) if d == duration]
            requests = [len(clock.looks[f"job-{n}"]) for n in numbers]
            late, resume = [], []
            for n, at, kwargs in rows:
                if durations[n] == duration:
                    event = kwargs["event"]
                    late.append(start + event["waited"] - clock.ends[f"job-{n}"])
                    resume.append(at.timestamp() - clock.ends[f"job-{n}"])
            print(duration, len(late), "requests", statistics.median(requests), max(requests), "late", statistics.median(late), max(late), "resumed", statistics.median(resume), max(resume))


if __name__ == "__main__":
    main()
