"""Requests with an unknown outcome: whether they may have worked, and until when they are repeated."""

from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_fullstory.api import protocol
from airflow_provider_fullstory.emulator.client import EmulatorClient
from airflow_provider_fullstory.exceptions import (
    FullStoryApiError,
    FullStoryAuthenticationError,
    FullStoryBadRequestError,
    FullStoryConflictError,
    FullStoryError,
    FullStoryPermissionError,
    FullStoryProtocolError,
    FullStoryRateLimitError,
    FullStoryServerError,
    FullStoryTransportError,
    FullStoryUnreachableError,
)
from tests.tries import Clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BODY = b'{"requests":[{"name":"Order","user":{"uid":"u"}}]}'
UPLOADS = {"method": "POST", "path": "/v2/events/batch"}
HOUR = 3600.0
DAY = 24 * HOUR


def error_of(open_hook: Callable[..., Any], retry_for: float = 0.0, **sent: Any) -> FullStoryError:
    with open_hook(retry_for=retry_for) as hook, pytest.raises(FullStoryError) as caught:
        hook.create_import("events", BODY, "key", **sent)
    return caught.value


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "FIRST_RETRY_SECONDS", 0.01)


@pytest.fixture
def closed_port() -> Iterator[int]:
    """Give a port at which nothing listens, and nothing else can."""
    with closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))
        yield unused.getsockname()[1]


def connect_to(monkeypatch: pytest.MonkeyPatch, port: int, **extra: Any) -> None:
    client = EmulatorClient(f"http://127.0.0.1:{port}")
    connection = json.loads(client.connection_json()) | {"extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_FULLSTORY_DEFAULT", json.dumps(connection))


# Whether it may have worked.


@pytest.mark.parametrize(
    ("fault", "error", "is_ambiguous"),
    [
        ({"status": 400}, FullStoryBadRequestError, False),
        ({"status": 401}, FullStoryAuthenticationError, False),
        ({"status": 403}, FullStoryPermissionError, False),
        ({"status": 405}, FullStoryApiError, False),
        ({"status": 422}, FullStoryBadRequestError, False),
        ({"status": 429}, FullStoryRateLimitError, False),
        ({"status": 408}, FullStoryServerError, True),
        ({"status": 409}, FullStoryConflictError, True),
        ({"status": 500}, FullStoryServerError, True),
        ({"status": 503, "work_done": True}, FullStoryServerError, True),
        ({"status": 504}, FullStoryServerError, True),
        ({"status": 302, "headers": {"Location": "/"}}, FullStoryProtocolError, True),
        ({"status": 200, "body": {"hello": "world"}}, FullStoryProtocolError, True),
        ({"reset": "before"}, FullStoryTransportError, True),
        ({"reset": "after"}, FullStoryTransportError, True),
    ],
    ids=str,
)
def test_each_failure_says_whether_the_batch_may_have_been_accepted(
    emulator: EmulatorClient,
    open_hook: Callable[..., Any],
    fault: dict[str, Any],
    error: type[FullStoryError],
    *,
    is_ambiguous: bool,
) -> None:
    emulator.order_fault(**UPLOADS, **fault)

    failure = error_of(open_hook)

    assert isinstance(failure, error)
    assert failure.is_ambiguous is is_ambiguous
    # If it was certain, nothing arrived.
    assert is_ambiguous or emulator.events() == []


@pytest.mark.parametrize("status", [201, 202, 204, 206])
def test_a_success_of_another_kind_may_have_been_one(
    emulator: EmulatorClient, open_hook: Callable[..., Any], status: int
) -> None:
    emulator.order_fault(**UPLOADS, status=status, work_done=True, times=9)

    failure = error_of(open_hook)

    assert failure.is_ambiguous
    assert len(emulator.events()) == 1


def test_a_refused_connection_accepted_nothing(
    open_hook: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, closed_port: int
) -> None:
    connect_to(monkeypatch, closed_port)

    failure = error_of(open_hook)

    assert isinstance(failure, FullStoryUnreachableError)
    assert failure.is_transient
    assert not failure.is_ambiguous


def test_a_refused_connection_is_tried_again_for_a_while_and_accepted_nothing(
    open_hook: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, closed_port: int
) -> None:
    connect_to(monkeypatch, closed_port)

    assert not error_of(open_hook, retry_for=0.1).is_ambiguous


def test_an_unknown_host_accepted_nothing(
    open_hook: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    connection = {"conn_type": "fullstory", "host": "no-such-host.invalid", "password": "k"}
    monkeypatch.setenv("AIRFLOW_CONN_FULLSTORY_DEFAULT", json.dumps(connection))

    failure = error_of(open_hook)

    assert isinstance(failure, FullStoryUnreachableError)
    assert not failure.is_ambiguous


def test_an_answer_that_never_comes_may_be_a_success(
    emulator: EmulatorClient, open_hook: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    connect_to(monkeypatch, int(emulator.url.rpartition(":")[2]), timeout=0.05)
    emulator.order_fault(**UPLOADS, delay_seconds=HOUR)

    failure = error_of(open_hook)

    assert isinstance(failure, FullStoryTransportError)
    assert failure.is_ambiguous
    emulator.forget_faults()


def test_a_host_that_hangs_up_without_a_word_may_have_accepted_it(
    open_hook: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        connect_to(monkeypatch, server.getsockname()[1])
        server.settimeout(30)

        def hang_up() -> None:
            connection, _ = server.accept()
            with closing(connection):
                connection.recv(10)

        listener = threading.Thread(target=hang_up)
        listener.start()
        failure = error_of(open_hook)
        listener.join()

    assert failure.is_ambiguous


@pytest.mark.parametrize(
    "second",
    [{"status": 401}, {"status": 400}, {"status": 403}, {"status": 413}, {"status": 429}],
    ids=str,
)
@pytest.mark.parametrize("first", [{"reset": "after"}, {"status": 503, "work_done": True}], ids=str)
def test_a_refusal_does_not_undo_that_an_attempt_before_may_have_worked(
    emulator: EmulatorClient, open_hook: Callable[..., Any], first: dict[str, Any], second: dict[str, Any]
) -> None:
    emulator.order_fault(**UPLOADS, **first)
    emulator.order_fault(**UPLOADS, **second, times=10_000)

    failure = error_of(open_hook, retry_for=0.2)

    assert failure.status_code == second["status"]
    assert failure.is_ambiguous
    assert len(emulator.events()) == 1


def test_certain_failures_in_a_row_stay_certain(
    emulator: EmulatorClient, open_hook: Callable[..., Any]
) -> None:
    emulator.order_fault(**UPLOADS, status=429, times=3)
    emulator.order_fault(**UPLOADS, status=401)

    failure = error_of(open_hook, retry_for=30)

    assert failure.status_code == 401
    assert not failure.is_ambiguous


def test_an_unknown_outcome_of_an_earlier_try_outlives_a_refusal(
    emulator: EmulatorClient, open_hook: Callable[..., Any]
) -> None:
    emulator.order_fault(**UPLOADS, status=401)

    assert error_of(open_hook, sent_before=time.time() - HOUR).is_ambiguous


def test_an_unknown_outcome_of_one_request_says_nothing_of_the_next(
    emulator: EmulatorClient, open_hook: Callable[..., Any]
) -> None:
    emulator.order_fault(**UPLOADS, reset="after")
    emulator.order_fault(**UPLOADS, status=401)
    with open_hook(retry_for=0) as hook:
        with pytest.raises(FullStoryTransportError):
            hook.create_import("events", BODY, "key-1")
        with pytest.raises(FullStoryAuthenticationError) as caught:
            hook.create_import("events", BODY, "key-2")

    assert not caught.value.is_ambiguous


def test_a_reset_leaves_the_outcome_unknown_even_if_a_connection_was_refused_before(
    emulator: EmulatorClient,
    open_hook: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    closed_port: int,
) -> None:
    connection = emulator.connection_json()
    connect_to(monkeypatch, closed_port)
    emulator.order_fault(**UPLOADS, reset="after")
    failure: FullStoryError | None = None
    try:
        with open_hook(retry_for=0) as hook:
            hook.create_import("events", BODY, "key")
    except FullStoryUnreachableError:
        # A caller with a host to fall back on.
        monkeypatch.setenv("AIRFLOW_CONN_FULLSTORY_DEFAULT", connection)
        failure = error_of(open_hook)

    assert failure is not None
    assert failure.is_ambiguous
    assert len(emulator.events()) == 1


# When not to repeat it.


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Give a clock on which each wait between two attempts takes an hour."""
    clock = Clock(monkeypatch)

    def wait(*_: Any) -> float:
        clock.now += HOUR
        return 0.0

    monkeypatch.setattr(protocol, "retry_seconds", wait)
    return clock


@pytest.mark.parametrize("fault", [{"reset": "after"}, {"status": 503, "work_done": True}], ids=str)
def test_no_attempt_is_made_once_fullstory_may_have_forgotten_the_key(
    emulator: EmulatorClient,
    open_hook: Callable[..., Any],
    clock: Clock,
    fault: dict[str, Any],
) -> None:
    emulator.order_fault(**UPLOADS, **fault, times=10_000)

    failure = error_of(open_hook, retry_for=1000 * HOUR)

    assert failure.is_ambiguous
    # The last one after 23 hours; at 24 it would be too late.
    assert len(emulator.requests()) == 24
    assert len(emulator.events()) == 1


def test_the_day_begins_with_the_first_attempt_whose_outcome_is_unknown(
    emulator: EmulatorClient, open_hook: Callable[..., Any], clock: Clock
) -> None:
    emulator.order_fault(**UPLOADS, status=429, times=30)
    emulator.order_fault(**UPLOADS, reset="after", times=10_000)

    error_of(open_hook, retry_for=1000 * HOUR)

    assert len(emulator.requests()) == 30 + 24
    assert len(emulator.events()) == 1


def test_a_limit_that_is_reached_after_an_unknown_outcome_does_not_make_the_day_longer(
    emulator: EmulatorClient, open_hook: Callable[..., Any], clock: Clock
) -> None:
    emulator.order_fault(**UPLOADS, reset="after")
    emulator.order_fault(**UPLOADS, status=429, times=10_000)

    failure = error_of(open_hook, retry_for=1000 * HOUR)

    assert isinstance(failure, FullStoryRateLimitError)
    assert failure.is_ambiguous
    assert len(emulator.requests()) == 24


@pytest.mark.parametrize(("hours_ago", "attempts"), [(20, 4), (22.5, 2), (23.5, 1)])
def test_the_day_counts_from_when_an_earlier_try_sent_it(
    emulator: EmulatorClient, open_hook: Callable[..., Any], clock: Clock, hours_ago: float, attempts: int
) -> None:
    emulator.order_fault(**UPLOADS, status=429, times=10_000)

    error_of(open_hook, retry_for=1000 * HOUR, sent_before=clock.now - hours_ago * HOUR)

    assert len(emulator.requests()) == attempts


@pytest.mark.parametrize("hours_ago", [23.8, 24.5, 48])
def test_not_even_a_first_attempt_is_made_once_fullstory_may_have_forgotten_the_key(
    emulator: EmulatorClient, open_hook: Callable[..., Any], clock: Clock, hours_ago: float
) -> None:
    with open_hook(retry_for=0) as hook:
        hook.create_import("events", BODY, "key")
    sent_at = clock.now
    clock.now += hours_ago * HOUR

    failure = error_of(open_hook, sent_before=sent_at)

    assert failure.is_ambiguous
    assert len(emulator.requests()) == 1
    assert len(emulator.events()) == 1


def test_the_margin_is_a_quarter_of_an_hour() -> None:
    assert protocol.IDEMPOTENCY_SECONDS == DAY - HOUR / 4
