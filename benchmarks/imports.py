"""
What a DAG file pays for importing an operator, each time Airflow parses it.

``python -m benchmarks.imports`` imports each in new processes that have imported ``airflow.sdk``, as
Airflow's DAG processor has, and prints the medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from typing import Final

from rich.console import Console
from rich.table import Table

from benchmarks.machine import write_results

IMPORTS: Final = {
    "FullStoryImportEventsOperator": ["airflow_provider_fullstory.operators.fullstory"],
    "the same, with sensor and trigger": [
        "airflow_provider_fullstory.operators.fullstory",
        "airflow_provider_fullstory.sensors.fullstory",
        "airflow_provider_fullstory.triggers.fullstory",
    ],
    "HttpOperator": ["airflow.providers.http.operators.http"],
    "SQLExecuteQueryOperator": ["airflow.providers.common.sql.operators.sql"],
    "DbtCloudRunJobOperator": ["airflow.providers.dbt.cloud.operators.dbt"],
}
_CODE: Final = """
import importlib, json, sys, time
import airflow.sdk
from airflow.sdk import DAG
def memory():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1]) * 1024
modules, bytes, began = len(sys.modules), memory(), time.perf_counter()
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps([time.perf_counter() - began, len(sys.modules) - modules, memory() - bytes]))
"""


def main() -> None:
    """Measure, print and write down."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.imports", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="(default: %(default)s)")
    arguments = parser.parse_args()
    measured: dict[str, list[list[float]]] = {name: [] for name in IMPORTS}
    for _ in range(arguments.rounds):
        for name, modules in IMPORTS.items():
            command = [sys.executable, "-c", _CODE, *modules]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            measured[name].append(json.loads(done.stdout.splitlines()[-1]))
    table = Table("Import", "Milliseconds", "Modules", "MB")
    for name, rounds in measured.items():
        seconds, modules_loaded, size = (statistics.median(values) for values in zip(*rounds, strict=True))
        table.add_row(name, f"{seconds * 1000:.0f}", f"{modules_loaded:.0f}", f"{size / 1e6:.1f}")
    console = Console(highlight=False, soft_wrap=True)
    console.print(table)
    console.print(f"Medians of {arguments.rounds} rounds, written to {write_results('imports', measured)}.")


if __name__ == "__main__":
    main()
