"""Pages of results, read one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from airflow_provider_fullstory.api.jobs import Page

R = TypeVar("R")


def pages(read: Callable[[str | None], Page[R]]) -> Iterator[Page[R]]:
    """Yield all pages; a token that comes again would read the same pages endlessly."""
    seen: set[str | None] = set()
    token: str | None = None
    while token not in seen:
        seen.add(token)
        page = read(token)
        yield page
        token = page.next_page_token or None


async def async_pages(read: Callable[[str | None], Awaitable[Page[R]]]) -> AsyncIterator[Page[R]]:
    """Yield all pages in an event loop; see :func:`pages`."""
    seen: set[str | None] = set()
    token: str | None = None
    while token not in seen:
        seen.add(token)
        page = await read(token)
        yield page
        token = page.next_page_token or None
