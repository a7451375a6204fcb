"""An alias among the outlets of a sensor, and a DAG that starts by it."""

from __future__ import annotations

from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import DAG, AssetAlias, task

from airflow_provider_fullstory.operators.fullstory import FullStoryImportUsersOperator
from airflow_provider_fullstory.sensors.fullstory import FullStoryImportJobSensor

IMPORTED = AssetAlias("imported_users")

with DAG("assets_submit_and_wait", schedule=None, catchup=False):
    submit = FullStoryImportUsersOperator(
        task_id="submit", users=[{"uid": "ann"}, {"uid": "bob"}], wait_for_completion=False
    )
    FullStoryImportJobSensor(
        task_id="wait", job_ids=submit.output, poke_interval=1, deferrable=True, outlets=[IMPORTED]
    )

with DAG(
    "assets_after_sensor",
    schedule=[IMPORTED],
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
):

    @task
    def extras(**context: Any) -> list[dict[str, Any]]:
        """Return what the events hold that started this run."""
        name = (
            "triggering_asset_events" if "triggering_asset_events" in context else "triggering_dataset_events"
        )
        return [event.extra for events in context[name].values() for event in events]

    extras()
