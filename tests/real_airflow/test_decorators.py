"""Decorated functions as Airflow runs them: parsed, serialized, called in a worker, and deferred."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.real_airflow.dags.decorators import COUNT
from tests.real_airflow.runs import Run, assert_keeps_secrets

if TYPE_CHECKING:
    from demo.services import Services


@pytest.mark.all_airflows
def test_what_functions_give_is_imported_and_never_in_xcom(services: Services) -> None:
    run = Run.trigger(services, "decorators")
    run.wait_for_success()
    for task_id in ("scores", "customers"):
        report = run.result(task_id)
        assert (report["imported"], report["batches"]) == (COUNT, 3)
        assert_keeps_secrets(run.visible_text(task_id), services.emulator, "customer-1", "Ada 1")
    scored = {(event["user"]["uid"], event["properties"]["run"]) for event in run.events()}
    assert scored == {(f"customer-{number}", run.run_id) for number in range(COUNT)}
    names = {user["user"].get("display_name") for user in services.emulator.users()}
    assert names >= {f"Ada {number}" for number in range(COUNT)}
