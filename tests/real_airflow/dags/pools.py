"""Four imports of a table that share what may be unfinished in FullStory, through pools of several sizes."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_fullstory.operators.fullstory import FullStoryImportEventsOperator

PARTS = 4
RECORDS_PER_SLOT = 4000

for slots in (2, 4):
    with DAG(f"pool_of_{slots}", schedule=None, catchup=False) as dag:
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
            pool=f"pool_of_{slots}",
            batch_size=1000,
            max_outstanding_records=RECORDS_PER_SLOT,
            poll_interval=0.5,
            deferrable=True,
        ).expand(parameters=[{"part": part} for part in range(PARTS)])
    globals()[dag.dag_id] = dag
