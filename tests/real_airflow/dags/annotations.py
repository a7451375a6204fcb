"""An annotation whose first try ends before it can note anything."""

from __future__ import annotations

import os
from datetime import timedelta

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_fullstory.operators.fullstory import FullStoryAnnotationOperator

with DAG("annotations", schedule=None, catchup=False):
    for task_id, state_uri in (
        ("in_folder", os.environ.get("AIRFLOW_VAR_FULLSTORY_STATE_URI")),
        ("without_folder", None),
    ):
        FullStoryAnnotationOperator(
            task_id=task_id,
            # Python knows no number that is divided by zero.
            text="{{ task.task_id }} in try {{ ti.try_number }} {{ 1 // (ti.try_number - 1) }}",
            state_uri=state_uri,
            retries=1,
            retry_delay=timedelta(seconds=1),
        )
