"""What dies while the import goes on: a worker, a triggerer and Airflow's database, once each."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from airflow_provider_fullstory.text import plural
from demo.liveness import Liveness
from demo.processes import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from demo.airflow_api import TaskInstance
    from demo.celery.machines import CeleryAirflow
    from demo.postgresql import PostgreSQL

#: Longer than Airflow takes here to find that a task is dead.
OUTAGE_SECONDS = 12


class Breaker:
    """
    Break what is due, one after the other.

    :param airflow: Whose machines are lost.
    :param metadata: The server of its database, which also dies.
    """

    def __init__(self, airflow: CeleryAirflow, metadata: PostgreSQL) -> None:
        self._airflow = airflow
        self._metadata = metadata
        self._liveness = Liveness(airflow)
        #: What is to be broken, when: the share of records that FullStory has accepted by then.
        self._to_come: list[tuple[float, Callable[[Sequence[TaskInstance]], str | None]]] = [
            (0.1, self._lose_worker),
            (0.1, self._lose_triggerer),
            (0.4, self._kill_database),
        ]

    @property
    def is_done(self) -> bool:
        """Whether all was broken."""
        return not self._to_come

    def break_due(self, tasks: Sequence[TaskInstance], progress: float) -> str | None:
        """
        Break what is due next, and return what was broken.

        :param tasks: The imports.
        :param progress: The share of records that FullStory has accepted.
        """
        if not self._to_come or progress < self._to_come[0][0]:
            return None
        _, break_it = self._to_come[0]
        if broken := break_it(tasks):
            del self._to_come[0]
        return broken

    def revive(self) -> None:
        """Start again what has given up or hangs, as systemd and liveness probes do."""
        for name in self._liveness.failing():
            component = self._airflow.components[name]
            component.kill()
            component.start()
            self._liveness.restarted(name)

    def _lose_worker(self, tasks: Sequence[TaskInstance]) -> str | None:
        at_work = [task for task in tasks if task.state == "running" and task.hostname]
        if not at_work:
            return None
        name = at_work[0].hostname
        self._airflow.lose(name)
        count = sum(task.hostname == name for task in at_work)
        return f"{name} is killed with {plural(count, 'import')} on it, and its disk is lost"

    def _lose_triggerer(self, tasks: Sequence[TaskInstance]) -> str | None:
        waiting = [task for task in tasks if task.state == "deferred" and task.triggerer]
        if not waiting:
            return None
        name = str(waiting[0].triggerer)
        self._airflow.lose(name)
        count = sum(task.triggerer == name for task in waiting)
        return f"{name} is killed with {plural(count, 'waiting import')} in it, and its disk is lost"

    def _kill_database(self, tasks: Sequence[TaskInstance]) -> str | None:
        if not any(task.state == "running" for task in tasks):
            return None
        with self._metadata.outage():
            time.sleep(OUTAGE_SECONDS)
        api = self._airflow.api
        wait_for("Airflow to find its database", lambda: "metadatabase" not in api.unhealthy_components())
        return f"Airflow's database was killed, and is back after {OUTAGE_SECONDS} seconds"
