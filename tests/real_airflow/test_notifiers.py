"""Notifiers where Airflow calls them: after a task in its worker, and in the triggerer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from demo.services import AIRFLOW_VERSION
from tests.annotations import POSTS, texts
from tests.real_airflow.runs import Run, assert_keeps_secrets

if TYPE_CHECKING:
    from demo.services import Services


@pytest.mark.all_airflows
def test_a_task_is_marked(services: Services) -> None:
    run = Run.trigger(services, "notifiers_task")
    run.wait_for_success()
    run.wait("the mark", lambda: texts(services.emulator) == ["Done in try 1"])
    run.wait("its note", lambda: "posted" in stages(run, "work"))


@pytest.mark.all_airflows
def test_the_end_of_a_run_is_marked_once_for_each_time(services: Services) -> None:
    run = Run.trigger(services, "notifiers_run")
    run.wait("the mark", lambda: texts(services.emulator) == [f"Done: {run.run_id}"])
    run.wait("its note", lambda: stages(run, "_dag_") == ["posted"])
    services.airflow.api.clear_run(run.dag_id, run.run_id)
    run.wait("another mark", lambda: texts(services.emulator) == [f"Done: {run.run_id}"] * 2)
    run.wait("its note", lambda: stages(run, "_dag_") == ["posted"] * 2)


@pytest.mark.all_airflows
def test_a_mark_that_fullstory_refuses_leaves_a_task_green(services: Services) -> None:
    services.emulator.order_fault(**POSTS, status=401, times=1000)
    run = Run.trigger(services, "notifiers_task")
    run.wait_for_success()
    run.wait_for_log("work", "Could not create the annotation: FullStory answered HTTP 401")
    [task] = run.tasks()
    assert (task.state, task.try_number) == ("success", 1)
    assert services.emulator.annotations() == []
    assert_keeps_secrets(run.logs("work"), services.emulator)


@pytest.mark.skipif(
    AIRFLOW_VERSION < (3, 2), reason="Deadlines came with Airflow 3.1, to airflow.sdk with 3.2."
)
def test_a_missed_deadline_is_marked(services: Services) -> None:
    run = Run.trigger(services, "notifiers_deadline")
    run.wait("the mark", lambda: bool(services.emulator.annotations()))
    assert texts(services.emulator) == [f"notifiers_deadline is late: {run.run_id}"]
    run.wait("its note", lambda: stages(run, "_dag_") == ["posted"])


def stages(run: Run, task: str) -> list[str]:
    """Return how far the annotations are that were noted for a task, or for runs as a whole."""
    folder = run.services.directory / "state" / "annotations" / run.dag_id / task
    return [json.loads(note.read_text())["stage"] for note in folder.glob("*/ledger/annotation_*.json")]
