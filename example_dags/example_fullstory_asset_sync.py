"""
Send what has changed in a model of the warehouse, whenever it was built.

The task that builds the model, such as one of dbt, has the asset among its outlets, and its success starts
this DAG. The model is built anew each time, and no column says which rows are new. So the whole record is
its insert id: the query reads all rows, and those that FullStory has as they are, are not sent again.

Connections: "warehouse" (a database) and "fullstory_default" (an API key of level Architect or above).
Variable: "fullstory_state_uri", such as "s3://aws_default@bucket/fullstory".
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.providers.common.compat.sdk import DAG, Asset

from airflow_provider_fullstory.operators.fullstory import FullStoryImportEventsOperator

# The same URI as among the outlets of the task that builds it.
CUSTOMER_REVENUE = Asset("postgres://warehouse:5432/warehouse/public/customer_revenue")

with DAG(
    "example_fullstory_asset_sync",
    schedule=[CUSTOMER_REVENUE],
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=5)},
    tags=["example", "fullstory"],
    doc_md=__doc__,
):
    FullStoryImportEventsOperator(
        task_id="import_revenue",
        sql_conn_id="warehouse",
        sql="""
            SELECT customer_id AS "user.uid", last_order_at AS "timestamp", orders, revenue
            FROM customer_revenue
            ORDER BY customer_id
        """,
        insert_id="*",
        event_name="Revenue Changed",
        state_uri="{{ var.value.fullstory_state_uri }}",
        deferrable=True,
    )
