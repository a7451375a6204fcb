"""Whatever a server or a proxy sends, a request ends in time, in an error of ours, and without secrets."""

from __future__ import annotations

import json
import socket
import threading
import time
import traceback
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_fullstory.exceptions import (
    FullStoryAuthenticationError,
    FullStoryBodyTooLargeError,
    FullStoryConnectionLookupError,
    FullStoryError,
    FullStoryInputError,
    FullStoryProtocolError,
    FullStoryTransportError,
    FullStoryUnreachableError,
)
from airflow_provider_fullstory.hooks.fullstory import FullStoryAsyncHook, FullStoryHook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NAME = "AIRFLOW_CONN_FULLSTORY_DEFAULT"
KEY = "na1.TOPSECRET/abc"
PROXIES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy")


def answer(body: bytes, status: str = "200 OK") -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status.encode(), len(body), body)


@contextmanager
def serving(
    answer: bytes, *, repeated: bytes = b"", reads_body: bool = True
) -> Iterator[tuple[str, list[bytes]]]:
    """Run a server that gives one answer, then pieces without end; give its address and what it was asked."""
    heard: list[bytes] = []
    ended = threading.Event()

    def talk(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            request = connection.recv(65536)
            heard.append(request)
            head, _, body = request.partition(b"\r\n\r\n")
            if reads_body and b"Content-Length: " in head:
                left = int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0]) - len(body)
                while left > 0 and (piece := connection.recv(65536)):
                    left -= len(piece)
            connection.sendall(answer)
            while repeated and not ended.wait(0.02):
                connection.sendall(repeated)

    def serve(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=talk, args=(connection,), daemon=True).start()

    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}", heard
        finally:
            ended.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)


def connect(monkeypatch: pytest.MonkeyPatch, host: str, **extra: Any) -> None:
    connection = {"conn_type": "fullstory", "host": host, "password": KEY, "extra": extra}
    monkeypatch.setenv(NAME, json.dumps(connection))


def failure_of(open_hook: Callable[..., Any], call: str = "get_account", **arguments: Any) -> FullStoryError:
    with pytest.raises(FullStoryError) as caught, open_hook(**{"retry_for": 0, **arguments}) as hook:
        getattr(hook, call)()
    return caught.value


# Time.

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


# Secrets.


@pytest.mark.parametrize("named_by", ["connection", "environment"])
def test_a_proxy_that_refuses_is_named_without_its_password(
    open_hook: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, caplog: Any, named_by: str
) -> None:
    with serving(answer(b"", "407 Proxy Authentication Required")) as (address, heard):
        proxy = f"http://someone:S3cret%2FPw@{address}"
        connect(monkeypatch, "fullstory.invalid", **({"proxy": proxy} if named_by == "connection" else {}))
        if named_by == "environment":
            monkeypatch.setenv("HTTPS_PROXY", proxy)
        error = failure_of(open_hook)
    assert isinstance(error, FullStoryUnreachableError)
    assert f"through the proxy http://{address}" in str(error)
    assert "407" in str(error)
    assert "Check the proxy" in str(error)
    assert heard
    shown = "".join(traceback.format_exception(error)) + repr(error) + caplog.text
    assert "S3cret" not in shown
    assert KEY.encode() not in b"".join(heard)


@pytest.mark.parametrize(
    "proxy",
    [
        "http://someone:S3cretPw@127.0.0.1:99999",
        "someone:S3cretPw@127.0.0.1:1",
        "127.0.0.1:1",
        "http://someone:S3cr#etPw@127.0.0.1:1",
        "http://someone:S3cr/etPw@127.0.0.1:1",
        "http://someone:S3cr[etPw@127.0.0.1:1",
        "http://someone:S3cretPw%E4%BD%A0@127.0.0.1:1",
        "http://someone:S3cretPw@",
        "socks5://someone:S3cretPw@127.0.0.1:1",
        5,
        ["http://127.0.0.1:1"],
    ],
    ids=str,
)
def test_a_proxy_that_is_no_url_is_an_input_error_that_names_it(
    open_hook: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, proxy: object
) -> None:
    connect(monkeypatch, "fullstory.invalid", proxy=proxy)
    error = failure_of(open_hook)
    assert isinstance(error, FullStoryInputError)
    assert str(error).startswith("The proxy of connection 'fullstory_default'")
    assert "S3cr" not in "".join(traceback.format_exception(error))


def test_a_proxy_of_the_environment_that_is_no_url_is_an_input_error(
    open_hook: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, "fullstory.invalid")
    monkeypatch.setenv("HTTPS_PROXY", "http://someone:S3cr/etPw@127.0.0.1:1")
    error = failure_of(open_hook)
    assert isinstance(error, FullStoryInputError)
    assert "HTTPS_PROXY" in str(error)
    assert "S3cr" not in "".join(traceback.format_exception(error))


def test_the_proxy_of_the_connection_wins(
    open_hook: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = answer(b"", "502 Bad Gateway")
    with serving(refusal) as (of_connection, asked), serving(refusal) as (of_environment, not_asked):
        connect(monkeypatch, "fullstory.invalid", proxy=f"http://{of_connection}")
        monkeypatch.setenv("HTTPS_PROXY", f"http://{of_environment}")
        failure_of(open_hook)
    assert asked
    assert not_asked == []


def test_an_answer_that_echoes_the_key_does_not_show_it(
    open_hook: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = json.dumps({"message": f"bad header Basic {KEY}", "code": KEY}).encode()
    with serving(answer(said, "401 Unauthorized")) as (address, _):
        connect(monkeypatch, f"http://{address}")
        error = failure_of(open_hook)
    assert isinstance(error, FullStoryAuthenticationError)
    assert "TOPSECRET" not in f"{error} {error.code}"


# Looking up the connection.


def test_a_lookup_that_fails_is_a_passing_fault(
    open_hook: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ConnectionError("the backend is away")

    for kind in (FullStoryHook, FullStoryAsyncHook):
        monkeypatch.setattr(kind, "get_connection", fail)
        monkeypatch.setattr(kind, "aget_connection", fail, raising=False)
    error = failure_of(open_hook)
    assert isinstance(error, FullStoryConnectionLookupError)
    assert error.is_transient
    assert "the backend is away" in str(error)


def test_a_variable_that_is_no_connection_is_told(
    open_hook: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(NAME, "fullstory://:na1.secretpart/rest@127.0.0.1:8025")
    error = failure_of(open_hook)
    assert isinstance(error, FullStoryInputError)
    assert NAME in str(error)
    assert "percent-encoded" in str(error)
    assert "secretpart" not in "".join(traceback.format_exception(error))


def test_a_missing_connection_is_told_with_what_airflow_sees_outside_a_task(
    open_hook: Callable[..., Any],
) -> None:
    with pytest.raises(FullStoryInputError) as caught, open_hook("nowhere") as hook:
        hook.get_account()
    assert "Outside a running task" in str(caught.value)
    assert "AIRFLOW_CONN_NOWHERE=" in str(caught.value)
