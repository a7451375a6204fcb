"""
Send the rows of each hour to FullStory, by the data interval of the run.

Every run reads the rows of its own data interval, so a run can be repeated or backfilled at any time, and
ORDER BY makes a repeated query give the same batches. The task deploys with retries: a retry waits for the
batches that FullStory has accepted and sends only the rest.

The timetable gives each run the hour before it. In Airflow 3 a plain cron string or timedelta would give it a
point in time, and the query would select nothing.

The column "ordered_at" holds UTC without saying so. Where yours holds another time zone, compare it with the
interval in that zone, and set `timezone=` to its name.

Connections: "warehouse" (a database) and "fullstory_default" (an API key).
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.providers.common.compat.sdk import DAG
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_provider_fullstory.operators.fullstory import FullStoryImportEventsOperator

with DAG(
    "example_fullstory_data_interval",
    schedule=CronDataIntervalTimetable("0 * * * *", timezone="UTC"),
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=5)},
    tags=["example", "fullstory"],
    doc_md=__doc__,
):
    FullStoryImportEventsOperator(
        task_id="import_orders",
        sql_conn_id="warehouse",
        sql="""
            SELECT customer_id, ordered_at, order_id, status, total
            FROM orders
            WHERE ordered_at >= %(start)s AND ordered_at < %(end)s
            ORDER BY order_id
        """,
        parameters={"start": "{{ data_interval_start }}", "end": "{{ data_interval_end }}"},
        # For queries whose columns cannot be renamed: field of the API -> column.
        mapping={"user.uid": "customer_id", "timestamp": "ordered_at"},
        event_name="Order Updated",
        deferrable=True,
    )
