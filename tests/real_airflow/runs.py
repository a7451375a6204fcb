"""One run of a DAG, followed to its end and looked at from all sides."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from demo.comparison import imported_events
from demo.processes import wait_for
from tests.accounting import check_accounted

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from airflow_provider_fullstory.emulator.client import EmulatorClient
    from demo.airflow_api import TaskInstance
    from demo.services import Services


@dataclass(frozen=True)
class Run:
    """A run of a DAG that was triggered."""

    services: Services
    dag_id: str
    run_id: str

    @classmethod
    def trigger(
        cls,
        services: Services,
        dag_id: str,
        logical_date: datetime | None = None,
        conf: dict[str, Any] | None = None,
    ) -> Run:
        """Do what the button "Trigger" does; it fills in the present time as the logical date."""
        airflow = services.airflow
        airflow.wait_for_dag(dag_id)
        run_id = airflow.api.trigger(dag_id, conf, logical_date or airflow.now())
        return cls(services, dag_id, run_id)

    def wait_until(self, state: str, task_id: str) -> None:
        """Wait until a task is in this state, and fail when it fails instead."""

        def is_reached() -> bool:
            tasks = self.tasks()
            self._fail_with(tasks)
            return any(task.task_id == task_id and task.state == state for task in tasks)

        self.wait(f"{task_id} to be {state}", is_reached)

    def wait_for_success(self) -> None:
        def has_ended() -> bool:
            self._fail_with(self.tasks())
            return self.services.airflow.api.run_state(self.dag_id, self.run_id) == "success"

        self.wait(f"{self.dag_id} to succeed", has_ended)

    def wait_for_try(self, number: int, *states: str) -> None:
        """Wait until the only task is in one of these states in this try, or in a later one."""

        def is_reached() -> bool:
            [task] = self.tasks()
            return task.try_number >= number and task.state in states

        self.wait(f"try {number} to be {' or '.join(states)}", is_reached)

    def wait_for_log(self, task_id: str, text: str) -> None:
        self.wait(f"the log to say {text!r}", lambda: text in self.logs(task_id))

    def wait(self, what: str, ask: Callable[[], bool]) -> None:
        """Wait until there is an answer that counts as true, and say where the tasks are if none comes."""
        airflow = self.services.airflow
        try:
            wait_for(what, ask, airflow.components.values(), seconds=180)
        except TimeoutError as error:
            states = [f"{task.task_id} is {task.state} in try {task.try_number}." for task in self.tasks()]
            tail = airflow.task_log_tail(self.dag_id, self.run_id)
            error.add_note("\n".join([*states, "The end of the logs:", tail]))
            raise

    def tasks(self) -> list[TaskInstance]:
        return self.services.airflow.api.task_instances(self.dag_id, self.run_id)

    def result(self, task_id: str, map_index: int = -1) -> Any:
        result = self.services.airflow.api.xcom(self.dag_id, self.run_id, task_id, map_index)
        if isinstance(result, dict) and result.get("imported") is not None:
            check_accounted(result)
        return result

    def events(self) -> list[dict[str, Any]]:
        """Return everything that the emulator has imported, with each number as it was written."""
        return list(imported_events(self.services.emulator.url))

    def logs(self, task_id: str) -> str:
        """Return what a task has logged, on workers and in the triggerer."""
        logs = self.services.airflow.task_logs(self.dag_id, self.run_id)
        return "\n".join(log.read_text() for log in logs if f"task_id={task_id}" in log.parts)

    def visible_text(self, task_id: str) -> str:
        """Return all that Airflow keeps and shows of a task: rendered fields, XComs and logs."""
        rendered = [task.rendered_fields for task in self.tasks() if task.task_id == task_id]
        xcoms = self.services.airflow.api.xcoms(self.dag_id, self.run_id)
        own_xcoms = [xcom for xcom in xcoms if xcom["task_id"] == task_id]
        logs = self.logs(task_id)
        assert rendered
        assert own_xcoms
        assert logs
        return json.dumps([rendered, own_xcoms], ensure_ascii=False) + logs

    def _fail_with(self, tasks: list[TaskInstance]) -> None:
        for task in tasks:
            if task.state in {"failed", "up_for_retry", "upstream_failed"}:
                tail = self.services.airflow.task_log_tail(self.dag_id, self.run_id)
                pytest.fail(f"{task.task_id} is {task.state}. The end of its log:\n{tail}", pytrace=False)


def assert_keeps_secrets(text: str, emulator: EmulatorClient, *people: str) -> None:
    """Check that a text holds no API key and nobody's name."""
    for secret in (*emulator.keys, *people):
        assert secret not in text


def made_runs(services: Services, dag_id: str, run_type: str, count: int = 1) -> list[Run]:
    """Wait until Airflow has made so many runs of a DAG."""
    api = services.airflow.api

    def runs() -> list[Run]:
        return [Run(services, dag_id, run.run_id) for run in api.dag_runs(dag_id) if run.run_type == run_type]

    components = services.airflow.components.values()
    wait_for(f"{count} {run_type} runs of {dag_id}", lambda: len(runs()) >= count, components)
    return runs()
