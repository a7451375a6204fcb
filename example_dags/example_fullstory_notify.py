"""
Mark in FullStory's charts whether the prices of a shop were updated.

Whoever sees a dip in a chart then sees at once that the prices of that night were old. Airflow calls the
notifiers when the run has ended, outside of any task: whatever becomes of the mark, the run keeps its state,
and Airflow logs the error of a mark that FullStory refused. Templates have "dag" and "run_id" there.

To keep one mark for each run even if Airflow calls a notifier twice, set [fullstory] state_uri in Airflow's
configuration, or state_uri here.

Connection: "fullstory_default" (an API key).
"""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG, Param, task

from airflow_provider_fullstory.notifications.fullstory import FullStoryAnnotationNotifier

with DAG(
    "example_fullstory_notify",
    schedule=None,
    catchup=False,
    params={"prices": Param(250, type="integer")},
    on_success_callback=FullStoryAnnotationNotifier(text="New prices ({{ dag.dag_id }})"),
    on_failure_callback=FullStoryAnnotationNotifier(text="Old prices: {{ dag.dag_id }} failed, {{ run_id }}"),
    tags=["example", "fullstory"],
    doc_md=__doc__,
):

    @task
    def update_prices(count: str) -> None:
        """Take the prices over, unless none came."""
        if int(count) == 0:
            raise ValueError("The file of prices is empty.")

    update_prices("{{ params.prices }}")
