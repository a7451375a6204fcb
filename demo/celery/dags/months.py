"""
Import the purchases of a year month by month: each month is a task, on whichever worker has room for it.

All that tasks have in common lies in object storage: what was sent, the staged batches, and refused records.
The limits are small, so that a month takes longer than a worker lives.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.providers.common.compat.sdk import DAG, Param, task

from airflow_provider_fullstory.operators.fullstory import FullStoryImportEventsOperator

with DAG("months", schedule=None, catchup=False, params={"first": Param(1, minimum=1, maximum=12)}):

    @task
    def months(first: str) -> list[dict[str, str]]:
        """Return the parameters of each month's query."""
        dates = [pendulum.date(1997, month, 1) for month in range(int(first), 13)]
        return [{"start": str(date), "end": str(date.add(months=1))} for date in dates]

    FullStoryImportEventsOperator.partial(
        task_id="import_month",
        sql_conn_id="warehouse",
        sql="""
            SELECT customer_id AS "user.uid", purchased_on AS "timestamp", quantity, amount
            FROM purchases
            WHERE purchased_on >= %(start)s AND purchased_on < %(end)s
            ORDER BY purchase_id
        """,
        event_name="Order Completed",
        state_uri="{{ var.value.fullstory_state_uri }}",
        stage_batches=True,
        rejected_uri="{{ var.value.fullstory_refused_uri }}",
        max_rejected=0.05,
        pool="fullstory",
        batch_size=500,
        max_outstanding_records=1_000,
        poll_interval=1,
        deferrable=True,
        # More than anything that is broken takes away.
        retries=10,
        retry_delay=timedelta(seconds=1),
    ).expand(parameters=months("{{ params.first }}"))
