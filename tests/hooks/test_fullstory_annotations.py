"""Annotations: what surely did not arrive is sent again, and what may have arrived never is."""

from __future__ import annotations

import socket
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_fullstory.api import protocol
from airflow_provider_fullstory.api.annotations import Annotation
from airflow_provider_fullstory.emulator.client import EmulatorClient
from airflow_provider_fullstory.exceptions import (
    FullStoryAuthenticationError,
    FullStoryError,
    FullStoryInputError,
    FullStoryUnreachableError,
)
from tests.annotations import LOST, POSTS
from tests.tries import Clock

if TYPE_CHECKING:
    from collections.abc import Callable

NOON = "2026-01-31T12:00:00Z"
LATER = "2026-01-31T12:30:00Z"


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "FIRST_RETRY_SECONDS", 0.01)


def test_an_annotation_is_created_and_returned(emulator: EmulatorClient, hook: Any) -> None:
    annotation = hook.create_annotation("Deployed", start_time=NOON, end_time=LATER, source="Airflow")

    assert annotation == Annotation("Deployed", NOON, LATER, "Airflow")
    assert emulator.annotations() == [
        {"text": "Deployed", "start_time": NOON, "end_time": LATER, "source": "Airflow"}
    ]
    assert emulator.requests()[-1]["idempotency_key"] is None


def test_a_text_alone_is_enough_and_a_standard_key(
    emulator: EmulatorClient, open_hook: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_FULLSTORY_DEFAULT", emulator.connection_json(emulator.standard_key))
    with open_hook() as hook:
        annotation = hook.create_annotation("Déployé")

    assert [stored["text"] for stored in emulator.annotations()] == [annotation.text] == ["Déployé"]
    assert annotation.start_time == annotation.end_time


def test_a_wrong_annotation_is_refused_before_anything_is_sent(emulator: EmulatorClient, hook: Any) -> None:
    with pytest.raises(FullStoryInputError, match="Nothing was sent"):
        hook.create_annotation("x" * 201)

    assert emulator.requests() == []


@pytest.mark.parametrize("fault", LOST, ids=str)
def test_what_may_have_arrived_is_never_sent_again(
    emulator: EmulatorClient, hook: Any, fault: dict[str, Any]
) -> None:
    emulator.order_fault(**POSTS, **fault, times=9)

    with pytest.raises(FullStoryError) as caught:
        hook.create_annotation("Deployed")

    assert caught.value.is_ambiguous
    assert len(emulator.requests()) == 1


@pytest.mark.parametrize("fault", [{"reset": "after"}, {"status": 503, "work_done": True}], ids=str)
def test_a_clock_that_is_set_back_changes_nothing_about_that(
    emulator: EmulatorClient,
    hook: Any,
    monkeypatch: pytest.MonkeyPatch,
    fault: dict[str, Any],
) -> None:
    clock = Clock(monkeypatch)
    seconds = protocol.retry_seconds

    def set_back(*arguments: Any) -> float:
        clock.now -= 3600
        return seconds(*arguments)

    monkeypatch.setattr(protocol, "retry_seconds", set_back)
    emulator.order_fault(**POSTS, **fault)

    with pytest.raises(FullStoryError):
        hook.create_annotation("Deployed")

    assert len(emulator.annotations()) == 1


def test_a_rate_limit_is_waited_out(emulator: EmulatorClient, hook: Any) -> None:
    emulator.order_fault(**POSTS, status=429, times=3)

    hook.create_annotation("Deployed")

    assert len(emulator.requests()) == 4
    assert len(emulator.annotations()) == 1


def test_after_a_rate_limit_an_answer_that_is_lost_is_the_last(emulator: EmulatorClient, hook: Any) -> None:
    emulator.order_fault(**POSTS, status=429, times=2)
    emulator.order_fault(**POSTS, reset="after")

    with pytest.raises(FullStoryError) as caught:
        hook.create_annotation("Deployed")

    assert caught.value.is_ambiguous
    assert len(emulator.requests()) == 3
    assert len(emulator.annotations()) == 1


def test_a_refusal_is_certain(emulator: EmulatorClient, hook: Any) -> None:
    emulator.order_fault(**POSTS, status=401, times=9)

    with pytest.raises(FullStoryAuthenticationError) as caught:
        hook.create_annotation("Deployed")

    assert not caught.value.is_ambiguous


def test_a_refused_connection_is_tried_again_and_certain(
    open_hook: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))
        client = EmulatorClient(f"http://127.0.0.1:{unused.getsockname()[1]}")
        monkeypatch.setenv("AIRFLOW_CONN_FULLSTORY_DEFAULT", client.connection_json())
        with open_hook(retry_for=0.2) as hook, pytest.raises(FullStoryUnreachableError) as caught:
            hook.create_annotation("Deployed")

    assert not caught.value.is_ambiguous


def test_a_deadline_that_has_passed_sends_nothing(
    emulator: EmulatorClient, open_hook: Callable[..., Any]
) -> None:
    with (
        open_hook(deadline=time.time() - 1) as hook,
        pytest.raises(FullStoryUnreachableError) as caught,
    ):
        hook.create_annotation("Deployed")

    assert not caught.value.is_ambiguous
    assert emulator.requests() == []
