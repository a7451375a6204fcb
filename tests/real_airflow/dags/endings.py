"""Imports that are ended before FullStory has finished, each in another way."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_fullstory.operators.fullstory import FullStoryImportEventsOperator

ENDINGS: dict[str, dict[str, Any]] = {
    "endings_polling": {"poll_interval": 0.5},
    "endings_deferred": {"deferrable": True},
    "endings_execution_timeout": {"execution_timeout": timedelta(seconds=6)},
    "endings_execution_timeout_deferred": {"deferrable": True, "execution_timeout": timedelta(seconds=12)},
    "endings_timeout": {"timeout": 6.0},
}

for name, arguments in ENDINGS.items():
    with DAG(name, schedule=None, catchup=False) as dag:
        FullStoryImportEventsOperator(
            task_id="import_orders",
            sql_conn_id="warehouse",
            sql='SELECT customer_id AS "user.uid", ordered_at AS timestamp, order_id FROM orders ORDER BY 3',
            event_name="Order Updated",
            batch_size=200,
            retries=5,
            retry_delay=timedelta(seconds=1),
            **arguments,
        )
    globals()[name] = dag
