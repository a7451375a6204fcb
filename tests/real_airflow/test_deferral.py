"""What a task leaves behind while it waits in the triggerer, and what it survives there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from demo.processes import wait_for
from tests.real_airflow.orders import FIRST_HOUR, between
from tests.real_airflow.runs import Run, assert_keeps_secrets

if TYPE_CHECKING:
    from demo.services import Services

HOUR = 3600
TASK = "import_orders"


def defer(services: Services, start: datetime) -> Run:
    """Run the task that sends an hour's orders, up to where it waits for an import that takes an hour."""
    services.emulator.configure(processing_seconds=HOUR)
    end = start.replace(tzinfo=UTC) + timedelta(hours=1)
    run = Run.trigger(services, "example_fullstory_hourly_sync", logical_date=end)
    run.wait_until("deferred", TASK)
    return run


def finish(run: Run, start: datetime) -> None:
    """Let the hour pass, and check that the task takes notice and that every order arrived once."""
    run.services.emulator.advance_clock(HOUR)
    run.wait_for_success()
    orders = between(start, start + timedelta(hours=1))
    assert run.result(TASK)["imported"] == len(orders)
    imported = [event["properties"]["order_id"] for event in run.events()]
    assert sorted(imported) == [order.order_id for order in orders]


def test_a_waiting_task_holds_no_slot_and_keeps_secrets(services: Services) -> None:
    run = defer(services, FIRST_HOUR)

    def only_waits() -> bool:
        slots = services.airflow.api.pool_slots()
        return (slots["occupied_slots"], slots["deferred_slots"]) == (0, 1)

    # The scheduled run of the current hour, which has no orders, may take a slot for a moment.
    wait_for("the waiting task to be all there is", only_waits)

    with services.warehouse.cursor("airflow") as cursor:
        cursor.execute("SELECT classpath, kwargs FROM trigger")
        [(classpath, arguments)] = cursor.fetchall()
    assert classpath == "airflow_provider_fullstory.triggers.fullstory.FullStoryImportJobTrigger"
    # Airflow 3.3 does not encrypt them, so they are all the more no place for a key.
    [job] = services.emulator.jobs()
    assert job["id"] in arguments
    assert_keeps_secrets(arguments, services.emulator, "secret-customer")
    finish(run, FIRST_HOUR)


def test_a_waiting_task_survives_the_death_of_the_triggerer(services: Services) -> None:
    start = FIRST_HOUR + timedelta(hours=2)
    run = defer(services, start)
    airflow = services.airflow
    triggerer = airflow.components["triggerer"]
    triggerer.kill()
    triggerer.start()
    wait_for("a new triggerer", lambda: not airflow.api.unhealthy_components(), airflow.components.values())
    finish(run, start)
    [task] = run.tasks()
    assert task.try_number == 1
    assert len(services.emulator.jobs()) == 1
