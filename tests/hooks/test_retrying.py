"""Which requests are sent again, and for how long."""

from __future__ import annotations

import asyncio
import gc
import json
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_fullstory.api import protocol
from airflow_provider_fullstory.exceptions import (
    FullStoryError,
    FullStoryRateLimitError,
    FullStoryServerError,
)
from airflow_provider_fullstory.hooks.fullstory import FullStoryAsyncHook, FullStoryHook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_fullstory.emulator.client import EmulatorClient

GOOD = {"name": "Order Completed", "user": {"uid": "u1"}}


def body(*records: dict[str, Any]) -> bytes:
    return json.dumps({"requests": records}).encode()


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "FIRST_RETRY_SECONDS", 0.01)


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 429, "headers": {"Retry-After": "0"}},
        {"status": 500},
        {"status": 503},
        {"status": 409},
        {"reset": "before"},
        {"reset": "after"},
        {"status": 503, "work_done": True},
    ],
    ids=str,
)
def test_passing_faults_are_retried_and_nothing_is_doubled(
    emulator: EmulatorClient, hook: Any, fault: dict[str, Any]
) -> None:
    emulator.order_fault(method="POST", path="/v2/events/batch", times=2, **fault)
    hook.create_import("events", body(GOOD), "key-1")
    assert len(emulator.events()) == 1
    asked = [request for request in emulator.requests() if request["method"] == "POST"]
    assert len(asked) == 3
    assert {request["idempotency_key"] for request in asked} == {"key-1"}


def test_retry_after_counts_before_our_own_waits(
    emulator: EmulatorClient, hook: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "FIRST_RETRY_SECONDS", 1000.0)
    emulator.order_fault(method="GET", path="/me", status=429, headers={"Retry-After": "0.01"})
    assert hook.get_account().org_id


def test_retries_are_bounded_in_time(emulator: EmulatorClient, open_hook: Callable[..., Any]) -> None:
    emulator.order_fault(path="/me", status=429, headers={"Retry-After": "3600"}, times=100)
    with open_hook(retry_for=60) as hook, pytest.raises(FullStoryRateLimitError) as caught:
        hook.get_account()
    assert caught.value.retry_after == 3600
    assert "FullStory asks to wait 3600 s" in str(caught.value)
    assert len(emulator.requests()) == 1


def test_a_reached_limit_of_the_organization_may_be_waited_for_longer_than_a_fault(
    emulator: EmulatorClient, open_hook: Callable[..., Any]
) -> None:
    emulator.order_fault(path="/me", status=429, headers={"Retry-After": "0.05"}, times=3)
    with open_hook(retry_for=0, rate_limited_for=60) as hook:
        assert hook.get_account().org_id
    emulator.order_fault(path="/me", status=503)
    with open_hook(retry_for=0, rate_limited_for=60) as hook, pytest.raises(FullStoryServerError):
        hook.get_account()


def test_a_fault_has_its_own_time_after_a_limit_that_was_waited_for(
    emulator: EmulatorClient, open_hook: Callable[..., Any]
) -> None:
    emulator.order_fault(path="/me", status=429, headers={"Retry-After": "0.3"}, times=3)
    emulator.order_fault(path="/me", status=503)
    with open_hook(retry_for=0.5, rate_limited_for=60) as hook:
        assert hook.get_account().org_id
    assert [request["status"] for request in emulator.requests()] == [429, 429, 429, 503, 200]


def test_faults_that_last_end_a_request_that_was_limited_before(
    emulator: EmulatorClient, open_hook: Callable[..., Any]
) -> None:
    emulator.order_fault(path="/me", status=429, times=3)
    emulator.order_fault(path="/me", status=503, headers={"Retry-After": "0.2"}, times=100)
    with open_hook(retry_for=0.5, rate_limited_for=60) as hook, pytest.raises(FullStoryServerError):
        hook.get_account()
    assert len(emulator.requests()) < 10


class OwnHook(FullStoryHook):
    """A hook of a user, whose constructor takes other arguments."""

    def __init__(self, team: str) -> None:
        super().__init__(retry_for=20)
        self.team = team


def test_a_hook_with_its_own_constructor_can_poll_and_be_tested(emulator: EmulatorClient) -> None:
    with OwnHook("sales") as hook:
        works, message = hook.test_connection()
        assert works, message
        imports = hook.imports("events")
        job = imports.create_import(body(GOOD), "key")
        emulator.order_fault(method="GET", path="/v2/events/batch/*", status=503)
        with pytest.raises(FullStoryServerError):
            imports.get_job_status(job.id)
        assert imports.get_job_status(job.id).imports == 1


def test_a_hook_without_retries_shares_the_session_and_leaves_the_other_as_it_is(
    emulator: EmulatorClient,
) -> None:
    with OwnHook("sales") as hook:
        once = hook.without_retries()
        assert (type(once), once.team, once.retry_for) == (OwnHook, "sales", 0)
        assert once.session is hook.session
        emulator.order_fault(path="/me", status=503)
        with pytest.raises(FullStoryServerError):
            once.get_account()
        emulator.order_fault(path="/me", status=503)
        assert hook.get_account().org_id
        assert hook.retries == 1


@pytest.mark.parametrize(
    ("attribute", "status"), [("retry_for", 503), ("retry_for", 429), ("rate_limited_for", 429)]
)
def test_a_changed_retry_budget_takes_effect(emulator: EmulatorClient, attribute: str, status: int) -> None:
    hook = FullStoryHook(retry_for=0)
    setattr(hook, attribute, 20.0)
    emulator.order_fault(path="/me", status=status)
    assert hook.get_account().org_id
    assert hook.retries == 1
    setattr(hook, attribute, 0.0)
    emulator.order_fault(path="/me", status=status)
    with pytest.raises(FullStoryError, match=f"HTTP {status}"):
        hook.get_account()


def test_a_changed_retry_budget_of_an_open_asynchronous_hook_takes_effect(emulator: EmulatorClient) -> None:
    async def calls() -> None:
        async with FullStoryAsyncHook(retry_for=0) as hook:
            emulator.order_fault(path="/me", status=503, times=2)
            with pytest.raises(FullStoryServerError):
                await hook.get_account()
            hook.retry_for = 20.0
            assert (await hook.get_account()).org_id
            assert hook.retries == 1

    asyncio.run(calls())


def test_a_request_that_waits_for_its_turn_ends_with_its_hook(emulator: EmulatorClient) -> None:
    emulator.order_fault(path="/me", status=429, times=10_000)
    hook = FullStoryHook(retry_for=0, rate_limited_for=3600)
    with ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(hook.get_account) for _ in range(3)]
        while len(emulator.requests()) < 10:
            assert not any(call.done() for call in calls)
        hook.close()
        for call in calls:
            with pytest.raises(FullStoryRateLimitError):
                call.result(30)


def test_server_errors_that_last_are_raised_in_the_end(
    emulator: EmulatorClient, open_hook: Callable[..., Any]
) -> None:
    emulator.order_fault(path="/me", status=503, times=100)
    with open_hook(retry_for=0) as hook, pytest.raises(FullStoryServerError, match="HTTP 503"):
        hook.get_account()


def test_closing_a_hook_ends_retries_in_other_threads(emulator: EmulatorClient) -> None:
    """Else a task that was ended would wait for uploads that nobody waits for."""
    emulator.order_fault(path="/me", status=503, headers={"Retry-After": "3600"}, times=100)
    hook = FullStoryHook(retry_for=7200)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(hook.get_account)
        while not emulator.requests():
            assert not call.done()
        hook.close()
        with pytest.raises(FullStoryServerError):
            call.result(timeout=60)
    assert len(emulator.requests()) == 1
    emulator.forget_faults()
    assert hook.get_account().org_id


def test_a_body_is_not_kept_after_its_request(emulator: EmulatorClient) -> None:
    """Else a long import would fill the memory: it rarely collects garbage."""

    class Content:
        def __len__(self) -> int:
            return len(bytes(self))

        def __iter__(self) -> Iterator[bytes]:
            yield bytes(self)

        def __bytes__(self) -> bytes:
            return body(GOOD)

    content = Content()
    kept = weakref.ref(content)
    gc.disable()
    try:
        with FullStoryHook() as hook:
            hook.create_import("events", content, "key")
            del content
            assert kept() is None
    finally:
        gc.enable()
