"""
A sync of users from PostgreSQL: all are new, nothing has changed since, and one in a hundred has.

``python -m benchmarks.users`` runs the operator with ``insert_id="*"`` in tasks of a real Airflow, one after
the other, and prints what each took. FullStory is the emulator, so a run that sends waits for that, too.
"""

from __future__ import annotations

import argparse
import dataclasses
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.table import Table

from benchmarks.machine import write_results
from benchmarks.pipeline import run_task, running_airflow
from demo.emulator import Emulator
from demo.services import temporary_directory
from demo.warehouse import Warehouse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.process import Measurement

#: A user has a name, an email and six properties of five types.
QUERY: Final = """
    SELECT customer_id AS uid, name AS display_name, email, plan, seats, lifetime_value, is_subscribed,
           customer_since, last_order_at
    FROM customers
    ORDER BY number
"""
_TABLE: Final = """
    CREATE TABLE customers AS
    SELECT number, 'customer-' || number AS customer_id, 'Zoë Müller ' || number AS name,
           'customer-' || number || '@example.com' AS email,
           CASE WHEN number % 4 = 0 THEN NULL ELSE 'plan-' || number % 7 END AS plan,
           number % 50 AS seats, (number % 100000)::numeric(10, 2) / 100 AS lifetime_value,
           number % 3 = 0 AS is_subscribed, DATE '2020-01-01' + (number % 2000)::int AS customer_since,
           TIMESTAMPTZ '2026-01-01 00:00:00+00' + number * INTERVAL '1 second' AS last_order_at
    FROM generate_series(1, {count}) AS number
"""
_CHANGE: Final = "UPDATE customers SET seats = seats + 1 WHERE number % 100 = 0"
_DAGS: Final = Path(__file__).parent / "dags" / "users"


def main() -> None:
    """Measure, print and write down."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.users", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="(default: %(default)s)")
    arguments = parser.parse_args()
    console = Console(highlight=False, soft_wrap=True)
    measured = dict(_runs(console, arguments.rows))
    table = Table("Run", "Users sent", "Seconds", "us a row", "Peak MB")
    for name, one in measured.items():
        table.add_row(
            name,
            f"{one.result:,}",
            f"{one.seconds:.1f}",
            f"{one.seconds / arguments.rows * 1e6:.1f}",
            f"{one.peak_bytes / 1e6:.0f}",
        )
    console.print(table)
    results = [
        {"run": name, "rows": arguments.rows, **dataclasses.asdict(one)} for name, one in measured.items()
    ]
    console.print(f"Written to {write_results('users', results)}.")


def _runs(console: Console, rows: int) -> Iterator[tuple[str, Measurement]]:
    with temporary_directory() as directory, ExitStack() as stack:
        console.print(f"Starting PostgreSQL with {rows:,} customers, the emulator and Airflow ...")
        emulator, warehouse = Emulator(directory, 0.0), Warehouse(directory)
        stack.callback(emulator.stop)
        fullstory = emulator.start()
        stack.callback(warehouse.stop)
        warehouse.start()
        _execute(warehouse, _TABLE.format(count=rows))
        airflow = stack.enter_context(
            running_airflow(
                _DAGS,
                warehouse,
                {"fullstory_default": fullstory.connection_json()},
                {"BENCHMARK_STATE": f"file://{directory}/state"},
                directory,
            )
        )
        for name, expected in (
            ("all are new", rows),
            ("nothing has changed", 0),
            ("one in a hundred has", rows // 100),
        ):
            if name.startswith("one"):
                _execute(warehouse, _CHANGE)
            one = run_task(airflow, "sync_customers", directory)
            if one.result != expected:
                raise RuntimeError(f"Where {name}, {one.result} users were sent.")
            yield name, one


def _execute(warehouse: Warehouse, statement: str) -> None:
    with warehouse.cursor() as cursor:
        cursor.execute(statement)


if __name__ == "__main__":
    main()
