"""What the contenders share that are written by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import requests

    from benchmarks.place import Place

PROPERTIES: Final = (
    "order_id", "status", "total", "quantity", "is_first", "coupon", "note", "details",
)  # fmt: skip


def post(session: requests.Session, place: Place, events: list[dict[str, Any]]) -> None:
    """
    Send a batch the plain way.

    :param session: The HTTP session.
    :param place: Where to.
    :param events: The events.
    """
    session.post(
        place.batches_url,
        json={"requests": events},
        headers={"Authorization": f"Basic {place.api_key}"},
        timeout=60,
    ).raise_for_status()
