"""Notifiers of a task, and of a deadline."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_fullstory.notifications.fullstory import FullStoryAnnotationNotifier

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
            kwargs={"text": "{{ dag_run.dag_id }} is late: {{ dag_run.dag_run_id }}"},
        ),
    )


@task
def work() -> None:
    """Do nothing."""


with DAG("notifiers_task", schedule=None, catchup=False):
    work.override(on_success_callback=FullStoryAnnotationNotifier("Done in try {{ ti.try_number }}"))()

with DAG("notifiers_deadline", schedule=None, catchup=False, **deadline):
    work()
