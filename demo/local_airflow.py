"""A real Airflow on this machine, for as long as it is needed."""

from __future__ import annotations

import os
import secrets
import socket
import sys
from collections import ChainMap
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from cryptography.fernet import Fernet

from demo import clock
from demo.airflow_api import AirflowApi
from demo.processes import Process, wait_for
from demo.task_logs import readable_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from demo.postgresql import PostgreSQL


class DagImportError(Exception):
    """Say why a DAG file cannot be imported."""


class LocalAirflow:
    """
    Run the components of Airflow 3, each a process that can be killed and started again.

    It takes nothing from an Airflow that may be installed or configured on this machine.

    :param directory: Where its home, its logs and those of its tasks go.
    :param dags_folder: The folder of the DAG files.
    :param database: The server that holds its metadata database.
    :param connections: Airflow connections, as JSON or URI, by id.
    :param settings: More environment variables, such as `AIRFLOW__TRIGGERER__CAPACITY`.
    """

    #: The command of each component.
    commands: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "api-server": ("api-server",),
        "dag-processor": ("dag-processor",),
        "scheduler": ("scheduler", "--skip-serve-logs"),
        "triggerer": ("triggerer", "--skip-serve-logs"),
    }
    #: The component that serves UI and API.
    server = "api-server"
    api_class = AirflowApi

    def __init__(
        self,
        directory: Path,
        dags_folder: Path,
        database: PostgreSQL,
        connections: Mapping[str, str],
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._directory = directory
        self._dags_folder = dags_folder
        self._database = database
        self._connections = connections
        self._settings = settings or {}
        self._port = free_port()
        #: How far its clock goes ahead of this machine's.
        self.ahead = timedelta(0)
        self.api = self.api_class(f"http://127.0.0.1:{self._port}")

    @cached_property
    def components(self) -> dict[str, Process]:
        """The processes by the name of the component."""
        return {name: self._component(name) for name in self.commands}

    def _component(self, name: str) -> Process:
        return self._process(*self.commands[name])

    def start(self) -> None:
        """Begin to start; see `wait_until_healthy`."""
        # Both keep a processor busy for several seconds, and the API server needs no tables to start.
        self._start_migration()
        self.components[self.server].start()

    def _start_migration(self) -> None:
        self._migration = self._process("db", "migrate")
        self._migration.start()

    def wait_until_healthy(self) -> None:
        """Wait until all components work, so that a run can be triggered."""
        started = [component for component in self.components.values() if component.is_running]
        wait_for("Airflow to create its database", self._migration.has_succeeded, started)
        self._start_components()

    def _start_components(self) -> None:
        components = self.components.values()
        for component in components:
            if not component.is_running:
                component.start()
        wait_for("Airflow's API server", self.api.is_up, components)
        # Otherwise the first task would have to wait for it.
        wait_for("Airflow's API for tasks", self.api.serves_tasks, components)
        wait_for("Airflow's components", lambda: not self.api.unhealthy_components(), components)

    def now(self) -> datetime:
        """Return what Airflow takes for the present time."""
        return datetime.now(UTC) + self.ahead

    def start_later(self, ahead: timedelta) -> None:
        """
        Start all components again after `stop`, with their clocks ahead, and wait until they work.

        :param ahead: How far their clocks go ahead of this machine's.
        """
        self.ahead = ahead
        # All components share one environment.
        self._environment.update(clock.moved(ahead))
        self.api.forget_login()
        self._start_components()

    @contextmanager
    def configured(self, **settings: str) -> Iterator[None]:
        """
        Let the scheduler, and so all tasks, run with other settings for a while.

        :param settings: Environment variables.
        """
        before = dict(self._environment)
        self._environment.update(settings)
        try:
            self._restart_scheduler()
            yield
        finally:
            self._environment.clear()
            self._environment.update(before)
            self._restart_scheduler()

    def _restart_scheduler(self) -> None:
        scheduler = self.components["scheduler"]
        scheduler.kill()
        scheduler.start()

    def backfill(self, dag_id: str, start: datetime, end: datetime) -> None:
        """
        Make runs of a DAG for a time in the past, by the command that people use.

        With Airflow 2 it lasts until they have ended, and runs their tasks.

        :param dag_id: The DAG.
        :param start: The first logical date.
        :param end: The last logical date.
        """
        command = self._process(*self._backfill_command(dag_id, start, end))
        command.start()
        wait_for("the backfill command", command.has_succeeded, self.components.values(), seconds=300)

    def trigger(self, dag_id: str, run_id: str, conf: str) -> None:
        """
        Start a run of a DAG by the command that people use.

        :param dag_id: The DAG.
        :param run_id: The id of the run.
        :param conf: Its configuration, as JSON.
        """
        command = self._process("dags", "trigger", dag_id, "--run-id", run_id, "--conf", conf)
        command.start()
        wait_for("the command that triggers", command.has_succeeded, self.components.values())

    def _backfill_command(self, dag_id: str, start: datetime, end: datetime) -> tuple[str, ...]:
        return (
            *("backfill", "create", "--dag-id", dag_id),
            *("--from-date", start.isoformat(), "--to-date", end.isoformat()),
        )

    def stop(self) -> None:
        """End all components at once: nothing that they hold is worth a goodbye."""
        self._migration.kill()
        for component in self.components.values():
            component.kill()

    def wait_for_dag(self, dag_id: str) -> None:
        """Wait until a DAG can be run, and fail when its folder holds files that cannot be parsed."""

        def has_dag() -> bool:
            if errors := self.api.import_errors():
                raise DagImportError("Airflow cannot import a DAG file:\n" + "\n".join(errors))
            return self.api.has_dag(dag_id)

        wait_for(f"Airflow to parse the DAG {dag_id}", has_dag, self.components.values())

    def task_logs(self, dag_id: str, run_id: str) -> list[Path]:
        """Return the log files of all tasks of a run, those of workers and of the triggerer."""
        folder = self._directory / "task_logs" / f"dag_id={dag_id}" / f"run_id={run_id}"
        return sorted(folder.rglob("*.log*"))

    def task_log_tail(self, dag_id: str, run_id: str, lines: int = 30) -> str:
        """Return the last lines of what the tasks of a run have logged."""
        logs = self.task_logs(dag_id, run_id)
        return "\n".join([line for log in logs for line in readable_lines(log)][-lines:])

    def component_logs(self) -> str:
        """Return what all components have logged."""
        return "".join(process.log.read_text(errors="replace") for process in self.components.values())

    def _process(self, *arguments: str, name: str = "", **own: str) -> Process:
        """
        Return a process of the command `airflow`.

        :param name: Its name, by default that of the command.
        :param own: Environment variables that no other process has.
        """
        name = name or arguments[0]
        return Process(
            name=f"Airflow's {name}",
            command=[sys.executable, "-m", "airflow", *arguments],
            log=self._directory / "logs" / f"airflow-{name}.log",
            environment=ChainMap(own, self._environment),
        )

    @cached_property
    def _environment(self) -> dict[str, str]:
        # Without cached bytecode, each of a dozen processes would spend seconds on compiling Airflow.
        own = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("AIRFLOW_") and name != "PYTHONDONTWRITEBYTECODE"
        }
        connections = {f"AIRFLOW_CONN_{name.upper()}": value for name, value in self._connections.items()}
        # Tasks reach the emulator on this machine, whatever proxy is set for the rest of the world.
        return own | {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"} | self._configuration | connections

    @property
    def _configuration(self) -> dict[str, str]:
        return {
            "AIRFLOW_HOME": str(self._directory / "airflow"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self._dags_folder),
            "AIRFLOW__CORE__FERNET_KEY": Fernet.generate_key().decode(),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self._database.sqlalchemy_url("airflow", "psycopg2"),
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(self._directory / "task_logs"),
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
            **self._configuration_of_version(),
            **self._settings,
        }

    def _configuration_of_version(self) -> dict[str, str]:
        return {
            "AIRFLOW__API__BASE_URL": self.api.url,
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(self._port),
            "AIRFLOW__API__SECRET_KEY": secrets.token_hex(32),
            # Airflow 3.0 starts four by default, and kills those that do not answer for five seconds.
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(64),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.api.url}/execution/",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            # The API server starts while the database is still being created.
            "AIRFLOW__DATABASE__CHECK_MIGRATIONS": "False",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": self._database.sqlalchemy_url("airflow", "asyncpg"),
            # The API server may be busy for longer than the default of 5 seconds on a slow machine.
            "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
            # How late it may be noticed that a worker has ended. A deferred task whose trigger fires before
            # that may be marked as failed by Airflow 3.3: "finished with state success, but queued".
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        }


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port
