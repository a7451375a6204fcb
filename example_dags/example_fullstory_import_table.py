"""
Send a whole table to FullStory: one row, one event.

The names of the selected columns say where each value goes: "user.uid" and "timestamp" are fields of
FullStory's API, every other column becomes a property of the event. Rows are read through a server-side
cursor, so a table of any size needs the same small memory; while FullStory works, the task waits in the
triggerer and holds no worker slot.

Connections: "warehouse" (a database) and "fullstory_default" (an API key).
"""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_fullstory.operators.fullstory import FullStoryImportEventsOperator

with DAG(
    "example_fullstory_import_table",
    schedule=None,
    catchup=False,
    tags=["example", "fullstory"],
    doc_md=__doc__,
):
    FullStoryImportEventsOperator(
        task_id="import_purchases",
        sql_conn_id="warehouse",
        sql="""
            SELECT customer_id  AS "user.uid",
                   purchased_on AS "timestamp",
                   quantity,
                   amount
            FROM purchases
            ORDER BY purchase_id
        """,
        event_name="Order Completed",
        batch_size=10_000,
        deferrable=True,
    )
