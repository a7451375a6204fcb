"""
The HTTP requests of tasks: pooled connections, and a limit on the time that one request takes as a whole.

The timeouts of the requests library limit the pause between two bytes. An answer that trickles never pauses
that long, so a timer closes the connection of a request that has no time left.
"""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from http.client import HTTPException
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, Final

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, NewConnectionError, ProxyError

from airflow_provider_fullstory.api import http, protocol
from airflow_provider_fullstory.hooks.failures import TransportErrors
from airflow_provider_fullstory.hooks.settings import CONNECT_TIMEOUT, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_fullstory.hooks.time_limit import TimeLimit

#: Connections that one session keeps open; a task may have as many uploads in flight.
POOL_SIZE: Final = 16
ERRORS: Final = TransportErrors(
    all=(requests.RequestException, HTTPError, HTTPException, OSError, ValueError),
    unsent=(requests.ConnectTimeout, NewConnectionError, ProxyError),
    of_proxy=(requests.exceptions.ProxyError, ProxyError),
)
_PIECE: Final = 64 * 1024
_SECONDS_BETWEEN_CUTS: Final = 0.2


def new_session(settings: Settings) -> requests.Session:
    """Return a session for one host and one API key."""
    session = requests.Session()
    for scheme in ("https://", "http://"):
        session.mount(scheme, _Adapter(pool_connections=1, pool_maxsize=POOL_SIZE))
    session.headers["User-Agent"] = protocol.user_agent()
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    # An auth object also keeps requests from putting credentials of ~/.netrc into the header.
    session.auth = _put_key(settings.api_key)
    session.trust_env = not settings.is_local
    return session


def send(
    session: requests.Session, settings: Settings, request: http.Request, limit: TimeLimit
) -> http.Response:
    """
    Return the answer to a request.

    :raises requests.RequestException: If there is none; see ``ERRORS.all`` for all that may be raised.
    """
    # More than 0, which means no timeout to a socket.
    left = max(limit.left, 0.001)
    with (
        _cut_at(limit) as cut,
        session.request(
            request.method,
            settings.base_url + request.path,
            params=request.query,
            headers=request.headers,
            data=None if request.body is None else _Upload(request.body),
            timeout=(min(CONNECT_TIMEOUT, left), min(settings.timeout, left)),
            allow_redirects=False,
            stream=True,
            # Both are passed here, since the environment overrides those of a session.
            verify=settings.ca_bundle or True,
            proxies={"http": settings.proxy, "https": settings.proxy} if settings.proxy else None,
        ) as response,
    ):
        content = bytearray()
        for piece in response.iter_content(_PIECE):
            limit.received(len(piece))
            content += piece
            if len(content) > protocol.LONGEST_ANSWER:
                break
        if cut.is_made:
            # An answer that ends with its connection looks complete.
            raise TimeoutError("The connection was closed because the request took too long.")
        return http.Response(response.status_code, response.headers, bytes(content))


class _Upload:
    """A body in small pieces: the timeout of a socket is for each of them, not for the body as a whole."""

    def __init__(self, body: bytes | http.Content) -> None:
        self._body = body

    def __len__(self) -> int:
        return len(self._body)

    def __iter__(self) -> Iterator[bytes]:
        parts = (self._body,) if isinstance(self._body, bytes) else self._body
        for part in parts:
            view = memoryview(part)
            for start in range(0, len(view), _PIECE):
                yield bytes(view[start : start + _PIECE])


class _Cut:
    """Close the connection of a request that has no time left."""

    def __init__(self, limit: TimeLimit) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._is_over = False
        #: Whether the connection was closed.
        self.is_made = False
        self._connection: Any = None
        self._socket: Any = None
        self._timer = self._new_timer(limit.left)

    def follow(self, connection: Any) -> None:
        """Note the connection that the request uses."""
        connection.cut = self
        self._connection = connection
        # The socket is handed to an answer that ends with its connection.
        self._socket = connection.sock or self._socket

    def end(self) -> None:
        """Leave the connection alone from now on."""
        with self._lock:
            self._is_over = True
            self._timer.cancel()

    def _check(self) -> None:
        with self._lock:
            if self._is_over:
                return
            left = self._limit.left
            if not left and self._connection is not None and self._connection.cut is self:
                self.is_made = True
                _shut(self._connection.sock or self._socket)
            # Time was added, or the connection was not made yet.
            self._timer = self._new_timer(max(left, _SECONDS_BETWEEN_CUTS))

    def _new_timer(self, seconds: float) -> threading.Timer:
        timer = threading.Timer(min(seconds, threading.TIMEOUT_MAX), self._check)
        timer.daemon = True
        timer.start()
        return timer


_current: ContextVar[_Cut | None] = ContextVar("fullstory_request", default=None)


@contextmanager
def _cut_at(limit: TimeLimit) -> Iterator[_Cut]:
    cut = _Cut(limit)
    token = _current.set(cut)
    try:
        yield cut
    finally:
        _current.reset(token)
        cut.end()


def _shut(sock: Any) -> None:
    """Wake the thread that waits for the other end; it closes the socket itself."""
    # A tunnel through a proxy that speaks TLS itself has its socket inside.
    inner = getattr(sock, "socket", sock)
    if isinstance(inner, socket.socket):
        with suppress(OSError):
            # Not the method of a TLS socket, which would continue in plain text.
            socket.socket.shutdown(inner, socket.SHUT_RDWR)


class _Followed:
    """A connection that announces itself to the request that uses it."""

    cut: _Cut | None = None

    def connect(self) -> None:
        _follow(self)
        try:
            super().connect()  # type: ignore[misc]
        except (OSError, HTTPException) as error:
            # Such as a handshake of TLS that fails. Else it would pass for an answer that was lost.
            raise NewConnectionError(self, str(error)) from error  # type: ignore[arg-type]
        _follow(self)

    def request(self, *arguments: Any, **keywords: Any) -> None:
        _follow(self)
        super().request(*arguments, **keywords)  # type: ignore[misc]

    def getresponse(self) -> Any:
        _follow(self)
        return super().getresponse()  # type: ignore[misc]


def _follow(connection: Any) -> None:
    if (cut := _current.get()) is not None:
        cut.follow(connection)


class _PlainConnection(_Followed, HTTPConnection):
    pass


class _SecureConnection(_Followed, HTTPSConnection):
    pass


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class _Adapter(HTTPAdapter):
    """Open connections that can be cut."""

    def init_poolmanager(self, *arguments: Any, **keywords: Any) -> None:
        super().init_poolmanager(*arguments, **keywords)
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}

    def proxy_manager_for(self, *arguments: Any, **keywords: Any) -> Any:
        manager = super().proxy_manager_for(*arguments, **keywords)
        manager.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}
        return manager


def _put_key(api_key: str) -> Callable[[requests.PreparedRequest], requests.PreparedRequest]:
    def authorize(request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = protocol.authorization(api_key)
        return request

    return authorize
