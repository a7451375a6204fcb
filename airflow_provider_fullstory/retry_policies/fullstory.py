"""The retry policy for tasks that call FullStory; it needs Airflow 3.3 or newer."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Self

from airflow.providers.common.compat.sdk import AirflowOptionalProviderFeatureException

from airflow_provider_fullstory.exceptions import (
    FullStoryAuthenticationError,
    FullStoryBadRequestError,
    FullStoryError,
    FullStoryPermissionError,
)
from airflow_provider_fullstory.task.errors import FINAL

try:
    from airflow.sdk import RetryDecision, RetryPolicy
except ImportError as error:
    raise AirflowOptionalProviderFeatureException(
        "FullStoryRetryPolicy needs Airflow 3.3 or newer. On older ones, leave retry_policy= out: operators "
        "and the sensor of this package fail without a retry where none can help."
    ) from error

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

#: Failures that the same request will meet again until somebody changes something.
_HOPELESS: Final = (
    *FINAL,
    FullStoryAuthenticationError,
    FullStoryBadRequestError,
    FullStoryPermissionError,
)


class FullStoryRetryPolicy(RetryPolicy):
    """
    Retry a task where that can help, and not before FullStory wants to be asked again.

    It is for tasks of your own that use :class:`~airflow_provider_fullstory.hooks.fullstory.FullStoryHook`,
    and for operators that should fail at once when the API key is wrong.

    - Wrong input, a wrong key, a missing permission, a request that FullStory calls bad, an exceeded quota,
      and whatever else a retry meets again: the task fails at once.
    - An answer with ``Retry-After``: a retry after that time, or after ``longest_delay``.
    - Any other error, also of other systems: as ``retries`` and ``retry_delay`` of the task say.

    A policy cannot add to ``retries``.

    :param longest_delay: The most seconds that ``Retry-After`` may put a retry off; an hour by default.
    """

    def __init__(self, *, longest_delay: float = 60 * 60.0) -> None:
        self.longest_delay = longest_delay

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,  # noqa: ARG002 - Part of Airflow's interface.
        max_tries: int,  # noqa: ARG002
        context: Context | None = None,  # noqa: ARG002
    ) -> RetryDecision:
        """
        Return whether and when the task is tried again.

        :param exception: Why it failed.
        :param try_number: Number of the try, from 1.
        :param max_tries: How many tries there may be.
        :param context: The task's context.
        """
        if not isinstance(exception, FullStoryError):
            return RetryDecision.default()
        if isinstance(exception, _HOPELESS):
            return RetryDecision.fail(f"A retry meets the same {type(exception).__name__} again.")
        if exception.retry_after is None:
            return RetryDecision.default()
        seconds = min(exception.retry_after, self.longest_delay)
        return RetryDecision.retry(
            delay=timedelta(seconds=seconds),
            reason=f"FullStory asked to wait {exception.retry_after:g} s; the retry is in {seconds:g} s.",
        )

    def serialize(self) -> dict[str, Any]:
        """Return what a DAG keeps of the policy."""
        return {"longest_delay": self.longest_delay}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> Self:
        """
        Return the policy that a DAG kept.

        :param data: What :meth:`serialize` gave.
        """
        return cls(**data)
