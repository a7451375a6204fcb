"""
Mark a deploy in FullStory's charts, so that a change in them can be told from a change of the product.

The CI system triggers the DAG with the version that it has built. FullStory can neither list nor delete a
mark, so the task posts it at most once for each run, however often the task is tried or cleared: a note under
the state folder says what earlier tries did. If FullStory's answer was lost, the task succeeds, and its log
says that nobody can know whether the mark is there.

Connection: "fullstory_default" (an API key).
Variable: "fullstory_state_uri", such as "s3://aws_default@bucket/fullstory".
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.providers.common.compat.sdk import DAG, Param, task

from airflow_provider_fullstory.operators.fullstory import FullStoryAnnotationOperator

with DAG(
    "example_fullstory_annotate_deploy",
    schedule=None,
    catchup=False,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=5)},
    params={"version": Param("2026.1", type="string")},
    tags=["example", "fullstory"],
    doc_md=__doc__,
):

    @task
    def deploy(version: str) -> str:
        """Deploy a version, and return when its first user could see it."""
        print(f"Version {version} is out.")  # noqa: T201
        return pendulum.now("UTC").isoformat()

    FullStoryAnnotationOperator(
        task_id="annotate_deploy",
        text="Version {{ params.version }} is out",
        # A retry that comes hours later still marks the time of the deploy.
        start_time=deploy("{{ params.version }}"),
        source="CI",
        state_uri="{{ var.value.fullstory_state_uri }}",
    )
