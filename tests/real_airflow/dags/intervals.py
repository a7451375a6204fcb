"""Imports of an hour's orders by runs that have no hour: points in time, and runs without a date."""

from __future__ import annotations

import pendulum
from airflow.providers.common.compat.sdk import DAG, Asset, task

from airflow_provider_fullstory.operators.fullstory import FullStoryImportEventsOperator

ORDERED = Asset("x-orders://ordered")
QUERY = """
    SELECT customer_id AS "user.uid", ordered_at AS timestamp, order_id
    FROM orders
    WHERE ordered_at >= '{{ data_interval_start }}' AND ordered_at < '{{ data_interval_end }}'
    ORDER BY order_id
"""

with DAG("intervals_producer", schedule=None, catchup=False):

    @task(outlets=[ORDERED])
    def order() -> None:
        """Say that there are new orders."""

    order()

START = pendulum.datetime(2026, 1, 1, tz="UTC")

SCHEDULES = {"intervals_cron": "0 * * * *", "intervals_asset": [ORDERED], "intervals_by_hand": None}
for name, schedule in SCHEDULES.items():
    with DAG(name, schedule=schedule, start_date=START, catchup=False) as dag:
        FullStoryImportEventsOperator(
            task_id="import_orders",
            sql_conn_id="warehouse",
            sql=QUERY,
            event_name="Order Updated",
            retries=2,
        )
    globals()[name] = dag
