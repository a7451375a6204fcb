"""What asynchronous hooks on one event loop share, and for how long."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_fullstory.exceptions import (
    FullStoryAuthenticationError,
    FullStoryInputError,
    FullStoryTransportError,
)
from airflow_provider_fullstory.hooks.clients import Client
from airflow_provider_fullstory.hooks.fullstory import FullStoryAsyncHook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_fullstory.emulator.client import EmulatorClient

NAME = "AIRFLOW_CONN_FULLSTORY_DEFAULT"


@pytest.fixture
def lookups(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the connections that were looked up."""
    looked_up: list[str] = []
    read = FullStoryAsyncHook._read_settings

    async def counted(hook: FullStoryAsyncHook) -> Any:
        looked_up.append(hook.fullstory_conn_id)
        return await read(hook)

    monkeypatch.setattr(FullStoryAsyncHook, "_read_settings", counted)
    return looked_up


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[Client]:
    """Return the clients that were closed."""
    clients: list[Client] = []
    close = Client.close

    async def counted(client: Client) -> None:
        clients.append(client)
        await close(client)

    monkeypatch.setattr(Client, "close", counted)
    return clients


def test_hooks_that_are_open_together_share_a_client_that_closes_with_the_last(
    emulator: EmulatorClient, lookups: list[str], closed: list[Client]
) -> None:
    async def use() -> None:
        async with FullStoryAsyncHook() as first:
            async with FullStoryAsyncHook() as second:
                assert second._transport.client is first._transport.client
            assert not closed
            assert (await first.get_account()).org_id
        assert closed == [first._transport.client]
        async with FullStoryAsyncHook() as third:
            assert third._transport.client is not first._transport.client
            assert (await third.get_account()).org_id
        assert len(closed) == 2

    asyncio.run(use())
    assert lookups == ["fullstory_default"]


def test_a_hook_that_is_not_open_says_so(emulator: EmulatorClient) -> None:
    async def call() -> None:
        hook = FullStoryAsyncHook()
        with pytest.raises(FullStoryInputError, match="the hook is not open"):
            await hook.get_account()
        async with hook:
            await hook.get_account()
        with pytest.raises(FullStoryInputError, match="the hook is closed"):
            await hook.get_account()
        async with hook:
            await hook.get_account()

    asyncio.run(call())
    assert len(emulator.requests()) == 2


def test_hooks_of_different_connections_share_nothing(
    emulator: EmulatorClient, lookups: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", emulator.connection_json(emulator.standard_key))

    async def roles() -> list[str]:
        async with FullStoryAsyncHook() as first, FullStoryAsyncHook("other") as second:
            return [(await hook.get_account()).role for hook in (first, second)]

    assert asyncio.run(roles()) == ["ARCHITECT", "USER"]
    assert sorted(lookups) == ["fullstory_default", "other"]


def test_event_loops_share_nothing(emulator: EmulatorClient, lookups: list[str]) -> None:
    clients: list[Client] = []

    async def use(inner: bool) -> None:
        async with FullStoryAsyncHook() as hook:
            assert (await hook.get_account()).org_id
            clients.append(hook._transport.client)
            if inner:
                await asyncio.to_thread(asyncio.run, use(inner=False))

    asyncio.run(use(inner=True))
    assert len({id(client) for client in clients}) == len(lookups) == 2


def test_a_lookup_that_fails_is_not_kept(emulator: EmulatorClient, monkeypatch: pytest.MonkeyPatch) -> None:
    async def use() -> str:
        with pytest.raises(FullStoryInputError, match="no connection 'later'"):
            await FullStoryAsyncHook("later").__aenter__()
        monkeypatch.setenv("AIRFLOW_CONN_LATER", emulator.connection_json())
        async with FullStoryAsyncHook("later") as hook:
            return (await hook.get_account()).org_id

    assert asyncio.run(use())


def test_a_key_that_was_replaced_is_taken_up_by_all_that_wait(
    emulator: EmulatorClient, lookups: list[str], closed: list[Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(NAME, emulator.connection_json("na1.revoked/key"))

    async def roles() -> set[str]:
        async with FullStoryAsyncHook(retry_for=0) as first, FullStoryAsyncHook(retry_for=0) as second:
            monkeypatch.setenv(NAME, emulator.connection_json())
            calls = [hook.get_account() for hook in (first, second) for _ in range(5)]
            accounts = await asyncio.gather(*calls)
            assert first._transport.client is second._transport.client
            assert len(closed) == 1
        assert len(closed) == 2
        return {account.role for account in accounts}

    assert asyncio.run(roles()) == {"ARCHITECT"}
    assert len(lookups) == 2


def test_a_key_that_stays_unknown_is_looked_up_once_more_and_told(
    emulator: EmulatorClient, lookups: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(NAME, emulator.connection_json("na1.wrong/key"))

    async def ask() -> None:
        async with FullStoryAsyncHook(retry_for=0) as hook:
            await hook.get_account()

    with pytest.raises(FullStoryAuthenticationError, match="check the password"):
        asyncio.run(ask())
    assert len(lookups) == 2


@contextmanager
def refusing_proxy() -> Iterator[tuple[str, list[bytes]]]:
    """Run a proxy that leads nowhere; give its address and what it was asked for."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    heard.append(connection.recv(65536))
                    connection.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", heard
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize("named_by", ["connection", "environment"])
def test_a_proxy_is_asked_for_a_tunnel_and_never_sees_the_key(
    open_hook: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, named_by: str
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with refusing_proxy() as (proxy, heard):
        connection: dict[str, Any] = {"conn_type": "fullstory", "password": "na1.secret/key"}
        if named_by == "connection":
            connection["extra"] = {"proxy": proxy}
        else:
            monkeypatch.setenv("HTTPS_PROXY", proxy)
        monkeypatch.setenv(NAME, json.dumps(connection))
        with open_hook(retry_for=0) as hook, pytest.raises(FullStoryTransportError) as caught:
            hook.get_account()
    assert heard
    assert all(request.startswith(b"CONNECT api.fullstory.com:443 ") for request in heard)
    assert b"secret" not in b"".join(heard)
    assert "secret" not in str(caught.value)
