"""
Send the history of a table month by month, while its hourly sync goes on.

Each month is a task. They work on the sync of example_fullstory_hourly_sync: `sync_name` is its name, and
`insert_id` is the same, so that a row which both read is sent once, whoever comes first. Without a watermark,
the hourly sync stays where it is. A month that failed is cleared alone.

One task of a sync sends at a time, and the hourly one gets its turn between two months. The pool has one
slot, so that the other months wait for it without a worker:

    airflow pools set fullstory_backfill 1 "FullStory: one month at a time" --include-deferred

Connections: "warehouse" (a database) and "fullstory_default" (an API key of level Architect or above).
Variable: "fullstory_state_uri", such as "s3://aws_default@bucket/fullstory".
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.providers.common.compat.sdk import DAG, Param, task

from airflow_provider_fullstory.operators.fullstory import FullStoryImportEventsOperator

with DAG(
    "example_fullstory_backfill",
    schedule=None,
    catchup=False,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=5)},
    params={
        "first_month": Param("2025-01", type="string"),
        "last_month": Param("2025-12", type="string"),
    },
    tags=["example", "fullstory"],
    doc_md=__doc__,
):

    @task
    def months(first: str, last: str) -> list[dict[str, str]]:
        """Return the parameters of each month's query."""
        start, end = (pendulum.from_format(month, "YYYY-MM") for month in (first, last))
        dates = [start.add(months=number) for number in range((end - start).in_months() + 1)]
        return [{"start": date.isoformat(), "end": date.add(months=1).isoformat()} for date in dates]

    FullStoryImportEventsOperator.partial(
        task_id="import_month",
        sql_conn_id="warehouse",
        sql="""
            SELECT order_id, customer_id AS "user.uid", updated_at AS "timestamp", status, total
            FROM orders
            WHERE updated_at >= %(start)s AND updated_at < %(end)s
            ORDER BY updated_at, order_id
        """,
        sync_name="example_fullstory_hourly_sync.import_orders",
        insert_id=["order_id", "timestamp"],
        event_name="Order Updated",
        state_uri="{{ var.value.fullstory_state_uri }}",
        pool="fullstory_backfill",
        # What the UI shows instead of the number of each import.
        map_index_template="{{ task.parameters['start'][:7] }}",
        deferrable=True,
    ).expand(parameters=months("{{ params.first_month }}", "{{ params.last_month }}"))
