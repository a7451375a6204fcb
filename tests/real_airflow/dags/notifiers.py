"""Notifiers of a task, of a run, and of a deadline."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_fullstory.notifications.fullstory import FullStoryAnnotationNotifier

# Deadlines have no Airflow variables in their templates.
STATE_URI = os.environ.get("AIRFLOW_VAR_FULLSTORY_STATE_URI")

deadline: dict[str, Any] = {}
try:
    from airflow.sdk import AsyncCallback, DeadlineAlert, DeadlineReference
except ImportError:
    # Airflow 2 has no deadlines.
    pass
else:
    deadline["deadline"] = DeadlineAlert(
        reference=DeadlineReference.FIXED_DATETIME(datetime(2020, 1, 1, tzinfo=UTC)),
        interval=timedelta(seconds=1),
        callback=AsyncCallback(
            FullStoryAnnotationNotifier,
            kwargs={
                "text": "{{ dag_run.dag_id }} is late: {{ dag_run.dag_run_id }}",
                "state_uri": STATE_URI,
            },
        ),
    )


@task
def work() -> None:
    """Do nothing."""


with DAG("notifiers_task", schedule=None, catchup=False):
    done = FullStoryAnnotationNotifier("Done in try {{ ti.try_number }}", state_uri=STATE_URI)
    work.override(on_success_callback=done)()

with DAG(
    "notifiers_run",
    schedule=None,
    catchup=False,
    on_success_callback=FullStoryAnnotationNotifier("Done: {{ run_id }}", state_uri=STATE_URI),
):
    work()

with DAG("notifiers_deadline", schedule=None, catchup=False, **deadline):
    work()
