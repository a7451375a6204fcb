"""An import that succeeds, one that fails after it has delivered, and a Python task that uses the hook."""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_fullstory.operators.fullstory import FullStoryImportEventsOperator

ORDERS: dict[str, Any] = {
    "sql_conn_id": "warehouse",
    "sql": """
        SELECT customer_id AS "user.uid", ordered_at AS timestamp, total
        FROM orders WHERE order_id > %(after)s ORDER BY order_id
    """,
    "parameters": {"after": -1},
    "deferrable": True,
}

with DAG("lineage", schedule=None, catchup=False):
    FullStoryImportEventsOperator(task_id="import_orders", event_name="Order Updated", **ORDERS)
    FullStoryImportEventsOperator(
        task_id="import_refused",
        events=[{"name": "Order", "user.uid": "secret-customer-lineage"}, {"user.uid": "without a name"}],
    )

    @task
    def create_event() -> None:
        """Send one event by hand."""
        from airflow_provider_fullstory.hooks.fullstory import FullStoryHook

        with FullStoryHook() as hook:
            hook.create_event("Order", user={"uid": "secret-customer-lineage"})

    create_event()
