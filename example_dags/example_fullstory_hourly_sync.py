"""
Send what is new in a table of the warehouse to FullStory, every hour.

The sync remembers how far it has come. Its first run reads from `initial` on; each later one reads from the
highest "timestamp" that FullStory has imported, less the lag. The lag is longer than the longest transaction
that writes to the table, so that rows which were committed late are found. What is read again because of it
is not sent again: order and time name a record forever. So any schedule fits, a run can be cleared at any
time, and an hour without Airflow is made up for by the next run.

To look for rows that were missed, such as those that somebody loaded with an old time, read the whole table
once more. Only what is missing is sent:

    airflow dags trigger example_fullstory_hourly_sync -c '{"full_refresh": true}'

Connections: "warehouse" (a database) and "fullstory_default" (an API key of level Architect or above).
Variable: "fullstory_state_uri", such as "s3://aws_default@bucket/fullstory".
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_fullstory.operators.fullstory import FullStoryImportEventsOperator
from airflow_provider_fullstory.watermark import Watermark

with DAG(
    "example_fullstory_hourly_sync",
    schedule="@hourly",
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
            SELECT order_id, customer_id AS "user.uid", updated_at AS "timestamp", status, total
            FROM orders
            WHERE updated_at >= %(since)s
            ORDER BY updated_at, order_id
        """,
        parameters={
            "since": Watermark("timestamp", initial="2026-01-01T00:00:00Z", lag=timedelta(minutes=15))
        },
        insert_id=["order_id", "timestamp"],
        event_name="Order Updated",
        state_uri="{{ var.value.fullstory_state_uri }}",
        deferrable=True,
    )
