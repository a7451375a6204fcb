"""What all tests share: a context to execute tasks in, without a database."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import tempfile
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_fullstory.emulator.client import EmulatorClient

# Before anything imports Airflow: it reads its configuration once.
_HOME = tempfile.TemporaryDirectory(prefix="airflow-")
os.environ["AIRFLOW_HOME"] = _HOME.name
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "False"
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"


class FakeTaskInstance:
    """The part of a task instance that the package uses."""

    def __init__(self, run_id: str = "run-1", map_index: int = -1) -> None:
        self.dag_id = "dag"
        self.run_id = run_id
        self.task_id = "task"
        self.map_index = map_index
        self.try_number = 1
        self.max_tries = 3
        self.xcoms: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value


@pytest.fixture
def make_context() -> Callable[..., Any]:
    """Make the context of one run of a task."""

    def make(**identity: Any) -> dict[str, Any]:
        instance = FakeTaskInstance(**identity)
        return {"ti": instance, "task_instance": instance, "run_id": instance.run_id}

    return make


@pytest.fixture
def context(make_context: Callable[..., Any]) -> Any:
    """Give the context of a run."""
    return make_context()


def run(operator: Any, context: Any) -> Any:
    """
    Run a task as Airflow does, deferrals included.

    The trigger is made anew from what Airflow stores of it, and so is the operator's state: only the event
    comes back.
    """
    from airflow.providers.common.compat.sdk import TaskDeferred

    try:
        return operator.execute(context)
    except TaskDeferred as deferral:
        path, arguments = deferral.trigger.serialize()
        module, _, name = path.rpartition(".")
        trigger = getattr(importlib.import_module(module), name)(**json.loads(json.dumps(arguments)))
        event = json.loads(json.dumps(asyncio.run(anext(trigger.run())).payload))
        return getattr(operator, deferral.method_name)(context, event=event)


@pytest.fixture(autouse=True)
def workers_exit_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker has to end before a trigger that a test runs may fire."""
    monkeypatch.setattr("airflow_provider_fullstory.triggers.fullstory._worker_exit_seconds", lambda: 0.0)


@pytest.fixture
def emulator(fullstory_emulator: EmulatorClient, monkeypatch: pytest.MonkeyPatch) -> EmulatorClient:
    """Give an emulator that the connection fullstory_default leads to."""
    monkeypatch.setenv("AIRFLOW_CONN_FULLSTORY_DEFAULT", fullstory_emulator.connection_json())
    return fullstory_emulator
