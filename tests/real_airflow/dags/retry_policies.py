"""A task of one's own with the retry policy, and a delay that no test could wait for."""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.common.compat.sdk import DAG, AirflowOptionalProviderFeatureException, task

from airflow_provider_fullstory.hooks.fullstory import FullStoryHook

try:
    from airflow_provider_fullstory.retry_policies.fullstory import FullStoryRetryPolicy
except AirflowOptionalProviderFeatureException:
    # Airflow before 3.3 has no policies.
    pass
else:
    with DAG("retry_policies", schedule=None, catchup=False):

        @task(retries=3, retry_delay=timedelta(days=1), retry_policy=FullStoryRetryPolicy())
        def welcome() -> None:
            """Create an event; only Airflow tries it again."""
            with FullStoryHook(retry_for=0) as hook:
                hook.create_event("Welcomed", user={"uid": "customer-1"}, idempotency_key="welcomed")

        welcome()
