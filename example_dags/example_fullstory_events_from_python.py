"""
Build events in a Python task and hand them over through XCom.

An event may be written as FullStory's API takes it, as here, or flat, with dotted keys such as "user.uid".
Only the report of the import (job ids and counts) goes back to XCom, never a row.

Connection: "fullstory_default" (an API key).
"""

from __future__ import annotations

from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import dag, task

from airflow_provider_fullstory.operators.fullstory import FullStoryImportEventsOperator


@dag(schedule=None, catchup=False, tags=["example", "fullstory"], doc_md=__doc__)
def example_fullstory_events_from_python() -> None:
    @task
    def churn_scores() -> list[dict[str, Any]]:
        """Return one event for each user that a model has scored."""
        scored_at = pendulum.datetime(2026, 1, 15, 6, tz="UTC").isoformat()
        return [
            {
                "name": "Churn Scored",
                "timestamp": scored_at,
                "user": {"uid": uid},
                "properties": {"score": score, "model": "2026-01", "at_risk": score > 0.5},
            }
            for uid, score in [("customer-1", 0.12), ("customer-2", 0.81), ("customer-3", 0.47)]
        ]

    FullStoryImportEventsOperator(task_id="import_scores", events=churn_scores())


example_fullstory_events_from_python()
