"""How things are broken."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psutil

from chaos.plan import TASK_ID
from demo.guardian import kill_session
from demo.liveness import Liveness
from demo.processes import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaos.plan import Breakage
    from demo.services import Services

UPLOADS = {"method": "POST", "path": "/v2/*/batch"}
#: Longer than the connection's timeout, so that nobody hears the answer.
DELAY_SECONDS = 4


class Breaker:
    """
    Break what a plan says.

    :param services: What can be broken.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._sessions: list[int] = []
        self._liveness = Liveness(services.airflow)

    def break_now(self, breakage: Breakage, dag_id: str, run_id: str) -> bool:
        """
        Let something go wrong, and return whether there was something to break.

        :param breakage: What goes wrong.
        :param dag_id: The DAG whose run it goes wrong with.
        :param run_id: The run.
        """
        match breakage.kind:
            case "task killed":
                return self._signal(self._tasks(), signal.SIGKILL)
            case "worker killed":
                return self._signal(self._workers(), signal.SIGKILL)
            case "worker terminated":
                return self._signal(self._workers(), signal.SIGTERM)
            case "triggerer killed" | "scheduler killed" as kind:
                self._restart(kind.removesuffix(" killed"))
            case "database down":
                with self._services.metadata.outage():
                    time.sleep(_outage_seconds(breakage.times))
            case "task cleared":
                self._services.airflow.api.clear(dag_id, run_id, TASK_ID)
            case "run deleted":
                self._delete(dag_id, run_id)
            case "emulator restarted":
                self._services.emulator_process.crash()
            case kind:
                for fault in _faults(kind, breakage.times):
                    self._services.emulator.order_fault(**fault)
        return True

    def revive(self) -> None:
        """Start the components that have given up or hang, as systemd and liveness probes do."""
        for name in self._liveness.failing():
            self._restart(name)

    def _delete(self, dag_id: str, run_id: str) -> None:
        """Delete a run, and let the same one begin anew."""
        api = self._services.airflow.api
        if api.run_state(dag_id, run_id) == "running":
            # Airflow deletes none that is running.
            api.mark_run_failed(dag_id, run_id)
        api.delete_run(dag_id, run_id)
        api.trigger(dag_id, run_id=run_id)

    def clear_up(self) -> None:
        """End what outlived its scheduler; nothing of it has work left."""
        for session in self._sessions:
            kill_session(session)
        self._sessions.clear()

    def _restart(self, name: str) -> None:
        """Kill a component alone: its children go on, as after a crash, until the round is over."""
        self._liveness.restarted(name)
        component = self._services.airflow.components[name]
        self._sessions.append(component.abandon())
        component.start()

    def _workers(self) -> Iterator[psutil.Process]:
        """Yield the processes that run a task; they belong to the scheduler of today or to one that died."""
        sessions = {*self._sessions, self._services.airflow.components["scheduler"].session}
        for process in psutil.process_iter():
            with suppress(psutil.NoSuchProcess, ProcessLookupError):
                title = " ".join(process.cmdline())
                is_worker = title.startswith("airflow worker -- LocalExecutor") and "<idle>" not in title
                if is_worker and os.getsid(process.pid) in sessions:
                    yield process

    def _tasks(self) -> Iterator[psutil.Process]:
        for worker in self._workers():
            with suppress(psutil.NoSuchProcess):
                yield from worker.children()

    def _signal(self, processes: Iterator[psutil.Process], number: signal.Signals) -> bool:
        is_done = False
        for process in list(processes):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)
                is_done = True
        return is_done

    def has_no_workers(self) -> bool:
        """Return whether no process runs a task."""
        return not list(self._workers())

    def wait_until_healthy(self) -> None:
        """Wait until all that was broken works again."""
        wait_for("Airflow to recover", self._is_healthy)

    def _is_healthy(self) -> bool:
        self.revive()
        return not self._services.airflow.api.unhealthy_components()


def _outage_seconds(times: int) -> int:
    """Return from 11 to 20 seconds: longer than Airflow takes to find that something is dead."""
    return 8 + 3 * times


def _faults(kind: str, times: int) -> Iterator[dict[str, Any]]:
    """Yield the emulator's faults that make up a failure of FullStory."""
    match kind:
        case "reset before the work":
            yield UPLOADS | {"times": times, "reset": "before"}
        case "reset after the work":
            yield UPLOADS | {"times": times, "reset": "after"}
            yield {"method": "GET", "times": times, "reset": "after"}
        case "429 burst":
            yield UPLOADS | {"times": 3 * times, "status": 429, "headers": {"Retry-After": "1"}}
            yield {"method": "GET", "times": times, "status": 429, "headers": {"Retry-After": "1"}}
        case "5xx burst":
            yield UPLOADS | {"times": times, "status": 503}
            yield UPLOADS | {"times": times, "status": 500}
            yield {"method": "GET", "times": times, "status": 502}
        case "5xx after the work":
            yield UPLOADS | {"times": times, "status": 504, "work_done": True}
        case "answers delayed":
            yield UPLOADS | {"times": times, "delay_seconds": DELAY_SECONDS}
            yield {"method": "GET", "path": "/v2/*/batch/*", "delay_seconds": DELAY_SECONDS}
