"""Pages of results, and the tokens that lead from one to the next."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, TypeVar

from airflow_provider_fullstory.emulator.answers import invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_provider_fullstory.emulator.settings import Settings

Place = TypeVar("Place", int, str)


def page(
    results: Sequence[tuple[Place, dict[str, object]]],
    total: int,
    page_token: str,
    settings: Settings,
    before_all: Place,
) -> dict[str, object]:
    """
    Return a page.

    :param results: Its results, each with its place, and one more if there are further pages.
    :param total: The number of results on all pages.
    :param page_token: The token that led here.
    :param settings: The size of a page, and how pages end.
    :param before_all: The place before the first result.
    """
    size = settings.page_size
    value: dict[str, object] = {"results": [described for _, described in results[:size]]}
    if not settings.omit_total_records:
        value["total_records"] = str(total)
    if len(results) > size:
        last, _ = results[size - 1]
        value["next_page_token"] = _token(last)
    elif settings.repeat_last_page_token:
        value["next_page_token"] = page_token or _token(before_all)
    return value


def place_of(page_token: str, read: Callable[[str], Place], before_all: Place) -> Place:
    """
    Return the place after which a page starts.

    :param page_token: The token that leads there, empty for the first page.
    :param read: Reads a place.
    :param before_all: The place before the first result.
    :raises ApiError: If no page has that token.
    """
    if not page_token:
        return before_all
    try:
        return read(base64.b64decode(page_token, validate=True).decode().removeprefix("after:"))
    except (ValueError, binascii.Error) as error:
        raise invalid("page_token is not one that this API gave out") from error


def _token(place: int | str) -> str:
    return base64.b64encode(f"after:{place}".encode()).decode()
