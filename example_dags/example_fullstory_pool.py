"""
Several imports at the same time that share FullStory's limit through an Airflow pool.

FullStory takes 500,000 unfinished records of the whole organization. The pool has a slot for each 125,000 of
them, so that four imports with a share of one slot each run at the same time; one with `pool_slots=2` may
have 250,000 records unfinished. Deferred tasks have to count, since FullStory is still working for them:

    airflow pools set fullstory 4 "FullStory: 125,000 unfinished records a slot" --include-deferred

Batches of 25,000 fit five times into a share; two of 50,000 would leave a fifth of it unused.

Connections: "warehouse" (a database) and "fullstory_default" (an API key).
"""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_fullstory.operators.fullstory import FullStoryImportEventsOperator

PARTS = 4
RECORDS_PER_SLOT = 125_000

with DAG(
    "example_fullstory_pool", schedule=None, catchup=False, tags=["example", "fullstory"], doc_md=__doc__
):
    FullStoryImportEventsOperator.partial(
        task_id="import_purchases",
        sql_conn_id="warehouse",
        sql=f"""
            SELECT customer_id AS "user.uid", purchased_on AS "timestamp", quantity, amount
            FROM purchases
            WHERE MOD(purchase_id, {PARTS}) = %(part)s
            ORDER BY purchase_id
        """,
        event_name="Order Completed",
        pool="fullstory",
        pool_slots=1,
        batch_size=25_000,
        max_outstanding_records=RECORDS_PER_SLOT,
        deferrable=True,
    ).expand(parameters=[{"part": part} for part in range(PARTS)])
