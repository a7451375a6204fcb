"""Compare what FullStory now holds with what the source says it should hold."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from demo.purchases import Purchase


@dataclass(frozen=True)
class Comparison:
    """
    The differences between source and FullStory, by content, since rows may repeat.

    :param expected: How many events there should be.
    :param imported: How many there are.
    :param missing: Events that should be there, or be there more often, and by how many.
    :param surplus: Events that should not be there, or be there less often, and by how many.
    """

    expected: int
    imported: int
    missing: Counter[str]
    surplus: Counter[str]

    @property
    def is_equal(self) -> bool:
        """Return whether every event is there exactly as often as it should be."""
        return not self.missing and not self.surplus


def compare(expected: Iterable[dict[str, Any]], imported: Iterable[dict[str, Any]]) -> Comparison:
    """Compare events of which the order does not matter, down to the type of each value."""
    wanted = Counter(_canonical(event) for event in expected)
    found = Counter(_canonical(event) for event in imported)
    return Comparison(wanted.total(), found.total(), wanted - found, found - wanted)


def expected_event(purchase: Purchase) -> dict[str, Any]:
    """Write down the event that a purchase should become, without the help of what is being checked."""
    return {
        "name": "Order Completed",
        "timestamp": f"{purchase.purchased_on:%Y-%m-%d}T00:00:00Z",
        "user": {"uid": purchase.customer_id},
        "properties": {"quantity": purchase.quantity, "amount": purchase.amount},
        "schema": {"properties": {"quantity": "int"}},
    }


def imported_events(emulator_url: str, job_id: str | None = None) -> Iterator[dict[str, Any]]:
    """
    Read from the emulator what was really imported, with each number as it was written.

    :param emulator_url: Address of the emulator.
    :param job_id: Only the events of this job.
    """
    parameters = {"job_id": job_id} if job_id else {}
    with (
        httpx.Client(timeout=60, trust_env=False) as client,
        client.stream("GET", f"{emulator_url}/_emulator/events", params=parameters) as response,
    ):
        response.raise_for_status()
        for line in response.iter_lines():
            imported = json.loads(line, parse_float=Decimal)
            event: dict[str, Any] = imported["event"]
            yield event | ({"shared": imported["shared"]} if "shared" in imported else {})


def _canonical(event: dict[str, Any]) -> str:
    return json.dumps(event, sort_keys=True, default=_canonical_number)


def _canonical_number(number: Decimal) -> str:
    # 20.5 and 20.50 are one number, but 20.0 is not the integer 20.
    return f"decimal {number.normalize()}"
