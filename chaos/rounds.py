"""A round: one sync, what goes wrong with it, and what is in FullStory afterwards."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chaos.plan import BY_HAND, TASK_ID
from chaos.records import BATCH_SIZE, compare_records
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
        # With few events left, all batches would be made before the first is sent.
        self._services.emulator.configure(event_quota=10**9)
        began = time.monotonic()
        run_id = self._services.airflow.api.trigger(plan.dag_id)
        broken = self._break(plan, run_id)
        seconds = time.monotonic() - began
        # Whatever still runs may still send.
        wait_for("the last worker to be idle", self._breaker.has_no_workers)
        self._breaker.clear_up()
        self._breaker.wait_until_healthy()
        self._check_records()
        self._check_report(plan, run_id)
        outcome = Outcome(
            broken=broken,
            missed=[breakage for breakage in plan.breakages if breakage not in broken],
            tries=self._task(plan, run_id).try_number,
            requests=self._requests(),
            seconds=seconds,
        )
        self._check_clear(plan, run_id, outcome)
        return outcome

    def _break(self, plan: Plan, run_id: str) -> list[Breakage]:
        """Break what is planned, when it is time, until the task has ended."""
        to_come, broken = list(plan.breakages), []
        deadline = time.monotonic() + _MOST_SECONDS
        accepted_at: float | None = None
        while self._is_going_on(plan, run_id, deadline) or (to_come and to_come[0].kind in BY_HAND):
            self._breaker.revive()
            progress = self._progress(plan)
            if progress == 1:
                accepted_at = accepted_at or time.monotonic()
                progress += (time.monotonic() - accepted_at) / _SECONDS_OF_PROGRESS
            is_due = bool(to_come) and progress >= to_come[0].progress
            if is_due and self._breaker.break_now(to_come[0], plan.dag_id, run_id):
                broken.append(to_come.pop(0))
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        return broken

    def _is_going_on(self, plan: Plan, run_id: str, deadline: float) -> bool:
        """Return whether the task has not ended, and fail where it has not ended well."""
        state = self._task(plan, run_id).state
        if state == "failed" or time.monotonic() > deadline:
            tail = self._services.airflow.task_log_tail(plan.dag_id, run_id)
            raise RoundFailedError(f"The task is {state}. The end of its log:\n{tail}")
        return state != "success"

    def _progress(self, plan: Plan) -> float:
        """Return the share of batches that were staged and accepted."""
        accepted = len(self._services.emulator.jobs())
        if not plan.dag_id.endswith("_staged"):
            return accepted / self._batches
        if accepted == self._batches:
            return 1
        staged = sum(1 for _ in self._state.rglob("*.json.gz"))
        return (staged + accepted) / (2 * self._batches)

    def _check_records(self) -> None:
        if differences := compare_records(self._services.warehouse, self._services.emulator.url):
            raise RoundFailedError(f"FullStory differs from the warehouse: {differences}.")

    def _check_report(self, plan: Plan, run_id: str) -> None:
        report: dict[str, Any] = self._services.airflow.api.xcom(plan.dag_id, run_id, TASK_ID)
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
        if left := list(self._state.rglob("*.json.gz")):
            raise RoundFailedError(f"{len(left)} staged batches were left behind, such as {left[0]}.")

    def _check_clear(self, plan: Plan, run_id: str, outcome: Outcome) -> None:
        """Clear the task that has ended: it is to end well once more, and to send nothing."""
        self._services.airflow.api.clear(plan.dag_id, run_id, TASK_ID)
        deadline = time.monotonic() + _MOST_SECONDS
        while self._is_going_on(plan, run_id, deadline):
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        wait_for("the last worker to be idle", self._breaker.has_no_workers)
        if self._task(plan, run_id).try_number <= outcome.tries:
            raise RoundFailedError("The finished task was cleared, and did not run again.")
        if sent := self._requests() - outcome.requests:
            raise RoundFailedError(f"A clear of the finished task made it post {sent} batches.")
        # So the records are as they were.
        self._check_report(plan, run_id)

    def _requests(self) -> int:
        """Return how many batches were posted."""
        return sum(request["method"] == "POST" for request in self._services.emulator.requests())

    def _task(self, plan: Plan, run_id: str) -> TaskInstance:
        [task] = self._services.airflow.api.task_instances(plan.dag_id, run_id)
        return task
