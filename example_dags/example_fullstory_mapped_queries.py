"""
Import the results of several queries, each in its own task.

Dynamic task mapping makes one import for each entry of the list; `max_active_tis_per_dag` keeps the number
that run at once small, since all imports of an organization share FullStory's limits.

Connections: "warehouse" (a database) and "fullstory_default" (an API key).
"""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import dag, task

from airflow_provider_fullstory.operators.fullstory import FullStoryImportEventsOperator


@dag(schedule=None, catchup=False, tags=["example", "fullstory"], doc_md=__doc__)
def example_fullstory_mapped_queries() -> None:
    @task
    def queries() -> list[dict[str, str]]:
        """Return the arguments of each import: its name for the event and its query."""
        return [
            {
                "event_name": "Order Updated",
                "sql": 'SELECT customer_id AS "user.uid", ordered_at AS "timestamp", order_id, total'
                " FROM orders ORDER BY order_id",
            },
            {
                "event_name": "Order Completed",
                "sql": 'SELECT customer_id AS "user.uid", purchased_on AS "timestamp", quantity, amount'
                " FROM purchases ORDER BY purchase_id LIMIT 100",
            },
        ]

    imports = FullStoryImportEventsOperator.partial(
        task_id="import_events",
        sql_conn_id="warehouse",
        max_active_tis_per_dag=2,
        # What the UI shows instead of the number of each import.
        map_index_template="{{ task.event_name }}",
        deferrable=True,
    ).expand_kwargs(queries())

    @task
    def total(reports: list[dict[str, Any]]) -> int:
        """Return how many events went in over all imports."""
        return sum(report["imported"] for report in reports)

    total(imports.output)


example_fullstory_mapped_queries()
