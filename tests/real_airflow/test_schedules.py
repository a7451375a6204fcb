"""Runs as schedules, people, backfills and assets make them; no interval is given by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from airflow_provider_fullstory.task.intervals import WHAT_TO_DO
from demo.comparison import compare, imported_events
from demo.services import AIRFLOW_VERSION
from demo.warehouse import Order
from tests.real_airflow.orders import order_event
from tests.real_airflow.runs import Run, made_runs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from demo.services import Services

pytestmark = pytest.mark.all_airflows
needs_airflow_3 = pytest.mark.skipif(
    AIRFLOW_VERSION < (3, 0), reason="Every run of Airflow 2 has a logical date, and cron makes intervals."
)

HOURLY = "example_fullstory_data_interval"
TASK = "import_orders"
HOUR = timedelta(hours=1)
ORDERS_AN_HOUR = 6


def this_hour(services: Services) -> datetime:
    return services.airflow.now().replace(minute=0, second=0, microsecond=0)


@pytest.fixture
def recent_orders(services: Services) -> Iterator[list[Order]]:
    """Add the orders of the last five hours and of this one to the warehouse."""
    first = (this_hour(services) - 5 * HOUR).replace(tzinfo=None)
    orders = [
        Order(
            10_000 + number, f"customer-{number}", first + number * HOUR / ORDERS_AN_HOUR, "paid", Decimal(5)
        )
        for number in range(6 * ORDERS_AN_HOUR)
    ]
    with services.warehouse.cursor() as cursor:
        rows = [
            (order.order_id, order.customer_id, order.ordered_at, "paid", order.total) for order in orders
        ]
        cursor.executemany("INSERT INTO orders VALUES (%s, %s, %s, %s, %s)", rows)
    yield orders
    with services.warehouse.cursor() as cursor:
        cursor.execute("DELETE FROM orders WHERE order_id >= 10000")


def check_hour(run: Run, orders: list[Order]) -> datetime:
    """Check that a run has imported the orders of its hour, and return when that began."""
    run.wait_for_success()
    [dag_run] = [
        other for other in run.services.airflow.api.dag_runs(run.dag_id) if other.run_id == run.run_id
    ]
    start, end = dag_run.data_interval_start, dag_run.data_interval_end
    assert start
    assert end == start + HOUR
    wanted = [order for order in orders if start <= order.ordered_at.replace(tzinfo=UTC) < end]
    assert len(wanted) == ORDERS_AN_HOUR
    report = run.result(TASK)
    assert (report["records"], report["imported"]) == (ORDERS_AN_HOUR, ORDERS_AN_HOUR)
    [job_id] = report["job_ids"]
    comparison = compare(
        [order_event(order, "order_id", "status", "total") for order in wanted],
        imported_events(run.services.emulator.url, job_id),
    )
    assert comparison.missing.most_common(2) == comparison.surplus.most_common(2) == []
    assert "data interval" not in run.logs(TASK)
    return start


def test_an_hour_by_its_schedule(services: Services, recent_orders: list[Order]) -> None:
    services.airflow.wait_for_dag(HOURLY)
    hour = this_hour(services)
    services.airflow.api.unpause(HOURLY)
    [*_, run] = made_runs(services, HOURLY, "scheduled")
    assert check_hour(run, recent_orders) >= hour - HOUR


def test_an_hour_by_its_button(services: Services, recent_orders: list[Order]) -> None:
    hour = this_hour(services)
    run = Run.trigger(services, HOURLY)
    assert check_hour(run, recent_orders) >= hour - HOUR


def test_an_hour_by_a_backfill(services: Services, recent_orders: list[Order]) -> None:
    services.airflow.wait_for_dag(HOURLY)
    services.airflow.api.unpause(HOURLY)
    first = this_hour(services) - 4 * HOUR
    services.airflow.backfill(HOURLY, first, first + HOUR)
    runs = made_runs(services, HOURLY, "backfill", 2)
    assert {check_hour(run, recent_orders) for run in runs} == {first, first + HOUR}


@needs_airflow_3
def test_a_cron_string_is_a_point_in_time(services: Services, recent_orders: list[Order]) -> None:
    services.airflow.wait_for_dag("intervals_cron")
    services.airflow.api.unpause("intervals_cron")
    # One, and one more when the hour turns.
    for run in made_runs(services, "intervals_cron", "scheduled"):
        run.wait_for_success()
        assert run.result(TASK)["records"] == 0
        log = run.logs(TASK)
        assert "The data interval of this run is empty: it starts and ends at " in log
        assert "CronDataIntervalTimetable" in log
        assert ":00+00:00. The source gave no records: nothing was sent to FullStory." in log


@needs_airflow_3
def test_a_run_without_a_logical_date(services: Services) -> None:
    airflow = services.airflow
    # Without a schedule, whose own runs would post to FullStory.
    airflow.wait_for_dag("intervals_by_hand")
    run = Run(services, "intervals_by_hand", airflow.api.trigger("intervals_by_hand"))
    check_explained_failure(run)


@needs_airflow_3
def test_a_run_that_an_asset_starts(services: Services) -> None:
    services.airflow.wait_for_dag("intervals_asset")
    services.airflow.api.unpause("intervals_asset")
    Run.trigger(services, "intervals_producer").wait_for_success()
    [run] = made_runs(services, "intervals_asset", "asset_triggered")
    check_explained_failure(run)


def check_explained_failure(run: Run) -> None:
    """Check that the task has failed at once, and says what the run does not have and what to do."""
    run.wait_for_try(1, "failed", "up_for_retry")
    [task] = run.tasks()
    assert (task.state, task.try_number) == ("failed", 1)
    log = run.logs(TASK)
    assert "A template names data_interval_start, but this run has no logical date" in log
    assert WHAT_TO_DO.replace('"', '\\"') in log
    assert run.services.emulator.requests() == []
