"""Servers that answer in odd ways, and connections that lead to them."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_fullstory.exceptions import (
    FullStoryError,
)

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


def connect(monkeypatch: pytest.MonkeyPatch, host: str, **extra: Any) -> None:
    connection = {"conn_type": "fullstory", "host": host, "password": KEY, "extra": extra}
    monkeypatch.setenv(NAME, json.dumps(connection))


def failure_of(open_hook: Callable[..., Any], call: str = "get_account", **arguments: Any) -> FullStoryError:
    with pytest.raises(FullStoryError) as caught, open_hook(**{"retry_for": 0, **arguments}) as hook:
        getattr(hook, call)()
    return caught.value
