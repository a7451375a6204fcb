"""The command `python -m chaos`."""

from __future__ import annotations

import argparse
import random
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from chaos.breaking import Breaker
from chaos.plan import KINDS, MODES, SEED_STEP, plan
from chaos.records import create_records
from chaos.rounds import PROCESSING_SECONDS, Outcome, Round, RoundFailedError
from demo.processes import ProcessDiedError
from demo.services import running_services, temporary_directory

if TYPE_CHECKING:
    from chaos.plan import Plan

DAGS = Path(__file__).with_name("dags")
RECORDS = 200_000
#: Below the delay of a delayed answer.
TIMEOUT = 3
#: What is dead is to be noticed soon.
SETTINGS = {
    "AIRFLOW__CORE__PARALLELISM": "12",
    "AIRFLOW__SCHEDULER__JOB_HEARTBEAT_SEC": "1",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "8",
    # Each heartbeat writes the time of the one before it: with the default of 5 seconds, a scheduler that
    # is well can look older than the threshold, and takes its own tasks for orphans.
    "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "10",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "8",
}


def main() -> int:
    """Run rounds, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m chaos",
        description="Break imports on a real Airflow, and check that every record arrives exactly once.",
    )
    parser.add_argument(
        "--rounds", type=int, default=len(KINDS) * len(MODES), help="how many (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, help="of the first round (default: a new one)")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    first = random.SystemRandom().randrange(10**6) if arguments.seed is None else arguments.seed
    console = Console(highlight=False, soft_wrap=True)
    try:
        _run(console, [plan(first + number * SEED_STEP) for number in range(arguments.rounds)])
    except KeyboardInterrupt:
        console.print("Interrupted.")
        return 128 + signal.SIGINT
    except (ProcessDiedError, RoundFailedError, TimeoutError) as error:
        for text in (str(error), *getattr(error, "__notes__", ())):
            console.print(text, markup=False)
        return 1
    return 0


def _run(console: Console, plans: list[Plan]) -> None:
    with temporary_directory() as directory:
        state = directory / "state"
        settings = SETTINGS | {"CHAOS_STATE": f"file://{state}"}
        console.print("Starting PostgreSQL, the emulator and Airflow ...")
        with running_services(
            directory, PROCESSING_SECONDS, DAGS, settings, TIMEOUT, has_own_metadata=True
        ) as services:
            create_records(services.warehouse, RECORDS)
            services.metadata.give_up_idle_transactions("airflow", seconds=10)
            services.airflow.wait_until_healthy()
            for dag_id in MODES:
                services.airflow.wait_for_dag(dag_id)
            breaker = Breaker(services)
            one = Round(services, breaker, state, RECORDS)
            outcomes = []
            for number, each in enumerate(plans, start=1):
                what = ", ".join(map(str, each.breakages))
                console.print(f"{number}/{len(plans)} seed {each.seed}, {each.dag_id}: {what}", end=" ... ")
                try:
                    outcome = one.run(each)
                except Exception as error:
                    console.print("FAILED", style="bold red")
                    error.add_note(f"Repeat this round with: make chaos SEED={each.seed} ROUNDS=1")
                    raise
                outcomes.append(outcome)
                missed = f", {len(outcome.missed)} too late" if outcome.missed else ""
                console.print(
                    f"{outcome.tries} tries, {outcome.requests} posts, {outcome.seconds:.0f} s{missed}"
                )
    _conclude(console, plans, outcomes)


def _conclude(console: Console, plans: list[Plan], outcomes: list[Outcome]) -> None:
    broken = Counter(breakage.kind for outcome in outcomes for breakage in outcome.broken)
    table = Table("What was broken", "Times", title=f"{len(plans)} rounds", title_justify="left")
    for kind in KINDS:
        table.add_row(kind, str(broken[kind]))
    console.print(table)
    modes = Counter(each.dag_id.removeprefix("chaos_") for each in plans)
    console.print(
        f"{len(plans)} rounds of {RECORDS:,} records each ("
        + ", ".join(f"{count} {mode}" for mode, count in sorted(modes.items()))
        + f"), {broken.total()} breakages, {sum(outcome.tries for outcome in outcomes)} tries: every record "
        "is in FullStory exactly once, every task is green, every report adds up, and a "
        "clear afterwards sends nothing.",
        style="green",
    )


if __name__ == "__main__":
    sys.exit(main())
