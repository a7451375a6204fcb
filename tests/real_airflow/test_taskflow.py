"""Functions that give events, and functions whose retries a policy decides."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from demo.services import AIRFLOW_VERSION
from tests.real_airflow.runs import Run, assert_keeps_secrets

if TYPE_CHECKING:
    from demo.services import Services

needs_policies = pytest.mark.skipif(AIRFLOW_VERSION < (3, 3), reason="Retry policies came with Airflow 3.3.")
POLICY = "taskflow_retry_policy"
USERS = {"method": "POST", "path": "/v2/users"}


@pytest.mark.all_airflows
def test_events_that_a_function_yields(services: Services) -> None:
    run = Run.trigger(services, "taskflow_events")
    run.wait_for_success()
    imported = [(event["user"]["uid"], event["properties"]) for event in run.events()]
    assert imported == [
        (f"scored-customer-{number}", {"score": number, "run": run.run_id}) for number in range(3)
    ]
    assert run.result("score")["imported"] == 3
    assert_keeps_secrets(run.visible_text("score"), services.emulator, "scored-customer")


@needs_policies
def test_a_retry_comes_when_fullstory_wants_it(services: Services) -> None:
    services.emulator.order_fault(**USERS, status=429, headers={"Retry-After": "1"}, times=1)
    run = Run.trigger(services, POLICY)
    # Its own retry_delay is an hour.
    run.wait("the second try to succeed", lambda: run.tasks()[0].state == "success")
    assert run.tasks()[0].try_number == 2
    assert [line["user"]["uid"] for line in services.emulator.users()] == ["one"]


@needs_policies
def test_a_wrong_key_fails_the_task_at_once(services: Services) -> None:
    services.emulator.order_fault(**USERS, status=401, times=1)
    run = Run.trigger(services, POLICY)
    run.wait("the task to fail", lambda: run.tasks()[0].state == "failed")
    assert run.tasks()[0].try_number == 1
    assert "A retry meets the same FullStoryAuthenticationError again." in run.logs("create")
