"""What fails around the sync: FullStory, its answers, and the database."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import random
    from collections import Counter

    from airflow_provider_fullstory.emulator.client import EmulatorClient
    from demo.warehouse import Warehouse
    from month.plan import Hour

_UPLOADS: Final[dict[str, Any]] = {"method": "POST", "path": "/v2/*/batch"}
_FOREVER: Final = 10**9


class Outages:
    """
    Let things fail, for an hour or for many.

    :param emulator: FullStory.
    :param warehouse: The database.
    :param counts: Counts what fails.
    """

    def __init__(self, emulator: EmulatorClient, warehouse: Warehouse, counts: Counter[str]) -> None:
        self._emulator = emulator
        self._warehouse = warehouse
        self._counts = counts
        self._down = ExitStack()
        #: What is down; empty if nothing is.
        self.now = ""
        #: Whether anything fails, if only for a moment, so that a run may fail.
        self.is_failing = False

    @property
    def has_database(self) -> bool:
        """Whether the database is up."""
        return self.now != "database down"

    def turn_to(self, outage: str) -> None:
        """
        Let an outage begin, go on, or end.

        :param outage: What is down from now on; empty if nothing is.
        """
        if outage:
            self._counts[f"hours: {outage}"] += 1
        self.is_failing = bool(outage)
        if outage == self.now:
            return
        self._down.close()
        self.now = outage
        if outage == "database down":
            self._down.enter_context(self._warehouse.outage())
        elif outage == "FullStory down":
            self._emulator.order_fault(times=_FOREVER, status=503)
            self._down.callback(self._emulator.forget_faults)
        elif outage == "answers lost for hours":
            self._emulator.order_fault(**_UPLOADS, times=_FOREVER, reset="after")
            self._down.callback(self._emulator.forget_faults)

    def order_faults(self, hour: Hour, chance: random.Random) -> None:
        """Order what fails for a moment in an hour."""
        if self.now:
            return
        self.is_failing = not hour.happenings.isdisjoint({"answers lost", "server errors"})
        if "answers lost" in hour.happenings:
            times = chance.randint(1, 3)
            self._emulator.order_fault(**_UPLOADS, times=times, reset="after", after=chance.randint(0, 2))
            self._counts["answers lost"] += times
        if "server errors" in hour.happenings:
            times = chance.randint(1, 3)
            self._emulator.order_fault(times=times, status=503, after=chance.randint(0, 6))
            self._counts["server errors"] += times

    def forget_faults(self) -> None:
        """Cancel what was ordered for the hour, and has not happened."""
        if not self.now:
            self._emulator.forget_faults()
            self.is_failing = False
