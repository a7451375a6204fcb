"""How a trigger's calls reach FullStory: over clients that all triggers of an event loop share."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar

from airflow_provider_fullstory.exceptions import FullStoryAuthenticationError
from airflow_provider_fullstory.hooks.clients import SharedClients
from airflow_provider_fullstory.hooks.failures import time_is_up, transport_error
from airflow_provider_fullstory.hooks.time_limit import TimeLimit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable
    from typing import Self

    from airflow_provider_fullstory.api.protocol import Call
    from airflow_provider_fullstory.hooks.clients import Client
    from airflow_provider_fullstory.hooks.settings import Settings

#: Seconds for which hooks that are opened on the same event loop look up a connection only once.
_SETTINGS_SECONDS: Final = 30.0

T = TypeVar("T")


class AsyncTransport:
    """
    Send calls, each once, from an event loop; an asynchronous context manager.

    If FullStory does not know the key, it is looked up again, and the call is repeated with a new one: keys
    may be replaced while imports wait.

    :param connection: Identifies the connection among those of the event loop.
    :param read_settings: Looks the connection up.
    """

    client: Client
    _shared: SharedClients
    _settings: Settings

    def __init__(self, connection: Hashable, read_settings: Callable[[], Awaitable[Settings]]) -> None:
        self._connection = connection
        self._read_settings = read_settings

    async def __aenter__(self) -> Self:
        self._shared = SharedClients.of_this_loop()
        self._settings = await self._settings_since(_now() - _SETTINGS_SECONDS)
        self.client = await self._shared.take(self._settings)
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._shared.give_back(self._settings)

    async def send(self, call: Call[T], deadline: float | None) -> T:
        """Return the result of a call, which has no use after the deadline, in seconds since the epoch."""
        sent_at, settings = _now(), self._settings
        try:
            return await self._send(call, deadline)
        except FullStoryAuthenticationError:
            if not await self._has_changed(settings, sent_at):
                raise
        return await self._send(call, deadline)

    async def _send(self, call: Call[T], deadline: float | None) -> T:
        client, settings = self.client, self._settings
        limit = TimeLimit.of(call.request, settings.timeout, deadline)
        if not limit.left:
            raise time_is_up(call)
        # Another call may meanwhile find that the connection has changed, and give the client back.
        self._shared.take_again(settings)
        try:
            response = await client.send(call.request, limit)
        except client.ERRORS.all as error:
            failure = transport_error(call, settings, error, limit, client.ERRORS)
        else:
            return call.result(response, settings.secrets)
        finally:
            await self._shared.give_back(settings)
        # Raised here, since the errors above may hold a proxy's password.
        raise failure

    async def _has_changed(self, failed: Settings, since: float) -> bool:
        """Look the connection up again, and use its settings unless they are those that have just failed."""
        settings = await self._settings_since(since)
        if settings == failed:
            return False
        client = await self._shared.take(settings)
        former, self._settings, self.client = self._settings, settings, client
        await self._shared.give_back(former)
        return True

    async def _settings_since(self, since: float) -> Settings:
        return await self._shared.settings(self._connection, self._read_settings, since)


def _now() -> float:
    return asyncio.get_running_loop().time()
