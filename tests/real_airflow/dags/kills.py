"""An import whose process is killed: its batches are staged, and a retry follows at once."""

from __future__ import annotations

import os
from datetime import timedelta

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_fullstory.operators.fullstory import FullStoryImportEventsOperator

with DAG("kills", schedule=None, catchup=False) as dag:
    FullStoryImportEventsOperator(
        task_id="import_orders",
        sql_conn_id="warehouse",
        # Another order each time: only staged batches can be sent to their end.
        sql="""
            SELECT customer_id AS "user.uid", ordered_at AS timestamp, order_id FROM orders ORDER BY random()
        """,
        event_name="Order Updated",
        batch_size=20,
        max_parallel_uploads=1,
        state_uri=os.environ["AIRFLOW_VAR_FULLSTORY_STATE_URI"],
        stage_batches=True,
        retries=3,
        retry_delay=timedelta(seconds=1),
    )
