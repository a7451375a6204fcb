"""Which components of an Airflow have to be started again, as systemd and liveness probes find out."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from demo.local_airflow import LocalAirflow

#: Longer than a component takes to start.
_HANGS_AFTER_SECONDS = 40


class Liveness:
    """
    Find the components that have given up, or hang.

    :param airflow: Whose components they are.
    """

    def __init__(self, airflow: LocalAirflow) -> None:
        self._airflow = airflow
        self._unhealthy_since: dict[str, float] = {}

    def failing(self) -> list[str]:
        """Return the names of the components that ended, or have given no sign of life for long."""
        unhealthy = self._airflow.api.unhealthy_components()
        return [
            name
            for name, component in self._airflow.components.items()
            if not component.is_running or self._hangs(name, is_healthy=name not in unhealthy)
        ]

    def restarted(self, name: str) -> None:
        """Give a component time, since it was just started again."""
        self._unhealthy_since.pop(name, None)

    def _hangs(self, name: str, *, is_healthy: bool) -> bool:
        # Airflow's scheduler may wait for its workers forever once it has lost its database.
        if is_healthy:
            self._unhealthy_since.pop(name, None)
            return False
        return (
            time.monotonic() - self._unhealthy_since.setdefault(name, time.monotonic()) > _HANGS_AFTER_SECONDS
        )
