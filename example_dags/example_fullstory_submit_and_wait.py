"""
Submit an import in one task and wait for it in another.

The first task ends as soon as FullStory has accepted the batches; other work can run while FullStory
imports them. The sensor takes the report of the first task and completes it.

Connection: "fullstory_default" (an API key).
"""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import dag, task

from airflow_provider_fullstory.operators.fullstory import FullStoryImportEventsOperator
from airflow_provider_fullstory.sensors.fullstory import FullStoryImportJobSensor


@dag(schedule=None, catchup=False, tags=["example", "fullstory"], doc_md=__doc__)
def example_fullstory_submit_and_wait() -> None:
    submit = FullStoryImportEventsOperator(
        task_id="submit",
        events=[
            {"name": "Plan Changed", "user.uid": "customer-1", "plan": "team"},
            {"name": "Plan Changed", "user.uid": "customer-2", "plan": "free"},
        ],
        wait_for_completion=False,
    )
    wait = FullStoryImportJobSensor(task_id="wait", job_ids=submit.output, deferrable=True)

    @task
    def announce(report: dict[str, Any]) -> None:
        """Print what FullStory made of the import."""
        print(f"{report['imported']} of {report['records']} events are in FullStory")  # noqa: T201

    announce(wait.output)


example_fullstory_submit_and_wait()
