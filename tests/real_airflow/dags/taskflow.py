"""Functions that give events or call FullStory: the decorator, and the policy of retries."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import DAG, AirflowOptionalProviderFeatureException, task

from airflow_provider_fullstory.hooks.fullstory import FullStoryHook

if TYPE_CHECKING:
    from collections.abc import Iterator

with DAG("taskflow_events", schedule=None, catchup=False):

    @task.fullstory_events(event_name="Churn Scored", deferrable=True)
    def score(count: int, **context: Any) -> Iterator[dict[str, Any]]:
        """Yield a score for each of some users."""
        for number in range(count):
            yield {"user.uid": f"scored-customer-{number}", "score": number, "run": context["run_id"]}

    score(3)

try:
    from airflow_provider_fullstory.retry_policies.fullstory import FullStoryRetryPolicy
except AirflowOptionalProviderFeatureException:
    pass
else:
    with DAG("taskflow_retry_policy", schedule=None, catchup=False):

        @task(retries=3, retry_delay=timedelta(hours=1), retry_policy=FullStoryRetryPolicy())
        def create() -> None:
            """Create a user, and leave retries to the policy."""
            with FullStoryHook(retry_for=0) as hook:
                hook.create_user(uid="one", idempotency_key="create one")

        create()
