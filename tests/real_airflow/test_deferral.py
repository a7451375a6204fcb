"""What a task leaves behind while it waits in the triggerer, and what it survives there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from demo.processes import wait_for
from demo.services import AIRFLOW_VERSION
from tests.real_airflow.orders import ORDERS
from tests.real_airflow.runs import Run, assert_keeps_secrets

if TYPE_CHECKING:
    from demo.services import Services

HOUR = 3600
TASK = "import_orders"


def defer(services: Services) -> Run:
    """Run a task up to where it waits for an import that takes an hour."""
    services.emulator.configure(processing_seconds=HOUR)
    run = Run.trigger(services, "endings_deferred")
    run.wait_until("deferred", TASK)
    return run


def finish(run: Run) -> None:
    """Let the hour pass, and check that the task takes notice and that every order arrived once."""
    run.services.emulator.advance_clock(HOUR)
    run.wait_for_success()
    assert run.result(TASK)["imported"] == len(ORDERS)
    imported = [event["properties"]["order_id"] for event in run.events()]
    assert sorted(imported) == [order.order_id for order in ORDERS]


@pytest.mark.skipif(AIRFLOW_VERSION < (3, 0), reason="Airflow 2 encrypts the arguments of triggers.")
def test_a_waiting_task_holds_no_slot_and_keeps_secrets(services: Services) -> None:
    run = defer(services)

    def only_waits() -> bool:
        slots = services.airflow.api.pool_slots()
        return (slots["occupied_slots"], slots["deferred_slots"]) == (0, 1)

    # The worker that has deferred the task keeps its slot until it has ended.
    wait_for("the waiting task to be all there is", only_waits)

    with services.warehouse.cursor("airflow") as cursor:
        cursor.execute("SELECT classpath, kwargs FROM trigger")
        [(classpath, arguments)] = cursor.fetchall()
    assert classpath == "airflow_provider_fullstory.triggers.fullstory.FullStoryImportJobTrigger"
    # Airflow 3 does not encrypt them, so they are all the more no place for a key.
    assert all(job["id"] in arguments for job in services.emulator.jobs())
    assert_keeps_secrets(arguments, services.emulator, "secret-customer")
    finish(run)


def test_a_waiting_task_survives_the_death_of_the_triggerer(services: Services) -> None:
    run = defer(services)
    airflow = services.airflow
    triggerer = airflow.components["triggerer"]
    triggerer.kill()
    triggerer.start()
    wait_for("a new triggerer", lambda: not airflow.api.unhealthy_components(), airflow.components.values())
    finish(run)
    [task] = run.tasks()
    assert task.try_number == 1
    assert len(services.emulator.jobs()) == 3
