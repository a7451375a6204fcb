"""The month of one sync, hour by hour."""

from __future__ import annotations

import json
import random
import re
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from demo.comparison import imported_events
from month.comparison import compare
from month.processes import Deferral, Kill, Run, Try
from month.tasks import ANY_NUMBER
from month.warehouse import HOUR, REJECTED_NOTE, START, Records, fixed_customer

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_fullstory.emulator.client import EmulatorClient
    from demo.warehouse import Warehouse
    from month.comparison import Differences
    from month.plan import Hour
    from month.processes import Ending
    from month.tasks import Kind
    from month.workers import Outcome

_SECONDS_TO_RETRY: Final = 300
_TRIES: Final = 3
_UPLOADS: Final = {"method": "POST", "path": "/v2/events/batch"}
#: A try of a few batches makes about so many writes.
_WRITES: Final = 24
_OPEN_RUN: Final = re.compile(r"[Rr]un '([^']+)' of task '[^']+' in DAG '([^']+)'")
#: What no retry fixes.
_FINAL: Final = {"FullStoryRecordsRefusedError", "FullStoryAmbiguousError"}
#: What a run may fail with although nothing is down.
_EXPECTED: Final = {
    "FullStoryRecordsRefusedError",
    "FullStorySyncOpenError",
    "FullStoryHoldLostError",
}


class MonthFailedError(Exception):
    """Say what did not come out as it should."""


@dataclass
class _Late:
    due: int
    run: Run
    deferral: Deferral
    moment: int


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
        directory: Path,
        emulator: EmulatorClient,
        warehouse: Warehouse,
        outcome: Outcome,
    ) -> None:
        self._kind = kind
        self._hours = hours
        self._directory = directory
        self._emulator = emulator
        self._warehouse = warehouse
        self._log = directory / "tries.log"
        self._outcome = outcome
        self._counts = outcome.counts
        self._records = Records(warehouse, self._counts, only_grows=not kind.insert_id)
        self._runs: dict[tuple[str, str], Run] = {}
        self._green: list[Run] = []
        self._red: dict[str, Run] = {}
        self._late: list[_Late] = []
        self._files: list[str] = []
        self._ahead = 0.0
        self._outage = ""
        self._down = ExitStack()
        emulator.order_rejection("properties.note", [REJECTED_NOTE])

    def run(self) -> None:
        """
        Run the month.

        :raises MonthFailedError: If something did not come out as it should.
        """
        for hour in self._hours:
            self._run_hour(hour)
        self._conclude()

    # An hour.

    def _run_hour(self, hour: Hour) -> None:
        chance = random.Random(hour.seed)  # noqa: S311 - Chance that can be repeated is the point.
        self._pass(3600 * (hour.number + 1) - self._ahead)
        self._begin_outage(hour.outage)
        if hour.outage != "database down":
            self._records.write(hour.number, chance)
        for late in [late for late in self._late if late.due <= hour.number]:
            self._late.remove(late)
            self._counts["deferred runs that came back hours later"] += 1
            self._finish(late.run, self._try(late.run, deferral=late.deferral).end(), late.moment)
        self._run_tasks(hour, chance)
        self._meddle(hour, chance)
        if hour.number % 24 == 23:
            self._audit()

    def _run_tasks(self, hour: Hour, chance: random.Random) -> None:
        """Run the hourly task, and what runs at the same time."""
        runs = [self._hourly(hour, "hourly", f"scheduled-{hour.number}")]
        if "two runs at once" in hour.happenings:
            runs.append(self._hourly(hour, "hourly", f"manual-{hour.number}"))
            self._counts["pairs of runs at the same moment"] += 1
        if "second DAG at once" in hour.happenings:
            runs.append(self._hourly(hour, "second", f"scheduled-{hour.number}"))
            self._counts["runs of a second DAG at the same moment"] += 1
        if "backfill at once" in hour.happenings:
            self._audit()
            runs.append(self._backfill(hour, chance))
            self._counts["backfills beside the hourly run"] += 1
        if "full refresh" in hour.happenings:
            self._audit()
            runs[0].conf = {"full_refresh": True}
            self._counts["full refreshes"] += 1
        self._order_faults(hour, chance)
        commits = None
        if "committed during the read" in hour.happenings and hour.outage != "database down":
            self._records.begin(hour.number, chance)
            commits = self._records.commit
        moment = self._records.moment
        is_killed = hour.happenings & {"killed and retried", "killed and left"}
        victim = chance.randrange(len(runs))
        kill = Kill(chance.randint(1, _WRITES), chance.random() < 0.5)
        tries = [
            self._try(
                run,
                kill=kill if is_killed and place == victim else None,
                commits=commits if place == 0 else None,
            )
            for place, run in enumerate(runs)
        ]
        endings = [each.end() for each in tries]
        self._records.commit()
        for place, (run, ending) in enumerate(zip(runs, endings, strict=True)):
            is_left = place == victim and "killed and left" in hour.happenings
            self._finish(run, ending, moment, tries=1 if is_left else _TRIES, hour=hour, chance=chance)
        if hour.outage not in {"FullStory down", "answers lost for hours"}:
            self._emulator.forget_faults()

    def _hourly(self, hour: Hour, dag_id: str, run_id: str) -> Run:
        arguments = self._kind.hourly(self._directory)
        arguments["deferrable"] = any(what.startswith("deferred") for what in hour.happenings)
        if "no refused record allowed" in hour.happenings:
            arguments["max_rejected"] = 0
        return self._new(dag_id, run_id, arguments)

    def _backfill(self, hour: Hour, chance: random.Random) -> Run:
        begin = START + chance.randint(0, hour.number // 24) * timedelta(days=1)
        arguments = self._kind.backfill(self._directory, begin, timedelta(days=1))
        return self._new("backfill", f"manual-{hour.number}", arguments)

    def _new(self, dag_id: str, run_id: str, arguments: dict[str, Any]) -> Run:
        run = Run(dag_id, run_id, arguments, self._now)
        self._runs[dag_id, run_id] = run
        self._counts["runs"] += 1
        return run

    # Tries.

    @property
    def _now(self) -> float:
        return time.time() + self._ahead

    def _try(self, run: Run, **options: Any) -> Try:
        self._counts["tries"] += 1
        return Try(run, self._log, self._ahead, **options)

    def _finish(
        self,
        run: Run,
        ending: Ending,
        moment: int,
        *,
        tries: int = _TRIES,
        hour: Hour | None = None,
        chance: random.Random | None = None,
        **changes: Any,
    ) -> Ending:
        """
        Retry a run, or resume it after its wait in the triggerer, until it is green, red or left.

        :param ending: The ending of its first try.
        :param moment: What was committed when that began.
        :param tries: How many tries there are.
        :param hour: What happens to a run that is deferred, None if nothing does.
        :param chance: When it does.
        :param changes: Arguments of the operator that are different in these tries.
        """
        left = tries - 1
        happenings = set() if hour is None else set(hour.happenings)
        while True:
            self._note(run, ending)
            if ending.state == "success":
                self._is_green(run, moment)
                return ending
            if ending.state == "deferred":
                if "deferred, and never came back" in happenings:
                    self._counts["deferred runs that never came back"] += 1
                    break
                if hour is not None and "deferred, and came back hours later" in happenings:
                    self._late.append(_Late(hour.number + 2, run, ending.deferral, moment))
                    return ending
                self._counts["deferred runs that came back"] += 1
                kill = None
                if chance is not None and "deferred, and killed when it came back" in happenings:
                    happenings.clear()
                    kill = Kill(chance.randint(1, 8), chance.random() < 0.5)
                ending = self._try(run, deferral=ending.deferral, kill=kill, **changes).end()
                continue
            if ending.error == "FullStorySyncOpenError" and self._finish_open(ending):
                ending = self._cleared(run, **changes)
                continue
            if not left or ending.error in _FINAL:
                break
            left -= 1
            self._counts["retries"] += 1
            self._pass(_SECONDS_TO_RETRY)
            ending = self._try(run, **changes).end()
        self._red[f"{run.dag_id} {run.run_id}"] = run
        self._counts["red runs"] += 1
        return ending

    def _is_green(self, run: Run, moment: int) -> None:
        self._red.pop(f"{run.dag_id} {run.run_id}", None)
        self._counts["green runs"] += 1
        if run.dag_id in {"hourly", "second"}:
            self._green.append(run)
            self._records.seen = max(self._records.seen, moment)

    def _note(self, run: Run, ending: Ending) -> None:
        if ending.state == "killed":
            self._counts["kills"] += 1
            return
        report = ending.report
        if report is not None and report["imported"] is not None:
            self._counts["reports"] += 1
            self._counts["records that were skipped"] += report["skipped"]
            accounted = sum(report[name] for name in ("imported", "invalid", "rejected", "skipped"))
            if report["records"] != accounted:
                raise MonthFailedError(f"The report of {run.run_id} does not add up: {report}")
            if report["rejected_uri"] and ending.state == "success" and run.dag_id != "file":
                self._files.append(report["rejected_uri"])
        if ending.state == "failed" and not self._outage and ending.error not in _EXPECTED:
            raise MonthFailedError(
                f"{run.dag_id} {run.run_id} failed: {ending.error}: {ending.message} See {self._log}."
            )
        if ending.state == "failed":
            self._counts[f"failures: {ending.error}"] += 1

    def _cleared(self, run: Run, **changes: Any) -> Ending:
        """Clear a run, and return how its next try ends."""
        run.clear(self._now)
        self._late = [late for late in self._late if late.run is not run]
        return self._try(run, **changes).end()

    def _finish_open(self, ending: Ending) -> bool:
        """Do what the message says: clear the run that left its import open. Return whether it is green."""
        found = _OPEN_RUN.search(ending.message)
        if found is None:
            raise MonthFailedError(f"The message does not name the run: {ending.message}")
        run = self._runs[found.group(2), found.group(1)]
        self._counts["imports finished by a person"] += 1
        self._pass(_SECONDS_TO_RETRY)
        moment = self._records.moment
        ending = self._finish(
            run, self._cleared(run, max_rejected=ANY_NUMBER), moment, max_rejected=ANY_NUMBER
        )
        if ending.state != "success" and not self._outage:
            raise MonthFailedError(f"{run.run_id} was cleared, and is not green: {ending.message}")
        return ending.state == "success"

    # What people do.

    def _meddle(self, hour: Hour, chance: random.Random) -> None:
        if "green run cleared" in hour.happenings and self._green:
            self._counts["clears of green runs"] += 1
            self._clear(chance.choice(self._green[-30:]))
        if "red run cleared" in hour.happenings and self._red:
            self._counts["clears of red runs"] += 1
            self._clear(chance.choice(list(self._red.values())[-30:]))
        if "file of refused records imported" in hour.happenings and not self._outage:
            self._import_file(chance)

    def _clear(self, run: Run) -> None:
        self._pass(_SECONDS_TO_RETRY)
        # The rows may have been read by an earlier try.
        self._finish(run, self._cleared(run), 0)

    def _import_file(self, chance: random.Random) -> None:
        """Fix the refused records of a run, and import them."""
        if not self._files:
            return
        uri = self._files.pop(chance.randrange(len(self._files)))
        versions = {
            (version.record_id, version.event()["timestamp"]): version
            for version in self._records.versions.values()
        }
        lines, chosen = [], []
        with open(uri.removeprefix("file://")) as file:  # noqa: PTH123
            for text in file:
                line = json.loads(text)
                event = line["event"]
                properties = event["properties"]
                version = versions[properties["record_id"], properties["updated_at"]]
                if version.fixed != "no" and not self._kind.insert_id:
                    continue
                event.setdefault("user", {}).setdefault("uid", fixed_customer(version.record_id))
                properties.pop("note", None)
                version.fixed = "done" if version.fixed == "done" else "begun"
                lines.append(json.dumps(line))
                chosen.append(version)
        if not lines:
            return
        number = self._counts["files of refused records imported"]
        self._counts["files of refused records imported"] += 1
        self._counts["refused records fixed in a file"] += len(lines)
        path = self._directory / f"fixed-{number}.ndjson"
        path.write_text("".join(f"{line}\n" for line in lines))
        run = self._new("file", f"manual-{number}", self._kind.file(self._directory, f"file://{path}"))
        kill = Kill(chance.randint(1, _WRITES), chance.random() < 0.5) if chance.random() < 0.3 else None
        ending = self._finish(run, self._try(run, kill=kill).end(), 0)
        if ending.state == "success":
            for version in chosen:
                version.fixed = "done"

    # What fails.

    def _order_faults(self, hour: Hour, chance: random.Random) -> None:
        if self._outage:
            return
        if "answers lost" in hour.happenings:
            times = chance.randint(1, 3)
            self._emulator.order_fault(**_UPLOADS, times=times, reset="after", after=chance.randint(0, 2))
            self._counts["answers lost"] += times
        if "server errors" in hour.happenings:
            times = chance.randint(1, 3)
            self._emulator.order_fault(times=times, status=503, after=chance.randint(0, 6))
            self._counts["server errors"] += times

    def _begin_outage(self, outage: str) -> None:
        if outage:
            self._counts[f"hours: {outage}"] += 1
        if outage == self._outage:
            return
        self._down.close()
        self._outage = outage
        if outage == "FullStory down":
            self._emulator.order_fault(times=10**9, status=503)
            self._down.callback(self._emulator.forget_faults)
        elif outage == "answers lost for hours":
            self._emulator.order_fault(**_UPLOADS, times=10**9, reset="after")
            self._down.callback(self._emulator.forget_faults)
        elif outage == "database down":
            self._down.enter_context(self._warehouse.outage())

    def _pass(self, seconds: float) -> None:
        """Let time pass, for all processes that are yet to begin, and for FullStory."""
        self._ahead += seconds
        self._emulator.advance_clock(seconds)

    # What came of it.

    def _audit(self) -> None:
        """Compare what FullStory has so far: what comes next could make good what was lost."""
        if self._outage:
            return
        self._counts["comparisons"] += 1
        differences = self._differences()
        self._outcome.differences = differences
        if differences:
            raise MonthFailedError(f"FullStory differs from the warehouse: {differences}. See {self._log}.")

    def _differences(self) -> Differences:
        return compare(
            self._records.versions.values(), imported_events(self._emulator.url), self._records.seen
        )

    def _conclude(self) -> None:
        """Let the sync run once more in peace, and compare all; then a full refresh must find nothing."""
        self._begin_outage("")
        self._pass(HOUR.total_seconds())
        run = self._new("hourly", "last", self._kind.hourly(self._directory))
        self._finish(run, self._try(run).end(), self._records.moment)
        if self._records.seen != self._records.moment:
            raise MonthFailedError("The last run of the month is not green.")
        self._audit()
        if not self._kind.insert_id:
            return
        self._pass(HOUR.total_seconds())
        run = self._new("hourly", "refresh", self._kind.hourly(self._directory) | {"full_refresh": True})
        ending = self._finish(run, self._try(run).end(), self._records.moment)
        if ending.report is None or ending.report["imported"]:
            raise MonthFailedError(f"A full refresh at the end sent records: {ending.report}")
        self._audit()
