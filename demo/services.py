"""Everything that the example DAGs need: an emulated FullStory, a warehouse and an Airflow."""

from __future__ import annotations

import json
import shutil
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from demo.emulator import Emulator
from demo.local_airflow import LocalAirflow
from demo.local_airflow_2 import LocalAirflow2
from demo.postgresql import PostgreSQL
from demo.warehouse import Warehouse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import timedelta

    from airflow_provider_fullstory.emulator.client import EmulatorClient

EXAMPLE_DAGS = Path(__file__).parents[1] / "example_dags"
AIRFLOW_VERSION = tuple(int(number) for number in version("apache-airflow").split(".")[:2])


@dataclass(frozen=True)
class Services:
    """
    What was started, and is stopped again together.

    :param directory: Holds all data and, in `logs`, what each process has printed.
    :param metadata: The server of Airflow's metadata database; most often the warehouse's.
    """

    directory: Path
    emulator: EmulatorClient
    emulator_process: Emulator
    warehouse: Warehouse
    metadata: PostgreSQL
    airflow: LocalAirflow

    def move_clock(self, by: timedelta) -> None:
        """
        Let time pass for Airflow with its database, for its tasks, and for FullStory, while Airflow is down.

        Needs Debian's package `faketime`.

        :param by: How much time passes.
        """
        self.airflow.stop()
        self.metadata.stop()
        self.emulator.advance_clock(by.total_seconds())
        ahead = self.airflow.ahead + by
        # Airflow asks the database for the time as well.
        self.metadata.start_later(ahead)
        self.airflow.start_later(ahead)


@contextmanager
def temporary_directory() -> Iterator[Path]:
    """Give a new directory, and remove it in the end unless there was an error: logs may explain it."""
    directory = Path(tempfile.mkdtemp(prefix="fullstory-demo-"))
    try:
        yield directory
    except Exception as error:
        error.add_note(f"All logs are in {directory / 'logs'} and {directory / 'task_logs'}.")
        raise
    except BaseException:
        shutil.rmtree(directory)
        raise
    shutil.rmtree(directory)


@contextmanager
def running_services(
    directory: Path,
    processing_seconds: float = 0,
    dags_folder: Path = EXAMPLE_DAGS,
    settings: Mapping[str, str] | None = None,
    timeout: float = 120,
    *,
    has_own_metadata: bool = False,
    airflow_class: type[LocalAirflow] | None = None,
) -> Iterator[Services]:
    """
    Start the services, and stop them in the end.

    The warehouse has no tables yet and Airflow has only begun to start: see
    `LocalAirflow.wait_until_healthy`.

    :param directory: A directory with a short path, for data and logs.
    :param processing_seconds: How long the emulated FullStory takes over each batch.
    :param dags_folder: The folder of the DAG files.
    :param settings: Environment variables for Airflow.
    :param timeout: Seconds after which tasks give up a request to the emulated FullStory.
    :param has_own_metadata: Whether Airflow's database has its own server, which can break alone.
    :param airflow_class: Which Airflow to run; by default all of it on one machine.
    """
    with ExitStack() as stack:
        emulator = Emulator(directory, processing_seconds)
        stack.callback(emulator.stop)
        client = emulator.start()
        warehouse = Warehouse(directory)
        stack.callback(warehouse.stop)
        warehouse.start()
        metadata: PostgreSQL = warehouse
        if has_own_metadata:
            metadata = PostgreSQL(directory, "metadata", ("airflow",))
            stack.callback(metadata.stop)
            metadata.start()
        connections = {
            "fullstory_default": json.dumps(
                json.loads(client.connection_json()) | {"extra": {"timeout": timeout}}
            ),
            "warehouse": warehouse.connection_json(),
        }
        kind = airflow_class or (LocalAirflow2 if AIRFLOW_VERSION < (3, 0) else LocalAirflow)
        airflow = kind(directory, dags_folder, metadata, connections, settings)
        stack.callback(airflow.stop)
        airflow.start()
        yield Services(directory, client, emulator, warehouse, metadata, airflow)
