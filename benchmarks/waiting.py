"""
What imports cost while they wait in Airflow's triggerer, and how soon the end of each is noticed.

``python -m benchmarks.waiting`` runs Airflow's real triggerer on PostgreSQL, and a FullStory that answers by
the clock, over TLS and about a tenth of a second away. 1,000 imports are deferred in the same moment, some
shorter ones a minute later, and all are followed to their ends. It prints what the two processes of the
triggerer took of one core, how often FullStory was asked for a job, and how late each end was noticed; for
comparison, also what the triggerer takes with nothing to do, and with as many triggers that only sleep.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.job_clock import API_KEY, JobClock, running_job_clock
from benchmarks.triggerer import Blocked, Share, Triggerer
from demo.services import temporary_directory
from demo.warehouse import Warehouse

SHORTER = (30.0, 120.0)
#: When the shorter imports are deferred: by then, the others have begun to wait.
LATER = 60.0
AGES = (0.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 3600.0)
#: Seconds for the program that stores deferrals to get ready, and for Airflow to take up what has ended.
PREPARATION, SLACK = 30.0, 120.0
_STARTED = "SELECT count(*) FROM trigger WHERE triggerer_id IS NOT NULL"
_RESUMED = (
    "SELECT map_index, scheduled_dttm, next_kwargs FROM task_instance "
    "WHERE dag_id = %s AND state = 'scheduled'"
)


@dataclass(frozen=True)
class Period:
    """What the triggerer took of one core over some time, and how often it asked FullStory, per second."""

    name: str
    share: Share
    requests: float = 0.0


@dataclass(frozen=True)
class Group:
    """
    What became of imports of one duration; all times in seconds.

    :param duration: From the deferral to the end of the job.
    :param imports: How many there were.
    :param requests: How often FullStory was asked for a job: median and most.
    :param allowed: How late an end may be noticed: 2 seconds or a tenth of the duration.
    :param noticed: How late it was noticed: median and worst.
    :param resumed: How late Airflow took the task up again: median and worst.
    """

    duration: float
    imports: int
    requests: tuple[float, float]
    allowed: float
    noticed: tuple[float, float]
    resumed: tuple[float, float]


@dataclass(frozen=True)
class Wave:
    """
    Imports that are deferred in the same moment, one for each map index of a task.

    :param dag_id: The DAG of the task.
    :param start: The moment, in seconds since the epoch.
    :param durations: How long each import takes, in seconds.
    """

    dag_id: str
    start: float
    durations: list[float]

    @property
    def jobs(self) -> dict[str, float]:
        """The jobs in their order, and when each ends."""
        return {
            f"{self.dag_id}-{number}": self.start + duration for number, duration in enumerate(self.durations)
        }


class Benchmark:
    """
    Measure imports that wait.

    :param triggerer: Airflow's triggerer.
    :param database: The server of Airflow's database.
    :param clock: FullStory.
    """

    def __init__(self, triggerer: Triggerer, database: Warehouse, clock: JobClock) -> None:
        self._triggerer = triggerer
        self._database = database
        self._clock = clock
        self.periods: list[Period] = []
        self.blocked: dict[str, list[Blocked]] = {}

    def measure_airflow(self, count: int) -> None:
        """Measure the triggerer with nothing to do, and with triggers that only sleep."""
        start = time.time()
        self._triggerer.start()
        self._triggerer.share_for(5)
        self.periods.append(Period("nothing to do", self._triggerer.share_for(15)))
        self._triggerer.order(sleeping=count)
        self._triggerer.watch("triggers to sleep", lambda: self._count(_STARTED) == count)
        self._triggerer.share_for(5)
        self.periods.append(Period(f"{count:,} triggers that sleep", self._triggerer.share_for(20)))
        self._triggerer.order(forget="sleeping")
        self._triggerer.watch("triggers to end", lambda: self._count("SELECT count(*) FROM trigger") == 0)
        self._note_blocked("triggers that only sleep", start)

    def measure_imports(self, count: int, seconds: float, shorter: int) -> list[Group]:
        """
        Measure imports from their deferral to the last end, and return what became of them.

        :param count: How many wait for the whole time.
        :param seconds: How long that is.
        :param shorter: How many more wait for each of the shorter times.
        """
        self._import_first()
        start = time.time() + PREPARATION
        waves = [
            Wave("imports", start, [seconds] * count),
            Wave("shorter", start + LATER, [duration for duration in SHORTER for _ in range(shorter)]),
        ]
        for wave in waves:
            self._clock.ends |= wave.jobs
            self._triggerer.begin(waiting=wave.dag_id, jobs=list(wave.jobs), at=wave.start)
        self._triggerer.watch(
            "all ends to be noticed",
            lambda: all(len(self._resumed(wave.dag_id)) == len(wave.durations) for wave in waves),
            PREPARATION + max(1.1 * seconds, LATER + 1.1 * max(SHORTER)) + SLACK,
        )
        self._note_blocked("imports", start)
        self._judge_periods(start, seconds)
        return [group for wave in reversed(waves) for group in self._groups(wave)]

    def _import_first(self) -> None:
        """Let one import load what the first of a triggerer has to load, Airflow's own API most of all."""
        self._triggerer.order(
            connection={
                "conn_type": "fullstory",
                "host": self._clock.url,
                "password": API_KEY,
                "extra": json.dumps({"ca_bundle": str(self._clock.certificate)}),
            }
        )
        self._clock.ends["first"] = 0.0
        start = time.time()
        self._triggerer.order(waiting="first", jobs=["first"], at=start)
        self._triggerer.watch("the first import", lambda: bool(self._resumed("first")))
        self._note_blocked("a first import", start)

    def _judge_periods(self, start: float, longest: float) -> None:
        edges = [age for age in AGES if age < longest] + [longest]
        looks = [look - start for looks in self._clock.looks.values() for look in looks]
        ages = [*pairwise(edges), (AGES[1], longest)]
        for begin, end in ages:
            rate = sum(begin <= look < end for look in looks) / (end - begin)
            name = f"imports that wait for {begin:.0f} to {end:.0f} s"
            self.periods.append(Period(name, self._triggerer.share(start + begin, start + end), rate))

    def _groups(self, wave: Wave) -> list[Group]:
        noticed, resumed, requests = defaultdict(list), defaultdict(list), defaultdict(list)
        for number, resumed_at, kwargs in self._resumed(wave.dag_id):
            duration = wave.durations[number]
            noticed[duration].append(kwargs["event"]["waited"] - duration)
            resumed[duration].append(resumed_at.timestamp() - wave.start - duration)
            requests[duration].append(len(self._clock.looks[f"{wave.dag_id}-{number}"]))
        return [
            Group(
                duration=duration,
                imports=len(noticed[duration]),
                requests=_median_and_most(requests[duration]),
                allowed=max(2.0, 0.1 * duration),
                noticed=_median_and_most(noticed[duration]),
                resumed=_median_and_most(resumed[duration]),
            )
            for duration in sorted(noticed)
        ]

    def _note_blocked(self, what: str, start: float) -> None:
        known = sum(map(len, self.blocked.values()))
        self.blocked[what] = [
            Blocked(round(blocked.at - start, 1), blocked.seconds)
            for blocked in self._triggerer.blocked()[known:]
        ]

    def _count(self, query: str) -> int:
        with self._database.cursor("airflow") as cursor:
            cursor.execute(query)
            [(count,)] = cursor.fetchall()
        return int(count)

    def _resumed(self, dag_id: str) -> list[tuple[int, Any, dict[str, Any]]]:
        with self._database.cursor("airflow") as cursor:
            cursor.execute(_RESUMED, (dag_id,))
            rows: list[tuple[int, Any, dict[str, Any]]] = cursor.fetchall()
        return rows


def _median_and_most(values: list[float]) -> tuple[float, float]:
    return statistics.median(values), max(values)


def yardstick() -> float:
    """Return the processor's time for some fixed work, by which machines and their loads compare."""
    start = time.process_time()
    total = 0
    for number in range(10_000_000):
        total += number
    return round(time.process_time() - start, 2)


def machine() -> dict[str, Any]:
    """Return what the numbers depend on."""
    return {
        "cores": os.cpu_count(),
        "load before": round(os.getloadavg()[0], 1),
        "seconds for 10 million additions": yardstick(),
        "python": platform.python_version(),
        "airflow": version("apache-airflow"),
        "system": platform.platform(),
    }


def show(result: dict[str, Any], benchmark: Benchmark, groups: list[Group]) -> None:
    """Print what was measured."""
    console = Console(width=110, highlight=False)
    console.print(", ".join(f"{name} {value}" for name, value in result["machine"].items()))
    table = Table("percent of one core", "runner", "supervisor", "both", "requests a second")
    for period in benchmark.periods:
        share = period.share
        table.add_row(
            period.name,
            *(f"{value:.1f}" for value in (share.runner, share.supervisor, share.runner + share.supervisor)),
            f"{period.requests:.0f}",
        )
    console.print(table)
    table = Table(
        "job takes", "imports", "requests", "every 2 s", "may be late", "noticed late", "task resumed late"
    )
    for group in groups:
        table.add_row(
            f"{group.duration:.0f} s",
            f"{group.imports:,}",
            "{:.0f} (most {:.0f})".format(*group.requests),
            f"{group.duration / 2:.0f}",
            f"{group.allowed:.1f} s",
            "{:.1f} s (most {:.1f})".format(*group.noticed),
            "{:.1f} s (most {:.1f})".format(*group.resumed),
        )
    console.print(table)
    for since, blocked in benchmark.blocked.items():
        moments = ", ".join(f"{one.seconds:.2f} s at {one.at:.0f} s" for one in blocked[:20])
        console.print(f"Airflow's loop was blocked {len(blocked)} times with {since}. {moments}")
    console.print(f"{result['connections']} connections to FullStory")


def main() -> None:
    """Measure, print, and write a file."""
    parser = argparse.ArgumentParser(
        description="Measure what imports cost while they wait in Airflow's triggerer."
    )
    parser.add_argument("--imports", type=int, default=1000, help="how many wait for the whole time")
    parser.add_argument("--seconds", type=float, default=300, help="how long that is")
    parser.add_argument("--shorter", type=int, default=50, help="how many more wait for 30 s and for 2 min")
    parser.add_argument("--latency", type=float, default=0.1, help="seconds until FullStory answers")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/waiting.json"))
    arguments = parser.parse_args()
    count = arguments.imports + len(SHORTER) * arguments.shorter
    facts = machine()
    with temporary_directory() as directory, running_job_clock(directory, arguments.latency) as clock:
        database = Warehouse(directory)
        triggerer = Triggerer(directory, database, count + 1)
        benchmark = Benchmark(triggerer, database, clock)
        try:
            database.start()
            benchmark.measure_airflow(count)
            groups = benchmark.measure_imports(arguments.imports, arguments.seconds, arguments.shorter)
        finally:
            triggerer.stop()
            database.stop()
    result = {
        "machine": facts,
        "options": vars(arguments) | {"output": str(arguments.output)},
        "periods": [asdict(period) for period in benchmark.periods],
        "groups": [asdict(group) for group in groups],
        "blocked": {since: [asdict(one) for one in all_] for since, all_ in benchmark.blocked.items()},
        "connections": clock.connections,
    }
    show(result, benchmark, groups)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
