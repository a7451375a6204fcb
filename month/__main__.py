"""The command `python -m month`."""

from __future__ import annotations

import argparse
import random
import signal
import sys
import time
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.table import Table

from demo.services import temporary_directory
from month.comparison import KINDS_OF_DIFFERENCES
from month.tasks import KINDS
from month.workers import simulate

if TYPE_CHECKING:
    from pathlib import Path

    from month.workers import Outcome


#: So wide is the table at least, also where there is no terminal.
_WIDTH: Final = 145


class MonthFailedError(Exception):
    """Say what did not come out as it should."""


def main() -> int:
    """Simulate a month, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m month",
        description="Simulate a month of hourly syncs, and check that every record arrives exactly once.",
    )
    parser.add_argument("--days", type=int, default=30, help="how long it is (default: %(default)s)")
    parser.add_argument("--seed", type=int, help="what it follows from (default: a new one)")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    seed = random.SystemRandom().randrange(10**6) if arguments.seed is None else arguments.seed
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{arguments.days} days of {len(KINDS)} syncs, seed {seed} ...")
    try:
        with temporary_directory() as directory:
            run(console, seed, arguments.days, directory)
    except KeyboardInterrupt:
        console.print("Interrupted.")
        return 128 + signal.SIGINT
    except MonthFailedError as error:
        console.print(str(error), markup=False)
        console.print(f"Repeat this month with: make month SEED={seed} DAYS={arguments.days}")
        return 1
    return 0


def run(console: Console, seed: int, days: int, directory: Path) -> None:
    """
    Simulate a month, and print what happened in it.

    :param seed: What it follows from.
    :param days: How many days it has.
    :param directory: A directory with a short path.
    :raises MonthFailedError: If FullStory differs from the warehouse, or a run failed without a reason.
    """
    began = time.monotonic()
    outcomes = simulate(seed, days, directory)
    console.width = max(console.width, _WIDTH)
    console.print(_table(outcomes))
    if failed := [outcome for outcome in outcomes if outcome.failure]:
        raise MonthFailedError(
            "\n".join(f"{outcome.kind}: {outcome.failure}" for outcome in failed)
            + f"All logs are in {directory}."
        )
    compared = sum(outcome.differences.compared for outcome in outcomes if outcome.differences is not None)
    console.print(
        f"{compared:,} records are in FullStory, each exactly once, and users as they are last; nothing is "
        f"missing, and nothing else is there. Every report adds up. ({time.monotonic() - began:.0f} s)",
        style="green",
    )


def _table(outcomes: list[Outcome]) -> Table:
    table = Table()
    table.add_column("What happened", no_wrap=True)
    for outcome in outcomes:
        table.add_column(outcome.kind, justify="right", no_wrap=True)
    for name in sorted({name for outcome in outcomes for name in outcome.counts}):
        table.add_row(name, *(f"{outcome.counts[name]:,}" for outcome in outcomes))
    table.add_section()
    for name in ("compared", *KINDS_OF_DIFFERENCES):
        table.add_row(f"records {name}", *(_count(outcome, name) for outcome in outcomes))
    return table


def _count(outcome: Outcome, name: str) -> str:
    if outcome.differences is None:
        return "?"
    value = getattr(outcome.differences, name)
    return f"{value if isinstance(value, int) else len(value):,}"


if __name__ == "__main__":
    sys.exit(main())
