"""
Send the result of a query that no later query can repeat.

The balance of each customer is what it is now: a retry an hour later would find other sums, in batches that
FullStory could not recognize. So the batches are first written to object storage, and a retry sends those,
without asking the warehouse again. They are removed once the task has succeeded.

Connections: "warehouse" (a database) and "fullstory_default" (an API key).
Variable: "fullstory_state_uri", such as "s3://aws_default@bucket/fullstory".
"""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_fullstory.operators.fullstory import FullStoryImportEventsOperator

with DAG(
    "example_fullstory_staged_sync",
    schedule=None,
    catchup=False,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=5)},
    tags=["example", "fullstory"],
    doc_md=__doc__,
):
    FullStoryImportEventsOperator(
        task_id="import_balances",
        sql_conn_id="warehouse",
        sql="""
            SELECT customer_id AS "user.uid", count(*) AS orders, sum(total) AS balance, now() AS timestamp
            FROM orders
            GROUP BY customer_id
            ORDER BY customer_id
        """,
        event_name="Balance Changed",
        state_uri="{{ var.value.fullstory_state_uri }}",
        stage_batches=True,
        deferrable=True,
    )
