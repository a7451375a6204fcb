"""Imports whose runs end as their parameters say, for looking at them in Airflow's UI."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_fullstory.operators.fullstory import FullStoryImportEventsOperator

with DAG(
    "orders",
    schedule=None,
    catchup=False,
    params={
        "orders": Param(1000, description="How many orders there are; what is no number fails the query."),
        "anonymous": Param(0, description="How many of them have no customer, and are refused."),
    },
):
    FullStoryImportEventsOperator(
        task_id="import_orders",
        sql_conn_id="warehouse",
        sql="""
            SELECT order_id,
                   CASE WHEN order_id > {{ params.anonymous }} THEN 'customer-' || order_id END AS "user.uid",
                   timestamp '2026-01-01' + order_id * interval '1 second' AS timestamp
            FROM generate_series(1, {{ params.orders }}) AS order_id
            ORDER BY order_id
        """,
        event_name="Order Placed",
        record_key="order_id",
        max_rejected=0.1,
    )

with DAG("letters", schedule=None, catchup=False):
    FullStoryImportEventsOperator(
        task_id="import_letters",
        events=[
            {"user.uid": "ada@example.com", "name": "Letter Sent", "to": "Charles Babbage"},
            {"user.uid": "", "name": "Letter Sent", "to": "Mary Somerville"},
        ],
        allow_missing_timestamp=True,
        max_rejected=1,
    )
