"""The runs of all tasks: tries, retries, waits in the triggerer, and how they end."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from month.processes import Run, Try
from month.surroundings import Kill
from month.tasks import ANY_NUMBER

if TYPE_CHECKING:
    import random
    from collections import Counter
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provider_fullstory.emulator.client import EmulatorClient
    from airflow_provider_fullstory.operators.imports import FullStoryImportOperator
    from month.plan import Hour
    from month.processes import Deferral, Ending
    from month.table import Table

#: Seconds after which Airflow tries again.
RETRY_DELAY: Final = 120
_TRIES: Final = 3
#: A try of a few batches makes about so many writes.
_WRITES: Final = 24
#: What comes after the wait makes about so many.
_WRITES_AT_THE_END: Final = 8
_OPEN_RUN: Final = re.compile(r"[Rr]un '([^']+)' of task '[^']+' in DAG '([^']+)'")
#: What no retry fixes.
_FINAL: Final = frozenset({"FullStoryRecordsRefusedError", "FullStoryAmbiguousError"})
#: What a run may fail with although nothing is down.
_EXPECTED: Final = frozenset(
    {"FullStoryRecordsRefusedError", "FullStorySyncOpenError", "FullStoryHoldLostError"}
)
#: The DAGs whose runs read all that is new.
_READS_ALL: Final = frozenset({"hourly", "second"})


class MonthFailedError(Exception):
    """Say what did not come out as it should."""


def kill(chance: random.Random, writes: int = _WRITES) -> Kill:
    """Return when a try is killed: mostly before its last write, sometimes not at all."""
    return Kill(chance.randint(1, writes), is_done=chance.random() < 0.5)


@dataclass(frozen=True)
class Late:
    """
    A deferred run that comes back hours later.

    :param due: The hour.
    :param run: The run.
    :param deferral: What goes on.
    :param moment: What was committed when it read.
    """

    due: int
    run: Run
    deferral: Deferral
    moment: int


class Runs:
    """
    Run tasks as Airflow does, and do for a failed one what its message says.

    :param log: The file of their log.
    :param operator: The operator of the tasks.
    :param table: The table that they import.
    :param emulator: FullStory, for which time passes as well.
    :param counts: Counts what happens.
    :param is_failing: Returns whether anything fails, so that a run may fail.
    """

    def __init__(
        self,
        log: Path,
        operator: type[FullStoryImportOperator],
        table: Table,
        emulator: EmulatorClient,
        counts: Counter[str],
        *,
        is_failing: Callable[[], bool],
    ) -> None:
        self._log = log
        self._operator = operator
        self._table = table
        self._emulator = emulator
        self._counts = counts
        self._is_failing = is_failing
        self._runs: dict[tuple[str, str], Run] = {}
        self.green: list[Run] = []
        self.red: dict[tuple[str, str], Run] = {}
        self.late: list[Late] = []
        #: Files of refused records that nobody has imported yet.
        self.files: list[str] = []
        #: How far clocks are ahead of this machine's, in seconds.
        self.ahead = 0.0

    def new(self, dag_id: str, run_id: str, arguments: dict[str, Any]) -> Run:
        """Return a new run, which is still to be tried."""
        run = Run(dag_id, run_id, self._operator, arguments, time.time() + self.ahead)
        self._runs[dag_id, run_id] = run
        self._counts["runs"] += 1
        return run

    def start(self, run: Run, **options: Any) -> Try:
        """Start a try."""
        self._counts["tries"] += 1
        return Try(run, self._log, self.ahead, **options)

    def wait(self, seconds: float) -> None:
        """Let time pass, for all processes that are yet to begin, and for FullStory."""
        self.ahead += seconds
        self._emulator.advance_clock(seconds)

    def finish(
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
        happenings = set() if hour is None else set(hour.happenings)
        while True:
            self._note(run, ending)
            if ending.state == "success":
                self._is_green(run, moment)
                return ending
            if ending.deferral is not None:
                if "deferred, and never came back" in happenings:
                    self._counts["deferred runs that never came back"] += 1
                    break
                if hour is not None and "deferred, and came back hours later" in happenings:
                    self.late.append(Late(hour.number + 2, run, ending.deferral, moment))
                    return ending
                self._counts["deferred runs that came back"] += 1
                is_killed = "deferred, and killed when it came back" in happenings
                happenings.clear()
                when = kill(chance, _WRITES_AT_THE_END) if chance is not None and is_killed else None
                ending = self.start(run, deferral=ending.deferral, kill=when, **changes).end()
                continue
            if ending.error == "FullStorySyncOpenError" and self._finish_open(ending):
                ending = self.cleared(run, **changes)
                continue
            tries -= 1
            if tries <= 0 or ending.error in _FINAL:
                break
            self._counts["retries"] += 1
            self.wait(RETRY_DELAY)
            ending = self.start(run, **changes).end()
        self.red[run.dag_id, run.run_id] = run
        self._counts["red runs"] += 1
        return ending

    def cleared(self, run: Run, **changes: Any) -> Ending:
        """Clear a run, and return how its next try ends."""
        self.wait(RETRY_DELAY)
        run.clear(time.time() + self.ahead)
        self.late = [late for late in self.late if late.run is not run]
        return self.start(run, **changes).end()

    def _is_green(self, run: Run, moment: int) -> None:
        self.red.pop((run.dag_id, run.run_id), None)
        self._counts["green runs"] += 1
        if run.dag_id in _READS_ALL:
            self.green.append(run)
            self._table.seen = max(self._table.seen, moment)

    def _note(self, run: Run, ending: Ending) -> None:
        if ending.state == "killed":
            self._counts["kills"] += 1
            return
        if ending.state == "failed":
            self._counts[f"failures: {ending.error}"] += 1
            if not self._is_failing() and ending.error not in _EXPECTED:
                raise MonthFailedError(
                    f"{run.dag_id} {run.run_id} failed: {ending.error}: {ending.message} See {self._log}."
                )
        if ending.report is not None and ending.report["imported"] is not None:
            self._check(run, ending.report)
            if ending.report["rejected_uri"] and ending.state == "success" and run.dag_id != "file":
                self.files.append(ending.report["rejected_uri"])

    def _check(self, run: Run, report: dict[str, Any]) -> None:
        self._counts["reports that add up"] += 1
        self._counts["records that were skipped"] += report["skipped"]
        names = ("imported", "invalid", "rejected", "skipped")
        if report["records"] != sum(report[name] for name in names):
            raise MonthFailedError(f"The report of {run.dag_id} {run.run_id} does not add up: {report}")

    def _finish_open(self, ending: Ending) -> bool:
        """Do what the message says: clear the run that left its import open. Return whether it is green."""
        found = _OPEN_RUN.search(ending.message)
        if found is None:
            raise MonthFailedError(f"The message does not name the run: {ending.message}")
        run = self._runs[found.group(2), found.group(1)]
        self._counts["imports that a person finished"] += 1
        moment = self._table.moment
        ending = self.finish(run, self.cleared(run, max_rejected=ANY_NUMBER), moment, max_rejected=ANY_NUMBER)
        if ending.state != "success" and not self._is_failing():
            raise MonthFailedError(f"{run.run_id} was cleared, and is not green: {ending.message}")
        return ending.state == "success"
