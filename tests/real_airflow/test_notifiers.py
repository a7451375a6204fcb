"""Notifiers where Airflow calls them: after a task in its worker, and in the triggerer."""

from __future__ import annotations

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
