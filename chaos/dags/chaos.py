"""
One sync of events in its eight forms, and one of users in two.

It waits on the worker or in the triggerer, and its ledger is in Airflow's task state store, in a folder, or
there together with its batches; or it remembers by a watermark and insert ids what earlier runs imported.
"""

from __future__ import annotations

import os
from datetime import timedelta

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_fullstory.operators.fullstory import (
    FullStoryImportEventsOperator,
    FullStoryImportUsersOperator,
)
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

USERS = """
    SELECT 'user-' || record_id AS uid, note || ' ' || record_id AS display_name, record_id, amount,
           CASE WHEN load <= (SELECT number FROM loads) THEN load ELSE 1 END AS version
    FROM records
    ORDER BY record_id
"""
BATCHES = {
    "task_id": "sync_records",
    "sql_conn_id": "warehouse",
    "batch_size": 5_000,
    # More than anything that is broken in a round takes away.
    "retries": 20,
    "retry_delay": timedelta(seconds=1),
}

for deferrable in (False, True):
    waits = "deferrable" if deferrable else "sync"
    for place in ("", "_folder", "_staged", "_watermark"):
        with DAG(f"chaos_{waits}{place}", schedule=None, catchup=False) as dag:
            FullStoryImportEventsOperator(
                **BATCHES,
                **(REMEMBERS if place == "_watermark" else {"sql": QUERY.format(which="")}),
                event_name="Order Completed",
                state_uri=os.environ["CHAOS_STATE"] if place else None,
                stage_batches=place == "_staged",
                deferrable=deferrable,
            )
        globals()[dag.dag_id] = dag
    with DAG(f"chaos_{waits}_users", schedule=None, catchup=False) as dag:
        FullStoryImportUsersOperator(
            **BATCHES, sql=USERS, insert_id="*", state_uri=os.environ["CHAOS_STATE"], deferrable=deferrable
        )
    globals()[dag.dag_id] = dag
