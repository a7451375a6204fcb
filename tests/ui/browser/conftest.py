"""One Airflow for all tests here, with runs that have ended, and a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

pytest.importorskip("playwright", reason="The group ui is not installed.")

from demo.browser import open_page
from demo.screenshots import HISTORY_DAGS
from demo.services import Services, running_services, temporary_directory
from tests.real_airflow.runs import Run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "browser" in item.path.parts:
            item.add_marker("ui")


@pytest.fixture(scope="session")
def services() -> Iterator[Services]:
    with temporary_directory() as directory, running_services(directory, 0, HISTORY_DAGS) as services:
        services.airflow.wait_until_healthy()
        yield services


@pytest.fixture(scope="session")
def orders(services: Services) -> Run:
    """Give a green run that let refusals pass."""
    run = Run.trigger(services, "orders", conf={"orders": 1_500, "anonymous": 40})
    run.wait_for_success()
    return run


@pytest.fixture(scope="session")
def letters(services: Services) -> Run:
    """Give a run whose records are in the DAG file, and hold names."""
    run = Run.trigger(services, "letters")
    run.wait_for_success()
    return run


@pytest.fixture
def page(services: Services) -> Iterator[Page]:
    with open_page(services.airflow.api.url) as page:
        yield page
