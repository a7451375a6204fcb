"""More batches than are uploaded at once, of records that the DAG file holds."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_fullstory.operators.fullstory import FullStoryImportEventsOperator

with DAG("many_batches", schedule=None, catchup=False) as dag:
    FullStoryImportEventsOperator(
        task_id="import_numbers",
        events=[{"user.uid": "u", "number": number} for number in range(120)],
        event_name="Numbered",
        batch_size=2,
        max_parallel_uploads=8,
    )
