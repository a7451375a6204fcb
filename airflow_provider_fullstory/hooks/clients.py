"""
The HTTP clients and connection settings that the asynchronous hooks of one event loop share.

A triggerer follows a thousand imports on one loop. If each looked up its connection, Airflow would be busy
for minutes, since it does so one after the other. If each had its own client, most polls would begin with a
TLS handshake. The clients are aiohttp's, since a request of others takes several times the processor time.
"""

from __future__ import annotations

import asyncio
import dataclasses
import io
import os
import ssl
from collections import defaultdict
from functools import cache
from typing import TYPE_CHECKING, ClassVar, Final
from urllib.parse import urlencode

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from yarl import URL

from airflow_provider_fullstory.api import http, protocol
from airflow_provider_fullstory.exceptions import FullStoryInputError
from airflow_provider_fullstory.hooks.failures import TransportErrors
from airflow_provider_fullstory.hooks.settings import CONNECT_TIMEOUT, Settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    from aiohttp.connector import Connection

    from airflow_provider_fullstory.hooks.time_limit import TimeLimit

#: Connections that one client keeps open: at a distance of 0.1 s they carry a thousand requests a second.
_POOL_SIZE: Final = 100


class _Response(aiohttp.ClientResponse):
    """An answer that does not come is final where the same request again might do work twice."""

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        try:
            return await super().start(connection)
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
            # aiohttp itself would send a deletion again.
            if self.method == "DELETE":
                raise aiohttp.ClientError(str(error)) from error
            raise


class Client:
    """Send requests to one host with one API key, over pooled connections."""

    ERRORS: ClassVar = TransportErrors(
        all=(aiohttp.ClientError, HttpProcessingError, OSError, ValueError),
        unsent=(
            aiohttp.ClientConnectorError,
            aiohttp.ClientHttpProxyError,
            aiohttp.ConnectionTimeoutError,
        ),
        of_proxy=(aiohttp.ClientHttpProxyError, aiohttp.ClientProxyConnectionError),
    )

    def __init__(self, settings: Settings, ssl_context: ssl.SSLContext) -> None:
        self._settings = settings
        # Not among the session's headers, which aiohttp also sends to a proxy.
        self._authorization = {"Authorization": protocol.authorization(settings.api_key)}
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_POOL_SIZE, ssl=ssl_context),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": protocol.user_agent()},
            response_class=_Response,
        )

    async def send(self, request: http.Request, limit: TimeLimit) -> http.Response:
        """
        Return the answer to a request.

        :raises aiohttp.ClientError: If there is none; see ``ERRORS.all`` for all that may be raised.
        """
        query = f"?{urlencode(request.query)}" if request.query else ""
        async with (
            asyncio.timeout(limit.left) as clock,
            self._session.request(
                request.method,
                # Encoded already: aiohttp would send the %2F of a job's id as a slash.
                URL(f"{self._settings.base_url}{request.path}{query}", encoded=True),
                headers={**request.headers, **self._authorization},
                # A stream is written piece by piece, so that other tasks of the loop run meanwhile.
                data=None if request.body is None else io.BytesIO(bytes(request.body)),
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=CONNECT_TIMEOUT, sock_read=self._settings.timeout
                ),
                # Passed here, since aiohttp itself would also read credentials from ~/.netrc.
                proxy=self._settings.proxy,
                allow_redirects=False,
            ) as response,
        ):
            content = bytearray()
            async for piece in response.content.iter_any():
                content += piece
                if len(content) > protocol.LONGEST_ANSWER:
                    break
                limit.received(len(piece))
                clock.reschedule(asyncio.get_running_loop().time() + limit.left)
            return http.Response(response.status, response.headers, bytes(content))

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()


@dataclasses.dataclass(slots=True)
class _Lease:
    client: Client
    users: int = 0


class SharedClients:
    """The clients and settings that the hooks of one event loop share."""

    _of_loops: ClassVar[dict[asyncio.AbstractEventLoop, SharedClients]] = {}

    def __init__(self) -> None:
        self._settings: dict[Hashable, tuple[float, Settings]] = {}
        self._leases: dict[Settings, _Lease] = {}
        self._locks: defaultdict[Hashable, asyncio.Lock] = defaultdict(asyncio.Lock)

    @classmethod
    def of_this_loop(cls) -> SharedClients:
        """Return those of the running event loop; a forked process has other loops."""
        for loop in [loop for loop in cls._of_loops if loop.is_closed()]:
            del cls._of_loops[loop]
        return cls._of_loops.setdefault(asyncio.get_running_loop(), cls())

    async def settings(
        self, connection: Hashable, read: Callable[[], Awaitable[Settings]], since: float
    ) -> Settings:
        """
        Return the settings of a connection, looked up once for all that ask for them at the same time.

        :param connection: Identifies the connection.
        :param read: Looks it up.
        :param since: Earliest time, on the loop's clock, of a look-up that is recent enough.
        """
        async with self._locks[connection]:
            read_at, settings = self._settings.get(connection, (0.0, None))
            if settings is None or read_at < since:
                read_at = asyncio.get_running_loop().time()
                settings = await read()
                self._settings[connection] = read_at, settings
            return settings

    async def take(self, settings: Settings) -> Client:
        """Return the client for these settings, to be given back."""
        async with self._locks[settings]:
            if settings not in self._leases:
                # Reading the certificates of the system takes tens of milliseconds: not in the event loop.
                context = await asyncio.to_thread(_ssl_context, settings.ca_bundle)
                self._leases[settings] = _Lease(Client(settings, context))
            lease = self._leases[settings]
            lease.users += 1
        return lease.client

    def take_again(self, settings: Settings) -> None:
        """
        Keep a client for one more use, to be given back too.

        :raises FullStoryInputError: If nobody has it any more.
        """
        if (lease := self._leases.get(settings)) is None:
            raise FullStoryInputError("Nothing was sent: the hook is closed. Use it in an async with block.")
        lease.users += 1

    async def give_back(self, settings: Settings) -> None:
        """Close the client for these settings, unless others use it."""
        lease = self._leases[settings]
        lease.users -= 1
        if not lease.users:
            del self._leases[settings]
            await lease.client.close()


@cache
def _ssl_context(ca_bundle: str | None) -> ssl.SSLContext:
    """Return one context for all clients of a process: making one takes tens of milliseconds."""
    file, folder = ca_bundle or os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if ca_bundle or not folder:
        return ssl.create_default_context(cafile=file or DEFAULT_CA_BUNDLE_PATH)
    return ssl.create_default_context(cafile=file, capath=folder)
