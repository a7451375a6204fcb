"""Whatever a server sends, a request ends in time."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_fullstory.exceptions import (
    FullStoryBodyTooLargeError,
    FullStoryProtocolError,
    FullStoryTransportError,
    FullStoryUnreachableError,
)
from airflow_provider_fullstory.hooks.fullstory import FullStoryHook

if TYPE_CHECKING:
    from collections.abc import Callable
from tests.hooks.servers import answer, connect, failure_of, serving

pytestmark = pytest.mark.usefixtures("no_proxy")


TRICKLES = {
    "body": (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b" "),
    "body that ends with the connection": (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b" "),
    "header": (b"HTTP/1.1 200 OK\r\nX: ", b"x"),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
}


@pytest.mark.parametrize("trickle", TRICKLES.values(), ids=TRICKLES)
def test_an_answer_that_trickles_ends_with_the_deadline(
    open_hook: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, trickle: tuple[bytes, bytes]
) -> None:
    first, repeated = trickle
    with serving(first, repeated=repeated) as (address, heard):
        connect(monkeypatch, f"http://{address}")
        error = failure_of(open_hook, deadline=time.time() + 0.5)
    assert isinstance(error, FullStoryTransportError)
    assert "the longest this request may take" in str(error)
    assert len(heard) == 1


def test_an_answer_that_trickles_ends_without_a_deadline_too(
    open_hook: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_fullstory.hooks.time_limit.CONNECT_TIMEOUT", 0.0)
    with serving(TRICKLES["body"][0], repeated=b" ") as (address, _):
        connect(monkeypatch, f"http://{address}", timeout=0.5)
        assert "the longest this request may take" in str(failure_of(open_hook))


def test_no_request_begins_after_the_deadline(
    open_hook: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(answer(b"{}")) as (address, heard):
        connect(monkeypatch, f"http://{address}")
        error = failure_of(open_hook, deadline=time.time() - 1)
    assert isinstance(error, FullStoryUnreachableError)
    assert not error.is_ambiguous
    assert heard == []


def test_no_retry_begins_after_the_deadline(
    open_hook: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(answer(b"{}", "503 Service Unavailable\r\nRetry-After: 30")) as (address, heard):
        connect(monkeypatch, f"http://{address}")
        failure_of(open_hook, retry_for=3600, deadline=time.time() + 20)
    assert len(heard) == 1


def test_an_upload_that_is_not_read_ends_with_the_deadline(
    open_hook: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connect(monkeypatch, f"http://127.0.0.1:{listener.getsockname()[1]}")
        with (
            open_hook(retry_for=0, deadline=time.time() + 0.5) as hook,
            pytest.raises(FullStoryTransportError) as caught,
        ):
            hook.create_import("events", b"x" * 50_000_000, "key")
    assert caught.value.is_ambiguous


def test_a_413_that_comes_before_the_body_was_read_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(answer(b"{}", "413 Too Large"), reads_body=False) as (address, _):
        connect(monkeypatch, f"http://{address}")
        with FullStoryHook(retry_for=0) as hook, pytest.raises(FullStoryBodyTooLargeError):
            hook.create_import("events", b"x" * 20_000_000, "key")


def test_an_answer_without_end_is_not_read_to_its_end(
    open_hook: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_fullstory.api.protocol.LONGEST_ANSWER", 1000)
    with serving(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n", repeated=b" " * 70_000) as (
        address,
        _,
    ):
        connect(monkeypatch, f"http://{address}")
        error = failure_of(open_hook)
    assert isinstance(error, FullStoryProtocolError)
    assert "more than 1,000 bytes" in str(error)
