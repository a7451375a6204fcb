"""One emulator, one PostgreSQL and one Airflow for all tests here; they end with the tests."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from demo import clock
from demo.purchases import fetch_purchases, read_purchases
from demo.services import EXAMPLE_DAGS, Services, running_services, temporary_directory
from tests.real_airflow.orders import ORDERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import timedelta

# Airflow 3.3 may fail a task whose trigger fires while its worker is still ending.
PROCESSING_SECONDS = 3
SETTINGS = {
    "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
    # A triggerer that was killed is given up soon.
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
    # A DAG that was changed is taken note of at once.
    "AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": "0",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "real_airflow" in item.path.parts:
            item.add_marker("real_airflow")
    # All tests share one Airflow, whose clock only goes forward.
    items.sort(key=lambda item: "move_clock" in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def purchase_log() -> Path:
    return fetch_purchases()


def dags_folder(directory: Path) -> Path:
    """Put the examples and the DAGs of the tests into one folder."""
    folder = directory / "dags"
    for source in (EXAMPLE_DAGS, Path(__file__).with_name("dags")):
        shutil.copytree(source, folder, dirs_exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def running(purchase_log: Path) -> Iterator[Services]:
    with (
        temporary_directory() as directory,
        running_services(
            directory,
            PROCESSING_SECONDS,
            dags_folder(directory),
            SETTINGS
            | {
                "AIRFLOW_VAR_FULLSTORY_STATE_URI": f"file://{directory}/state",
                "AIRFLOW_VAR_FULLSTORY_REFUSED_URI": f"file://{directory}/refused/",
            },
        ) as services,
    ):
        services.warehouse.load_purchases(read_purchases(purchase_log))
        services.warehouse.load_orders(ORDERS)
        services.airflow.wait_until_healthy()
        yield services


@pytest.fixture
def services(running: Services) -> Iterator[Services]:
    """The services, with an emulator that has forgotten the tests before, and DAGs that are paused."""
    running.emulator.reset()
    yield running
    api = running.airflow.api
    for dag_id in api.unpaused_dags():
        # Otherwise its schedule makes a run when the hour turns in a later test.
        api.pause(dag_id)
        for run in api.dag_runs(dag_id):
            if run.state in {"queued", "running"}:
                api.fail_run(dag_id, run.run_id)


@pytest.fixture(scope="session")
def move_clock(running: Services) -> Callable[[timedelta], None]:
    """Let time pass for Airflow and FullStory; tests that ask for it run last."""
    if not clock.can_be_moved():
        pytest.skip("Debian's package faketime is not installed.")
    return running.move_clock
