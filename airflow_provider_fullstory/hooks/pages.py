"""The pages of a job's results, read one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from airflow_provider_fullstory.api.jobs import Page

R = TypeVar("R")


def pages(read: Callable[[str | None], Page[R]]) -> Iterator[Page[R]]:
    """
    Yield all pages.

    :param read: Returns the page of a token, the first one for None.
    """
    seen: set[str | None] = {None}
    page = read(None)
    yield page
    while _is_new(page, seen):
        page = read(page.next_page_token)
        yield page


async def async_pages(read: Callable[[str | None], Awaitable[Page[R]]]) -> AsyncIterator[Page[R]]:
    """
    Yield all pages; see :func:`pages`.

    :param read: Returns the page of a token, the first one for None.
    """
    seen: set[str | None] = {None}
    page = await read(None)
    yield page
    while _is_new(page, seen):
        page = await read(page.next_page_token)
        yield page


def _is_new(page: Page[Any], seen: set[str | None]) -> bool:
    """Return whether another page follows; a token that comes again would read the same pages for ever."""
    token = page.next_page_token or None
    is_new = token not in seen
    seen.add(token)
    return is_new
