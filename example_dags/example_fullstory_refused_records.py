"""
Keep refused records, and send them again once they are fixed.

The first DAG imports orders, and tolerates that one in twenty is refused, by this package or by FullStory.
Those are written to a file, each with its reason and in a form that can be sent again. Fix the file, then
trigger the second DAG with its URI, which the first one's XCom names.

Connections: "warehouse" (a database) and "fullstory_default" (an API key of level Architect or above, since
others cannot read what FullStory refused).
Variable: "fullstory_refused_uri", such as "s3://aws_default@bucket/fullstory-refused/".
"""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_fullstory.operators.fullstory import FullStoryImportEventsOperator

with DAG(
    "example_fullstory_refused_records",
    schedule=None,
    catchup=False,
    tags=["example", "fullstory"],
    doc_md=__doc__,
):
    FullStoryImportEventsOperator(
        task_id="import_orders",
        sql_conn_id="warehouse",
        sql="""
            SELECT order_id, customer_id AS "user.uid", ordered_at AS timestamp, status, total
            FROM orders
            ORDER BY order_id
        """,
        event_name="Order Updated",
        record_key="order_id",
        max_rejected=0.05,
        min_records=1,
        rejected_uri="{{ var.value.fullstory_refused_uri }}",
        deferrable=True,
    )

with DAG(
    "example_fullstory_send_again",
    schedule=None,
    catchup=False,
    params={"rejected_uri": Param("", type="string", description="What the first DAG's XCom names.")},
    tags=["example", "fullstory"],
    doc_md=__doc__,
):
    FullStoryImportEventsOperator(
        task_id="import_fixed",
        events="{{ params.rejected_uri }}",
        deferrable=True,
    )
