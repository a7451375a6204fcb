"""
Start another DAG when an import has brought records, and tell it how many.

An asset of FullStory is among the outlets of the import. Each import that succeeds makes an event of the
asset, which holds its counts, and starts the DAGs that are scheduled by the asset.

Connections: "warehouse" (a database) and "fullstory_default" (an API key).
"""

from __future__ import annotations

from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_fullstory.assets.fullstory import create_asset
from airflow_provider_fullstory.operators.fullstory import FullStoryImportEventsOperator

# The id of the organization, as the settings of FullStory show it.
EVENTS = create_asset(organization="1ABC", resource="events")

with DAG(
    "example_fullstory_asset_events",
    schedule=None,
    catchup=False,
    tags=["example", "fullstory"],
    doc_md=__doc__,
):
    FullStoryImportEventsOperator(
        task_id="import_orders",
        sql_conn_id="warehouse",
        sql="""
            SELECT customer_id AS "user.uid", ordered_at AS "timestamp", order_id, total
            FROM orders
            ORDER BY order_id
        """,
        event_name="Order Completed",
        outlets=[EVENTS],
        deferrable=True,
    )

with DAG(
    "example_fullstory_after_import",
    schedule=[EVENTS],
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    tags=["example", "fullstory"],
    doc_md=__doc__,
):

    @task
    def count_imported(**context: Any) -> int:
        """Return how many events the imports have brought that started this run."""
        # Airflow 2 calls an asset a dataset.
        name = (
            "triggering_asset_events" if "triggering_asset_events" in context else "triggering_dataset_events"
        )
        return sum(event.extra["imported"] for events in context[name].values() for event in events)

    count_imported()
