"""What dbt does, in small: a task that builds a model of the warehouse anew, and has it as its outlet."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG, Asset, task
from airflow.providers.postgres.hooks.postgres import PostgresHook

with DAG("warehouse_model", schedule=None, catchup=False):

    @task(outlets=[Asset("postgres://warehouse:5432/warehouse/public/customer_revenue")])
    def customer_revenue() -> None:
        """Build the model."""
        PostgresHook("warehouse").run(
            [
                "DROP TABLE IF EXISTS customer_revenue",
                """
                CREATE TABLE customer_revenue AS
                SELECT customer_id, max(ordered_at) AS last_order_at, count(*) AS orders,
                       sum(total) AS revenue
                FROM orders
                GROUP BY customer_id
                """,
            ]
        )

    customer_revenue()
