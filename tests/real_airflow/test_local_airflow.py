"""The local Airflow itself, in every version that is supported: what other tests rely on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from demo.services import AIRFLOW_VERSION
from tests.real_airflow.orders import ORDERS
from tests.real_airflow.runs import Run

if TYPE_CHECKING:
    from demo.services import Services

pytestmark = pytest.mark.all_airflows

DAG_ID = "endings_deferred"
TASK = "import_orders"


def test_a_run_and_what_buttons_do_with_it(services: Services) -> None:
    api = services.airflow.api
    run = Run.trigger(services, DAG_ID)
    run.wait_for_success()
    assert run.result(TASK)["imported"] == len(run.events()) == len(ORDERS)
    [dag_run] = [dag_run for dag_run in api.dag_runs(DAG_ID) if dag_run.run_id == run.run_id]
    assert (dag_run.run_type, dag_run.state) == ("manual", "success")

    api.mark_failed(DAG_ID, run.run_id, TASK)
    assert run.tasks()[0].state == "failed"
    api.mark_success(DAG_ID, run.run_id, TASK)
    assert run.tasks()[0].state == "success"
    api.clear(DAG_ID, run.run_id, TASK, keep_task_state=AIRFLOW_VERSION >= (3, 4))
    run.wait_for_try(2, "success")
    run.wait_for_success()
    api.delete_run(DAG_ID, run.run_id)
    assert run.run_id not in [dag_run.run_id for dag_run in api.dag_runs(DAG_ID)]
