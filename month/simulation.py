"""The month of one sync, hour by hour."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import TYPE_CHECKING

from month.outages import Outages
from month.people import People
from month.runs import MonthFailedError, Runs, kill
from month.table import HOUR, REJECTED_NOTE, START

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_fullstory.emulator.client import EmulatorClient
    from demo.warehouse import Warehouse
    from month.plan import Hour
    from month.processes import Ending, Run
    from month.tasks import Kind
    from month.workers import Outcome

_DAY = timedelta(days=1)


class Simulation:
    """
    Let a sync run every hour, with all that a plan says.

    :param kind: The kind of sync.
    :param hours: The plan.
    :param directory: Where state, files and logs go.
    :param emulator: FullStory, which nobody else uses.
    :param warehouse: The database, which nobody else uses.
    :param outcome: How the month goes, for others to read.
    """

    def __init__(
        self,
        kind: Kind,
        hours: list[Hour],
        *,
        directory: Path,
        emulator: EmulatorClient,
        warehouse: Warehouse,
        outcome: Outcome,
    ) -> None:
        self._kind = kind
        self._hours = hours
        self._directory = directory
        self._emulator = emulator
        self._outcome = outcome
        self._counts = counts = outcome.counts
        self._log = directory / "tries.log"
        self._outages = Outages(emulator, warehouse, counts)
        self._table = kind.table(warehouse, counts)
        self._runs = Runs(
            self._log,
            kind.operator,
            self._table,
            emulator,
            counts,
            is_failing=lambda: self._outages.is_failing,
        )
        self._people = People(kind, directory, self._runs, self._table, counts)
        emulator.order_rejection("properties.note", [REJECTED_NOTE])

    def run(self) -> None:
        """
        Run the month.

        :raises MonthFailedError: If something did not come out as it should.
        """
        for hour in self._hours:
            self._run_hour(hour)
        self._conclude()

    def _run_hour(self, hour: Hour) -> None:
        chance = random.Random(hour.seed)  # noqa: S311 - Chance that can be repeated is the point.
        # With many retries, the hour before may have lasted longer.
        self._runs.wait(max(0.0, (hour.number + 1) * HOUR.total_seconds() - self._runs.ahead))
        self._outages.turn_to(hour.outage)
        if self._outages.has_database:
            self._table.write(hour.number, chance)
        for late in [late for late in self._runs.late if late.due <= hour.number]:
            self._runs.late.remove(late)
            self._counts["deferred runs that came back hours later"] += 1
            ending = self._runs.start(late.run, deferral=late.deferral).end()
            self._runs.finish(late.run, ending, late.moment)
        self._run_tasks(hour, chance)
        self._people.meddle(hour, chance, is_failing=self._outages.is_failing)
        if (hour.number + 1) * HOUR % _DAY == timedelta():
            self._audit()

    def _run_tasks(self, hour: Hour, chance: random.Random) -> None:
        """Run the hourly task, and what runs at the same time."""
        runs = self._due(hour, chance)
        self._outages.order_faults(hour, chance)
        commits = None
        if "committed during the read" in hour.happenings and self._outages.has_database:
            self._table.begin(hour.number, chance)
            commits = self._table.commit
        moment = self._table.moment
        is_left = "killed and left" in hour.happenings
        victim = chance.choice(runs) if is_left or "killed and retried" in hour.happenings else None
        when = kill(chance)
        tries = [
            self._runs.start(
                run, kill=when if run is victim else None, commits=commits if run is runs[0] else None
            )
            for run in runs
        ]
        endings = [each.end() for each in tries]
        # The query may have failed, or its process may have died before.
        self._table.commit()
        for run, ending in zip(runs, endings, strict=True):
            once = {"tries": 1} if is_left and run is victim else {}
            self._runs.finish(run, ending, moment, hour=hour, chance=chance, **once)
        self._outages.forget_faults()

    def _due(self, hour: Hour, chance: random.Random) -> list[Run]:
        """Return the runs of an hour."""
        runs = [self._hourly(hour, "hourly", f"scheduled-{hour.number}")]
        if "two runs at once" in hour.happenings:
            runs.append(self._hourly(hour, "hourly", f"manual-{hour.number}"))
            self._counts["runs beside another of the DAG"] += 1
        if "second DAG at once" in hour.happenings:
            runs.append(self._hourly(hour, "second", f"scheduled-{hour.number}"))
            self._counts["runs of a second DAG"] += 1
        if "backfill at once" in hour.happenings:
            self._audit()
            begin = START + chance.randint(0, hour.number * HOUR // _DAY) * _DAY
            arguments = self._kind.backfill(self._directory, begin, _DAY)
            runs.append(self._runs.new("backfill", f"manual-{hour.number}", arguments))
            self._counts["backfills"] += 1
        if "full refresh" in hour.happenings:
            self._audit()
            runs[0].conf = {"full_refresh": True}
            self._counts["full refreshes"] += 1
        return runs

    def _hourly(self, hour: Hour, dag_id: str, run_id: str) -> Run:
        arguments = self._kind.hourly(self._directory)
        arguments["deferrable"] = any(what.startswith("deferred") for what in hour.happenings)
        if "no refused record allowed" in hour.happenings:
            arguments["max_rejected"] = 0
        return self._runs.new(dag_id, run_id, arguments)

    def _audit(self, *, has_ended: bool = False) -> None:
        """Compare what FullStory has so far: what comes next could make good what was lost."""
        self._counts["comparisons"] += 1
        differences = self._table.differences(self._emulator)
        if has_ended:
            differences.doubled += self._table.sent_again(self._emulator)
        self._outcome.differences = differences
        if differences:
            raise MonthFailedError(f"FullStory differs from the warehouse: {differences}. See {self._log}.")

    def _conclude(self) -> None:
        """Let the sync run once more in peace, and compare all; then a full refresh must find nothing."""
        self._outages.turn_to("")
        self._table.conclude()
        self._run_alone("last")
        if self._table.seen != self._table.moment:
            raise MonthFailedError("The last run of the month is not green.")
        self._audit()
        if self._kind.insert_id:
            ending = self._run_alone("refresh", full_refresh=True)
            if ending.report is None or ending.report["imported"]:
                raise MonthFailedError(f"A full refresh at the end sent records: {ending.report}")
        self._audit(has_ended=True)

    def _run_alone(self, run_id: str, **arguments: bool) -> Ending:
        self._runs.wait(HOUR.total_seconds())
        run = self._runs.new("hourly", run_id, self._kind.hourly(self._directory) | arguments)
        return self._runs.finish(run, self._runs.start(run).end(), self._table.moment)
