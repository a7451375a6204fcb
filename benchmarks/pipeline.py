"""
From PostgreSQL to FullStory: this package beside what people write without it, and beside public tools.

``python -m benchmarks.pipeline`` fills a table, sends it with each contender in turns, and prints medians.
FullStory is a process that only reads bodies, once answering at once and once after a second; Airflow runs
beside all contenders, since one of them is a task.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.table import Table

from airflow_provider_fullstory.text import plural
from benchmarks import orders
from benchmarks.machine import write_results
from benchmarks.peers import PEERS
from benchmarks.place import Place
from benchmarks.process import Measurement, measure
from demo.local_airflow import LocalAirflow
from demo.postgresql import USER
from demo.processes import wait_for
from demo.services import temporary_directory
from demo.warehouse import Warehouse

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_NOTE: Final = (
    "Neither drt nor dlt checks a record, or asks what became of a job: a record that FullStory refuses is "
    "counted as sent, as it is by what is written by hand."
)
ANSWER_SECONDS: Final = (0.0, 1.0)
TASK: Final = "operator in a task"
CONTENDERS: Final = {
    "pandas.read_sql, to_dict, post(json=)": "pandas_chunks",
    "get_records, post(json=)": "get_records",
    "this package's engine": "engine",
    TASK: None,
    "JSON built by PostgreSQL (COPY)": "copy_json",
    "drt, destination rest_api in batch mode": "drt_sync",
    "dlt, custom destination, Arrow": "dlt_destination",
}
_DAGS: Final = Path(__file__).parent / "dags" / "pipeline"
#: Nothing but the task is to take time.
_QUIET: Final = {
    "AIRFLOW__CORE__PARALLELISM": "1",
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "3600",
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "1",
}


class Bench:
    """
    Run contenders.

    :param directory: Holds all data.
    :param warehouse: The server with the orders.
    :param airflow: Runs the operator.
    :param sinks: URLs of what stands for FullStory.
    """

    def __init__(
        self, directory: Path, warehouse: Warehouse, airflow: LocalAirflow, sinks: Sequence[str]
    ) -> None:
        self._directory = directory
        self._warehouse = warehouse
        self._airflow = airflow
        self._sinks = sinks

    def run(self, contender: str, sink: int) -> Measurement:
        """
        Let a contender send all orders.

        :param contender: One of `CONTENDERS`.
        :param sink: Where to, as an index.
        """
        module = CONTENDERS[contender]
        if module is None:
            return run_task(self._airflow, f"import_orders_{sink}", self._directory)
        place = place_of(self._directory, self._sinks[sink])
        name = f"benchmarks.contenders.{module}"
        if peer := PEERS.get(module):
            return measure(name, "send", place, python=peer.python, environment=peer.environment)
        return measure(name, "send", place)


@contextmanager
def running_bench(directory: Path, rows: int) -> Iterator[Bench]:
    """
    Start all that contenders need, and stop it in the end.

    :param directory: A directory with a short path.
    :param rows: How many orders there are to be.
    """
    with ExitStack() as stack:
        sinks = [stack.enter_context(running_sink(seconds)) for seconds in ANSWER_SECONDS]
        warehouse = Warehouse(directory)
        stack.callback(warehouse.stop)
        warehouse.start()
        orders.create(warehouse, rows)
        connections = {f"fullstory_{number}": _connection(url) for number, url in enumerate(sinks)}
        settings = {"BENCHMARK_SINKS": str(len(sinks))}
        airflow = stack.enter_context(running_airflow(_DAGS, warehouse, connections, settings, directory))
        yield Bench(directory, warehouse, airflow, sinks)


@contextmanager
def running_airflow(
    dags: Path,
    warehouse: Warehouse,
    connections: dict[str, str],
    settings: dict[str, str],
    directory: Path,
) -> Iterator[LocalAirflow]:
    """
    Run an Airflow that leaves its processors to its tasks.

    :param dags: The folder of its DAGs.
    :param warehouse: What they read.
    :param connections: Other connections by id, as JSON.
    :param settings: Variables of its environment.
    :param directory: Holds all data; tasks write down there what they took.
    """
    airflow = LocalAirflow(
        directory,
        dags,
        warehouse,
        {"warehouse": warehouse.connection_json()} | connections,
        _QUIET
        | {"BENCHMARK_RESULTS": str(directory), "PYTHONPATH": str(Path(__file__).parents[1])}
        | settings,
    )
    try:
        airflow.start()
        airflow.wait_until_healthy()
        yield airflow
    finally:
        airflow.stop()


def run_task(airflow: LocalAirflow, dag_id: str, directory: Path) -> Measurement:
    """
    Run a DAG of one task, and return what the task took.

    :param airflow: Runs it.
    :param dag_id: The DAG.
    :param directory: Where the task writes that down.
    """
    airflow.wait_for_dag(dag_id)
    file = directory / f"{airflow.api.trigger(dag_id)}.json"
    # Asking Airflow would take processor time from the task.
    wait_for("the task to end", file.exists, airflow.components.values(), seconds=3600)
    return Measurement(**json.loads(file.read_text()))


def place_of(directory: Path, sink: str) -> Place:
    """
    Return where the orders are and where they go.

    :param directory: Where the server's data is.
    :param sink: URL of what stands for FullStory.
    """
    return Place({"host": str(directory / "postgresql"), "user": USER, "dbname": "warehouse"}, sink)


@contextmanager
def running_sink(answer_seconds: float) -> Iterator[str]:
    """
    Run what stands for FullStory, and give its URL.

    :param answer_seconds: How long it takes to answer.
    """
    command = [sys.executable, "-m", "benchmarks.sink", "--answer-seconds", str(answer_seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None  # noqa: S101 - Tells the type checker.
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


def _connection(url: str) -> str:
    return json.dumps({"conn_type": "fullstory", "host": url, "password": "na1.emulator/admin"})


def main() -> None:
    """Measure, print and write down."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pipeline", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="(default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(default: %(default)s)")
    arguments = parser.parse_args()
    console = Console(highlight=False, soft_wrap=True)
    measured: dict[tuple[int, str], list[Measurement]] = {}
    with temporary_directory() as directory:
        console.print(f"Starting PostgreSQL with {arguments.rows:,} orders, and Airflow ...")
        with running_bench(directory, arguments.rows) as bench:
            for number in range(arguments.rounds):
                for sink in range(len(ANSWER_SECONDS)):
                    for contender in CONTENDERS:
                        one = bench.run(contender, sink)
                        if one.result != arguments.rows:
                            raise RuntimeError(f"{contender} has sent {one.result} orders.")
                        measured.setdefault((sink, contender), []).append(one)
                        console.print(
                            f"round {number + 1}, answers after {ANSWER_SECONDS[sink]:g} s, {contender}: "
                            f"{one.seconds:.1f} s, {one.peak_bytes / 1e6:.0f} MB"
                        )
    for sink, seconds in enumerate(ANSWER_SECONDS):
        console.print(_table(f"Answers after {seconds:g} s", sink, measured, arguments.rows))
    console.print(_NOTE)
    versions = {peer.package: peer.version() for peer in PEERS.values()}
    path = write_results("pipeline", _results(measured, arguments.rows), versions)
    console.print(f"Medians of {plural(arguments.rounds, 'round')}; each is in {path}.")


def _table(title: str, sink: int, measured: dict[tuple[int, str], list[Measurement]], rows: int) -> Table:
    columns = ("", "Seconds", "Rows a second", "pandas' time / its", "Peak MB", "of that, imports")
    table = Table(*columns, title=title, title_justify="left")
    pandas = _seconds(measured[sink, next(iter(CONTENDERS))])
    for contender in CONTENDERS:
        rounds = measured[sink, contender]
        seconds = _seconds(rounds)
        table.add_row(
            contender,
            f"{seconds:.1f}",
            f"{rows / seconds:,.0f}",
            f"{pandas / seconds:.1f}",
            f"{statistics.median(one.peak_bytes for one in rounds) / 1e6:.0f}",
            f"{statistics.median(one.before_bytes for one in rounds) / 1e6:.0f}",
        )
    return table


def _seconds(rounds: Sequence[Measurement]) -> float:
    return statistics.median(one.seconds for one in rounds)


def _results(measured: dict[tuple[int, str], list[Measurement]], rows: int) -> list[dict[str, Any]]:
    return [
        {
            "contender": contender,
            "answer_seconds": ANSWER_SECONDS[sink],
            "rows": rows,
            "rounds": [dataclasses.asdict(one) for one in rounds],
        }
        for (sink, contender), rounds in measured.items()
    ]


if __name__ == "__main__":
    main()
