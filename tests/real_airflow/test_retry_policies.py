"""The retry policy as Airflow asks it: kept in a serialized DAG, and called after a failure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from demo.services import AIRFLOW_VERSION
from tests.real_airflow.runs import Run

if TYPE_CHECKING:
    from demo.services import Services

pytestmark = pytest.mark.skipif(AIRFLOW_VERSION < (3, 3), reason="Policies came with Airflow 3.3.")


def test_a_retry_comes_when_fullstory_asks_for_it_and_not_after_the_delay_of_the_task(
    services: Services,
) -> None:
    services.emulator.order_fault(method="POST", status=429, headers={"Retry-After": "2"}, times=1)
    run = Run.trigger(services, "retry_policies")
    run.wait("the task to succeed", lambda: run.tasks()[0].state == "success")
    assert run.tasks()[0].try_number == 2
    assert [event["name"] for event in run.events()] == ["Welcomed"]


def test_a_wrong_key_ends_the_task_in_its_first_try(services: Services) -> None:
    services.emulator.order_fault(method="POST", status=401, times=1)
    run = Run.trigger(services, "retry_policies")
    run.wait("the task to fail", lambda: run.tasks()[0].state in {"failed", "up_for_retry"})
    [task] = run.tasks()
    assert (task.state, task.try_number) == ("failed", 1)
    assert run.events() == []
