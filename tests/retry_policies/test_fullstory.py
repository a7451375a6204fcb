"""When a task that calls FullStory is tried again."""

from __future__ import annotations

import importlib
import json
import sys
from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowOptionalProviderFeatureException

from airflow_provider_fullstory import exceptions
from airflow_provider_fullstory.exceptions import (
    FullStoryAuthenticationError,
    FullStoryError,
    FullStoryInputError,
    FullStoryPermissionError,
    FullStoryRateLimitError,
    FullStoryServerError,
)

MODULE = "airflow_provider_fullstory.retry_policies.fullstory"
sdk = pytest.importorskip("airflow.sdk", reason="Airflow 2 has no retry policies.")
needs_policies = pytest.mark.skipif(
    not hasattr(sdk, "RetryPolicy"), reason="Retry policies came with Airflow 3.3."
)


def decided(error: BaseException, **arguments: Any) -> Any:
    policy = importlib.import_module(MODULE).FullStoryRetryPolicy(**arguments)
    return policy.evaluate(error, 1, 3)


@needs_policies
@pytest.mark.parametrize(
    "error", [FullStoryInputError("?"), FullStoryAuthenticationError("?"), FullStoryPermissionError("?")]
)
def test_what_a_retry_meets_again_fails_at_once(error: FullStoryError) -> None:
    decision = decided(error)
    assert decision.action.value == "fail"
    assert type(error).__name__ in decision.reason


@needs_policies
@pytest.mark.parametrize(("asked", "seconds"), [(30, 30), (86_400, 3600), (0, 0)])
def test_a_retry_waits_as_long_as_fullstory_asks(asked: float, seconds: float) -> None:
    decision = decided(FullStoryRateLimitError("?", retry_after=asked))
    assert decision.action.value == "retry"
    assert decision.retry_delay == timedelta(seconds=seconds)


@needs_policies
@pytest.mark.parametrize("error", [FullStoryServerError("?"), FullStoryRateLimitError("?"), KeyError("?")])
def test_other_errors_are_left_to_the_task(error: BaseException) -> None:
    assert decided(error).action.value == "default"


@needs_policies
def test_nothing_that_may_pass_is_failed_at_once() -> None:
    types = [
        kind
        for kind in vars(exceptions).values()
        if isinstance(kind, type) and kind.__module__ == exceptions.__name__
    ]
    failed = {kind for kind in types if decided(kind("?")).action.value == "fail"}
    assert failed
    assert [kind for kind in failed if kind.is_transient] == []


@needs_policies
def test_a_dag_keeps_the_policy() -> None:
    policy = importlib.import_module(MODULE).FullStoryRetryPolicy(longest_delay=60.0)
    kept = json.loads(json.dumps(policy.serialize()))
    assert type(policy).deserialize(kept).longest_delay == 60.0


def test_an_airflow_without_policies_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    monkeypatch.delattr(sdk, "RetryPolicy", raising=False)
    monkeypatch.setattr(sdk, "__getattr__", lambda name: (_ for _ in ()).throw(AttributeError(name)))
    with pytest.raises(AirflowOptionalProviderFeatureException, match=r"needs Airflow 3\.3 or newer"):
        importlib.import_module(MODULE)
