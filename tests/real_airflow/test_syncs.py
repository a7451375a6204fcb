"""The example DAGs that remember what they imported, run as schedules, people and assets run them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from demo.comparison import compare
from demo.processes import wait_for
from demo.services import AIRFLOW_VERSION
from demo.warehouse import Order
from tests.real_airflow.orders import ORDERS, order_event
from tests.real_airflow.runs import Run, assert_keeps_secrets, made_runs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from demo.services import Services

pytestmark = pytest.mark.all_airflows

HOURLY_SYNC = "example_fullstory_hourly_sync"
IMPORT_ORDERS = "import_orders"
USER_PROPERTIES = "example_fullstory_user_properties"
IMPORT_CUSTOMERS = "import_customers"
BACKFILL = "example_fullstory_backfill"
#: The type of a run that an asset starts.
BY_ASSET = "dataset_triggered" if AIRFLOW_VERSION < (3, 0) else "asset_triggered"
#: Numbers of orders that tests add.
FIRST_NUMBER = 10_000
LAST_UPDATE = ORDERS[-1].ordered_at


class OrdersTable:
    """The table of orders, and the event of each state in which an order ever was."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.events = [order_event(order, "order_id", "status", "total") for order in ORDERS]
        # An order is in its events as of its last update.
        self._execute("UPDATE orders SET updated_at = ordered_at AT TIME ZONE 'UTC'")

    def add(self, number: int, updated_at: datetime) -> Order:
        """Add an order whose last update was then."""
        order = Order(FIRST_NUMBER + number, f"secret-customer-{number}", updated_at, "placed", Decimal(5))
        self._execute(
            "INSERT INTO orders VALUES (%s, %s, %s, %s, %s, %s AT TIME ZONE 'UTC')",
            *(order.order_id, order.customer_id, updated_at, order.status, order.total, updated_at),
        )
        self.events.append(order_event(order, "order_id", "status", "total"))
        return order

    def update(self, order: Order, updated_at: datetime) -> None:
        """Update an order."""
        updated = replace(order, ordered_at=updated_at, status="paid")
        self._execute(
            "UPDATE orders SET status = 'paid', updated_at = %s AT TIME ZONE 'UTC' WHERE order_id = %s",
            *(updated_at, order.order_id),
        )
        self.events.append(order_event(updated, "order_id", "status", "total"))

    def clear_up(self) -> None:
        """Remove what tests have added."""
        self._execute("DELETE FROM orders WHERE order_id >= %s", FIRST_NUMBER)

    def _execute(self, statement: str, *parameters: Any) -> None:
        with self._services.warehouse.cursor() as cursor:
            cursor.execute(statement, parameters)

    def check(self) -> None:
        """Check that FullStory has each event once."""
        comparison = compare(self.events, Run(self._services, "", "").events())
        assert comparison.missing.most_common(2) == comparison.surplus.most_common(2) == []


class CustomersTable:
    """A table of customers, and the user that each should be in FullStory."""

    COUNT = 40

    def __init__(self, services: Services) -> None:
        self._services = services
        self._users: dict[str, dict[str, Any]] = {}
        self._execute(
            """
            CREATE TABLE customers (
                customer_id text PRIMARY KEY, email text, name text, plan text,
                lifetime_value numeric(10, 2), customer_since date
            )
            """
        )
        for number in range(self.COUNT):
            self.add(number)

    def add(self, number: int) -> None:
        """Add a customer on the free plan."""
        uid, since = f"secret-customer-{number:02}", datetime(2026, 1, 1) + timedelta(days=number)  # noqa: DTZ001
        email, name = f"{uid}@example.com", f"Customer {number}"
        self._execute(
            "INSERT INTO customers VALUES (%s, %s, %s, 'free', %s, %s)",
            *(uid, email, name, Decimal(number * 37) / 100, since.date()),
        )
        self._users[uid] = {
            "uid": uid,
            "display_name": name,
            "email": email,
            "properties": {
                "customer_since": f"{since:%Y-%m-%d}",
                "lifetime_value": number * 37 / 100,
                "plan": "free",
            },
            "schema": {"properties": {"customer_since": "date"}},
        }

    def change_plan(self, number: int, plan: str) -> None:
        """Let a customer change to another plan."""
        uid = f"secret-customer-{number:02}"
        self._execute("UPDATE customers SET plan = %s WHERE customer_id = %s", plan, uid)
        self._users[uid]["properties"]["plan"] = plan

    def clear_up(self) -> None:
        """Remove the table."""
        self._execute("DROP TABLE customers")

    def _execute(self, statement: str, *parameters: Any) -> None:
        with self._services.warehouse.cursor() as cursor:
            cursor.execute(statement, parameters)

    def check(self) -> None:
        """Check that FullStory has each customer as the table has it, and nobody else."""
        users = [line["user"] for line in self._services.emulator.users()]
        assert {user["uid"]: {name: user[name] for name in user if name != "id"} for user in users} == (
            self._users
        )
        assert len(users) == len(self._users)


@pytest.fixture
def customers(services: Services) -> Iterator[CustomersTable]:
    """Give the customers, and syncs that remember nothing."""
    shutil.rmtree(services.directory / "state" / "syncs", ignore_errors=True)
    table = CustomersTable(services)
    yield table
    services.airflow.api.pause(USER_PROPERTIES)
    table.clear_up()


@pytest.fixture
def orders(services: Services) -> Iterator[OrdersTable]:
    """Give the orders, and syncs that remember nothing."""
    shutil.rmtree(services.directory / "state" / "syncs", ignore_errors=True)
    table = OrdersTable(services)
    yield table
    services.airflow.api.pause(HOURLY_SYNC)
    table.clear_up()


def undated(services: Services, dag_id: str) -> Run:
    """Trigger a run; on Airflow 3 it has no logical date."""
    services.airflow.wait_for_dag(dag_id)
    return Run(services, dag_id, services.airflow.api.trigger(dag_id))


def hourly_runs(services: Services) -> list[Run]:
    return [Run(services, HOURLY_SYNC, run.run_id) for run in services.airflow.api.dag_runs(HOURLY_SYNC)]


def counts(run: Run, task_id: str) -> tuple[int, int]:
    """Wait for a run, and return how many records were imported, and how many were known before."""
    run.wait_for_success()
    report = run.result(task_id)
    return report["imported"], report["skipped"]


def scheduled(services: Services, dag_id: str, task_id: str) -> tuple[Run, tuple[int, int]]:
    """
    Return the run that the schedule makes of a DAG that was paused, and its counts.

    If its period has just ended, the schedule makes one more, which finds nothing to do.
    """
    [first, *_] = made_runs(services, dag_id, "scheduled")
    first.wait_for_success()
    runs = [(run, counts(run, task_id)) for run in made_runs(services, dag_id, "scheduled")]
    [found] = [(run, count) for run, count in runs if count[0]]
    return found


def posts(services: Services) -> int:
    return sum(request["method"] == "POST" for request in services.emulator.requests())


def in_the_lag(order_time: datetime) -> list[Order]:
    return [order for order in ORDERS if order.ordered_at >= order_time - timedelta(minutes=15)]


@pytest.mark.matrix
def test_the_hourly_sync_sends_what_is_new(services: Services, orders: OrdersTable) -> None:
    services.airflow.wait_for_dag(HOURLY_SYNC)
    # The schedule makes no run in between.
    wait_for("an hour with time left", lambda: services.airflow.now().minute < 55, seconds=330)
    services.airflow.api.unpause(HOURLY_SYNC)
    first, count = scheduled(services, HOURLY_SYNC, IMPORT_ORDERS)
    assert count == (len(ORDERS), 0)
    orders.check()
    assert_keeps_secrets(first.visible_text(IMPORT_ORDERS), services.emulator, "secret-customer")

    known = len(in_the_lag(LAST_UPDATE))
    orders.add(1, LAST_UPDATE - timedelta(minutes=10))
    new = orders.add(2, LAST_UPDATE + timedelta(minutes=1))
    assert counts(undated(services, HOURLY_SYNC), IMPORT_ORDERS) == (2, known)
    orders.check()

    orders.update(new, LAST_UPDATE + timedelta(hours=5))
    last = undated(services, HOURLY_SYNC)
    assert counts(last, IMPORT_ORDERS)[0] == 1
    orders.check()

    # A clear of a run that has sent all, while nothing is new.
    before = posts(services)
    for run in (first, last):
        services.airflow.api.clear(run.dag_id, run.run_id, IMPORT_ORDERS)
        run.wait_for_try(2, "success")
        assert run.result(IMPORT_ORDERS)["imported"] == 0
    assert posts(services) == before

    orders.add(3, datetime(2026, 1, 5, 12))  # noqa: DTZ001 - as the table has it
    assert counts(undated(services, HOURLY_SYNC), IMPORT_ORDERS)[0] == 0
    services.airflow.trigger(HOURLY_SYNC, "full_refresh", '{"full_refresh": true}')
    refresh = Run(services, HOURLY_SYNC, "full_refresh")
    assert counts(refresh, IMPORT_ORDERS) == (1, len(ORDERS) + 2)
    orders.check()


def test_user_properties_are_sent_where_they_changed(services: Services, customers: CustomersTable) -> None:
    services.airflow.wait_for_dag(USER_PROPERTIES)
    # The schedule makes no run in between.
    wait_for("a day with time left", lambda: f"{services.airflow.now():%H:%M}" < "23:55", seconds=330)
    services.airflow.api.unpause(USER_PROPERTIES)
    first, count = scheduled(services, USER_PROPERTIES, IMPORT_CUSTOMERS)
    assert count == (customers.COUNT, 0)
    customers.check()
    assert "Pausing task as DEFERRED" in first.logs(IMPORT_CUSTOMERS)
    assert_keeps_secrets(first.visible_text(IMPORT_CUSTOMERS), services.emulator, "secret-customer")

    customers.change_plan(7, "pro")
    customers.add(customers.COUNT)
    assert counts(undated(services, USER_PROPERTIES), IMPORT_CUSTOMERS) == (2, customers.COUNT - 1)
    customers.check()

    # Back to what was imported once.
    customers.change_plan(7, "free")
    assert counts(undated(services, USER_PROPERTIES), IMPORT_CUSTOMERS) == (1, customers.COUNT)
    customers.check()

    before = posts(services)
    services.airflow.api.clear(USER_PROPERTIES, first.run_id, IMPORT_CUSTOMERS)
    first.wait_for_try(2, "success")
    assert first.result(IMPORT_CUSTOMERS)["imported"] == 0
    assert posts(services) == before


def test_a_model_that_was_built_starts_a_sync_of_what_has_changed(
    services: Services, orders: OrdersTable
) -> None:
    sync = "example_fullstory_asset_sync"
    services.airflow.wait_for_dag(sync)
    services.airflow.api.unpause(sync)
    customers = {order.customer_id for order in ORDERS}

    Run.trigger(services, "warehouse_model").wait_for_success()
    [first] = made_runs(services, sync, BY_ASSET)
    assert counts(first, "import_revenue") == (len(customers), 0)
    assert_keeps_secrets(first.visible_text("import_revenue"), services.emulator, "secret-customer")

    changed = orders.add(7, LAST_UPDATE + timedelta(hours=1))
    Run.trigger(services, "warehouse_model").wait_for_success()
    [second] = [run for run in made_runs(services, sync, BY_ASSET, 2) if run.run_id != first.run_id]
    assert counts(second, "import_revenue") == (1, len(customers) - 1)

    [*events, last] = second.events()
    assert len(events) == len(customers)
    assert sum(event["properties"]["revenue"] for event in events) == sum(order.total for order in ORDERS)
    assert last["user"]["uid"] == changed.customer_id
    assert last["timestamp"] == f"{changed.ordered_at:%Y-%m-%dT%H:%M:%SZ}"


def test_a_backfill_beside_the_hourly_sync_sends_nothing_twice(
    services: Services, orders: OrdersTable
) -> None:
    services.airflow.api.set_pool("fullstory_backfill", 1)
    months = [datetime(2025, 11, 20), datetime(2026, 1, 10), datetime(2026, 2, 10)]  # noqa: DTZ001
    for number, month in enumerate(months):
        orders.add(number, month)
    services.airflow.wait_for_dag(HOURLY_SYNC)
    known = hourly_runs(services)

    backfill = Run.trigger(services, BACKFILL, conf={"first_month": "2025-11", "last_month": "2026-03"})
    backfill.wait_until("deferred", "import_month")
    hourly = undated(services, HOURLY_SYNC)
    wait_for("both to be in flight", lambda: is_in_flight(hourly) and is_in_flight(backfill))
    backfill.wait_for_success()
    # Its schedule may have made a run as well.
    of_hours = [counts(run, IMPORT_ORDERS) for run in hourly_runs(services) if run not in known]

    orders.check()
    reports = [backfill.result("import_month", index) for index in range(5)]
    of_months = [(report["imported"], report["skipped"]) for report in reports]
    assert sum(imported for imported, _ in of_hours + of_months) == len(orders.events)
    # Each order since January was read by both.
    assert sum(skipped for _, skipped in of_hours + of_months) >= len(orders.events) - 1
    assert all(imported or skipped for imported, skipped in of_hours)


def is_in_flight(run: Run) -> bool:
    return any(task.state in {"running", "deferred"} for task in run.tasks())
