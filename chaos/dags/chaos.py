"""
One sync in its eight forms.

It waits on the worker or in the triggerer, and its ledger is in Airflow's task state store, in a folder, or
there together with its batches; or it remembers by a watermark and insert ids what earlier runs imported.
"""

from __future__ import annotations

import os
from datetime import timedelta

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_fullstory.operators.fullstory import FullStoryImportEventsOperator
from airflow_provider_fullstory.watermark import Watermark

QUERY = """
    SELECT customer_id AS "user.uid", happened_at AS "timestamp", record_id, amount, note
    FROM records
    {which}
    ORDER BY record_id
"""
NEW = "WHERE happened_at >= %(since)s AND load <= (SELECT number FROM loads)"
REMEMBERS = {
    "sql": QUERY.format(which=NEW),
    # Longer than a record of the second load is late.
    "parameters": {"since": Watermark("timestamp", initial="2026-01-01T00:00:00Z", lag=timedelta(days=1))},
    "insert_id": "record_id",
}

for deferrable in (False, True):
    for place in ("", "_folder", "_staged", "_watermark"):
        name = f"chaos_{'deferrable' if deferrable else 'sync'}{place}"
        with DAG(name, schedule=None, catchup=False) as dag:
            FullStoryImportEventsOperator(
                task_id="sync_records",
                sql_conn_id="warehouse",
                **(REMEMBERS if place == "_watermark" else {"sql": QUERY.format(which="")}),
                event_name="Order Completed",
                batch_size=5_000,
                state_uri=os.environ["CHAOS_STATE"] if place else None,
                stage_batches=place == "_staged",
                deferrable=deferrable,
                # More than anything that is broken in a round takes away.
                retries=20,
                retry_delay=timedelta(seconds=1),
            )
        globals()[name] = dag
