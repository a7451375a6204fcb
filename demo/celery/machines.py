"""An Airflow on several machines: each has a disk of its own."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from demo.celery.hostname import VARIABLE
from demo.local_airflow import LocalAirflow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from demo.processes import Process

_ROOT = Path(__file__).parents[2]
_TRIGGERER = ("triggerer", "--skip-serve-logs")


def _worker(name: str) -> tuple[str, ...]:
    # Workers need not know each other, and would wait for those that died.
    alone = ("--without-mingle", "--without-gossip")
    return ("celery", "worker", "--celery-hostname", name, *alone, "--skip-serve-logs")


@dataclass(frozen=True)
class Machine:
    """
    Hold what only one machine has: a home, temporary files and DAG files.

    :param name: Its name.
    :param disk: The folder that is its disk.
    :param logs: Where its task logs go, which outlive it.
    """

    name: str
    disk: Path
    logs: Path

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables of its processes."""
        return {
            VARIABLE: self.name,
            "AIRFLOW_HOME": str(self.disk / "airflow"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.disk / "dags"),
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(self.logs),
            "TMPDIR": str(self.disk / "tmp"),
        }

    def set_up(self, dags_folder: Path) -> None:
        """
        Give it a new disk, which holds DAG files and nothing else.

        :param dags_folder: The folder of the DAG files.
        """
        shutil.rmtree(self.disk, ignore_errors=True)
        shutil.copytree(dags_folder, self.disk / "dags")
        (self.disk / "tmp").mkdir()


class CeleryAirflow(LocalAirflow):
    """Run Airflow 3 with CeleryExecutor: two workers and two triggerers are on machines of their own."""

    workers: ClassVar = ("worker-1", "worker-2")
    triggerers: ClassVar = ("triggerer-1", "triggerer-2")
    commands: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "api-server": ("api-server",),
        "dag-processor": ("dag-processor",),
        "scheduler": ("scheduler", "--skip-serve-logs"),
        **{name: _worker(name) for name in workers},
        **dict.fromkeys(triggerers, _TRIGGERER),
    }

    @cached_property
    def machines(self) -> dict[str, Machine]:
        """The machines of workers and triggerers by name."""
        return {
            name: Machine(name, self._directory / "machines" / name, self._directory / "task_logs" / name)
            for name in (*self.workers, *self.triggerers)
        }

    def start(self) -> None:
        """Begin to start; see `wait_until_healthy`."""
        for machine in self.machines.values():
            machine.set_up(self._dags_folder)
        super().start()

    def lose(self, name: str) -> None:
        """
        Kill all processes of a machine, lose its disk, and put another machine in its place.

        :param name: Its name.
        """
        component = self.components[name]
        component.kill()
        self.machines[name].set_up(self._dags_folder)
        component.start()

    def task_logs(self, dag_id: str, run_id: str) -> list[Path]:
        """Return the log files of all tasks of a run, from all machines."""
        pattern = f"task_logs/*/dag_id={dag_id}/run_id={run_id}/**/*.log*"
        return sorted(self._directory.glob(pattern))

    def _component(self, name: str) -> Process:
        machine = self.machines.get(name)
        own = {} if machine is None else machine.environment
        return self._process(*self.commands[name], name=name, **own)

    @property
    def _configuration(self) -> dict[str, str]:
        return super()._configuration | {
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            "AIRFLOW__CORE__HOSTNAME_CALLABLE": "demo.celery.hostname.hostname",
            "AIRFLOW__CELERY__WORKER_CONCURRENCY": "4",
            # Where hostname_callable is.
            "PYTHONPATH": str(_ROOT),
        }
