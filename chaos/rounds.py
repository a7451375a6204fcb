"""A round: one sync in a run or two, what goes wrong with it, and what is in FullStory afterwards."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from chaos.plan import BY_HAND, TASK_ID
from chaos.records import BATCH_SIZE, compare_records, last_moment, load_records
from chaos.users import compare_users
from demo.processes import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from chaos.breaking import Breaker
    from chaos.plan import Breakage, Plan
    from demo.airflow_api import TaskInstance
    from demo.services import Services

PROCESSING_SECONDS = 3.0
_SECONDS_BETWEEN_LOOKS = 0.05
_MOST_SECONDS = 300
#: The hold of a process that was killed is over after two minutes.
_SECONDS_OF_A_HOLD = 150
#: Seconds of the wait for FullStory that a progress above 1 stands for.
_SECONDS_OF_PROGRESS = 30


class RoundFailedError(Exception):
    """Say what did not come out as it should."""


@dataclass(frozen=True)
class Outcome:
    """
    How a round went.

    :param broken: What went wrong on the way.
    :param missed: What was planned, but came when the task had ended.
    :param tries: How often Airflow started the task.
    :param requests: How many batches were posted.
    :param seconds: How long the task took.
    """

    broken: list[Breakage]
    missed: list[Breakage]
    tries: int
    requests: int
    seconds: float


class Round:
    """
    Run one round.

    :param services: What it runs on.
    :param breaker: What breaks it.
    :param state: Where batches are staged.
    :param records: How many records there are.
    """

    def __init__(self, services: Services, breaker: Breaker, state: Path, records: int) -> None:
        self._services = services
        self._breaker = breaker
        self._state = state
        self._records = records
        self._batches = -(-records // BATCH_SIZE)

    def run(self, plan: Plan) -> Outcome:
        """
        Run a plan, and check that every record is in FullStory exactly once.

        :raises RoundFailedError: Where one is not, or the task failed, or its report is wrong.
        """
        self._services.emulator.reset()
        # What earlier rounds have left takes time to look through.
        shutil.rmtree(self._state, ignore_errors=True)
        # With few events left, all batches would be made before the first is sent. Small pages take long.
        self._services.emulator.configure(event_quota=10**9, page_size=BATCH_SIZE)
        load_records(self._services.warehouse, 1)
        began = time.monotonic()
        run_ids = [self._services.airflow.api.trigger(plan.dag_id)]
        broken = self._break(plan, run_ids)
        seconds = time.monotonic() - began
        # Whatever still runs may still send.
        wait_for("the last worker to be idle", self._breaker.has_no_workers)
        self._breaker.clear_up()
        self._breaker.wait_until_healthy()
        self._check_records(plan)
        self._check_reports(plan, run_ids)
        outcome = Outcome(
            broken=broken,
            missed=[breakage for breakage in plan.breakages if breakage not in broken],
            tries=sum(self._task(plan, run_id).try_number for run_id in run_ids),
            requests=self._requests(),
            seconds=seconds,
        )
        for run_id in run_ids:
            self._check_clear(plan, run_id, outcome.requests)
        # So the records are as they were.
        self._check_reports(plan, run_ids)
        return outcome

    def _break(self, plan: Plan, run_ids: list[str]) -> list[Breakage]:
        """Break what is planned, when it is time, until the task has ended in all runs, which are noted."""
        to_come, broken = list(plan.breakages), []
        runs_to_come = int(plan.remembers)
        deadline = time.monotonic() + _MOST_SECONDS + plan.remembers * len(to_come) * _SECONDS_OF_A_HOLD
        accepted_at: float | None = None
        while (
            (is_going_on := self._is_going_on(plan, run_ids, deadline))
            or runs_to_come
            or (to_come and to_come[0].kind in BY_HAND)
        ):
            self._breaker.revive()
            progress = self._progress(plan)
            if runs_to_come and (progress >= plan.second_run or not is_going_on):
                runs_to_come -= 1
                load_records(self._services.warehouse, 2)
                run_ids.append(self._services.airflow.api.trigger(plan.dag_id))
            if progress >= 1 or not (is_going_on or runs_to_come):
                accepted_at = accepted_at or time.monotonic()
                progress = 1 + (time.monotonic() - accepted_at) / _SECONDS_OF_PROGRESS
            is_due = bool(to_come) and progress >= to_come[0].progress
            if is_due and self._breaker.break_now(to_come[0], plan.dag_id, run_ids[-1]):
                broken.append(to_come.pop(0))
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        return broken

    def _is_going_on(self, plan: Plan, run_ids: list[str], deadline: float) -> bool:
        """Return whether the task has not ended in a run, and fail where it has not ended well."""
        states = {run_id: self._task(plan, run_id).state for run_id in run_ids}
        for run_id, state in states.items():
            if state == "failed" or (state != "success" and time.monotonic() > deadline):
                tail = self._services.airflow.task_log_tail(plan.dag_id, run_id)
                raise RoundFailedError(f"The task is {state} in {run_id}. The end of its log:\n{tail}")
        return set(states.values()) != {"success"}

    def _progress(self, plan: Plan) -> float:
        """Return the share of batches that were staged and accepted."""
        jobs = self._services.emulator.jobs()
        if plan.remembers:
            # The last batch of each import is a smaller one.
            records: int = sum(job["records"] for job in jobs)
            # A run that began late has sent those who changed once.
            return records / (self._records * (1.5 if plan.imports_users else 1))
        accepted = len(jobs)
        if not plan.dag_id.endswith("_staged"):
            return accepted / self._batches
        if accepted == self._batches:
            return 1
        staged = sum(1 for _ in self._state.rglob("*.json.gz"))
        return (staged + accepted) / (2 * self._batches)

    def _check_records(self, plan: Plan) -> None:
        compare = compare_users if plan.imports_users else compare_records
        if differences := compare(self._services.warehouse, self._services.emulator):
            raise RoundFailedError(f"FullStory differs from the warehouse: {differences}.")

    def _check_reports(self, plan: Plan, run_ids: list[str]) -> None:
        reports = [self._services.airflow.api.xcom(plan.dag_id, run_id, TASK_ID) for run_id in run_ids]
        if plan.remembers:
            for report in reports:
                self._check_report_of_new(report)
            self._check_memory(plan)
        else:
            self._check_report_of_all(*reports)
        if left := list(self._state.rglob("*.json.gz")):
            raise RoundFailedError(f"{len(left)} staged batches were left behind, such as {left[0]}.")

    def _check_report_of_new(self, report: dict[str, Any]) -> None:
        """Check the report of what no earlier import, and no try that was killed, had brought."""
        is_accounted = report["records"] == report["imported"] + report["skipped"]
        accepted = {job["id"] for job in self._services.emulator.jobs()}
        if (
            not is_accounted
            or report["invalid"]
            or report["rejected"]
            or not accepted.issuperset(report["job_ids"])
        ):
            raise RoundFailedError(f"The report is {report}, while FullStory has the jobs {accepted}.")

    def _check_memory(self, plan: Plan) -> None:
        """Check that no import of the sync is open, and that it knows each event as imported once."""
        [file] = self._state.glob("syncs/*/sync.json")
        record = json.loads(file.read_text())
        if record["open"]:
            raise RoundFailedError(f"An import of the sync is open; its record is {record}.")
        if plan.imports_users:
            return
        files = [record["insert_ids"]["sorted"], *record["insert_ids"]["recent"]]
        count = sum(file["count"] for file in files if file)
        moment = datetime.fromisoformat(record["watermark"]["value"]["value"])
        if count != self._records or moment != last_moment(self._records):
            raise RoundFailedError(f"The sync knows {count:,} insert ids, and its record is {record}.")

    def _check_report_of_all(self, report: dict[str, Any]) -> None:
        accepted = [job["id"] for job in self._services.emulator.jobs()]
        expected = {
            "records": self._records,
            "imported": self._records,
            "invalid": 0,
            "rejected": 0,
            "batches": self._batches,
        }
        if {name: report[name] for name in expected} != expected or set(report["job_ids"]) != set(accepted):
            raise RoundFailedError(f"The report is {report}, while FullStory has the jobs {accepted}.")

    def _check_clear(self, plan: Plan, run_id: str, requests: int) -> None:
        """Clear the task that has ended: it is to end well once more, and to send nothing."""
        tries = self._task(plan, run_id).try_number
        self._services.airflow.api.clear(plan.dag_id, run_id, TASK_ID)
        deadline = time.monotonic() + _MOST_SECONDS
        while self._is_going_on(plan, [run_id], deadline):
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        wait_for("the last worker to be idle", self._breaker.has_no_workers)
        if self._task(plan, run_id).try_number <= tries:
            raise RoundFailedError("The finished task was cleared, and did not run again.")
        if sent := self._requests() - requests:
            raise RoundFailedError(f"A clear of the finished task made it post {sent} batches.")

    def _requests(self) -> int:
        """Return how many batches were posted."""
        return sum(request["method"] == "POST" for request in self._services.emulator.requests())

    def _task(self, plan: Plan, run_id: str) -> TaskInstance:
        [task] = self._services.airflow.api.task_instances(plan.dag_id, run_id)
        return task
