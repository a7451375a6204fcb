"""Functions whose records are imported, in the worker and with a wait in the triggerer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import DAG, task

if TYPE_CHECKING:
    from collections.abc import Iterator

COUNT = 25

with DAG("decorators", schedule=None, catchup=False):

    @task.fullstory_events(event_name="Churn Scored", batch_size=10, deferrable=True)
    def scores(count: int, run_id: str | None = None) -> Iterator[dict[str, Any]]:
        """Yield a score for each customer, with the run that asks for it."""
        for number in range(count):
            yield {"user.uid": f"customer-{number}", "score": number / count, "run": run_id}

    @task.fullstory_users(batch_size=10)
    def customers() -> list[dict[str, Any]]:
        """Return the customers."""
        return [{"uid": f"customer-{number}", "display_name": f"Ada {number}"} for number in range(COUNT)]

    scores(COUNT) >> customers()
