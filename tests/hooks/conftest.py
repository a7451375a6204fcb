"""Both hooks behind one face, so that one suite of tests proves them equal."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_fullstory.api import jobs
from airflow_provider_fullstory.api.jobs import Resource
from airflow_provider_fullstory.hooks.fullstory import FullStoryAsyncHook, FullStoryHook
from tests.hooks.servers import PROXIES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

    from airflow_provider_fullstory.api.jobs import Job


class AwaitedHook:
    """An asynchronous hook whose calls are awaited for the caller, on one event loop."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._hook = FullStoryAsyncHook(*arguments, **keywords)

    def __enter__(self) -> Self:
        try:
            self._loop.run_until_complete(self._hook.__aenter__())
        except BaseException:
            self._loop.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._loop.run_until_complete(self._hook.__aexit__(*exception))
        self._loop.close()

    def create_import(
        self, resource: str, body: bytes, idempotency_key: str, *, sent_before: float | None = None
    ) -> Job:
        """Start an import as the other hook does: no trigger does so, but its transport could."""
        call = jobs.create_import(Resource(resource), body, idempotency_key, sent_before)
        return self._loop.run_until_complete(self._hook._call(call))

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._hook, name)

        def call(*arguments: Any, **keywords: Any) -> Any:
            result = method(*arguments, **keywords)
            if hasattr(result, "__aiter__"):
                return self._items(result)
            return self._loop.run_until_complete(result)

        return call

    def _items(self, items: Any) -> Iterator[Any]:
        while True:
            try:
                yield self._loop.run_until_complete(anext(items))
            except StopAsyncIteration:
                return


@pytest.fixture(params=[FullStoryHook, AwaitedHook], ids=["requests", "aiohttp"])
def open_hook(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Make a hook of either kind, as a context manager."""
    kind: Callable[..., Any] = request.param
    return kind


@pytest.fixture
def hook(emulator: object, open_hook: Callable[..., Any]) -> Iterator[Any]:
    """Give a hook of either kind that talks to the emulator."""
    with open_hook(retry_for=20) as hook:
        yield hook


@pytest.fixture
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the proxies of the machine out of the environment."""
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
