"""A trigger that does nothing, apart from what stores it: Airflow's triggerer imports this module."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class SleepingTrigger(BaseTrigger):
    """Wait without doing anything: what Airflow takes for any trigger."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what makes an equal trigger in another process."""
        return "benchmarks.sleeping.SleepingTrigger", {}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait for longer than anybody looks."""
        await asyncio.sleep(24 * 60 * 60)
        yield TriggerEvent({})
