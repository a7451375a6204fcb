"""
The pytest fixture ``fullstory_emulator``, available wherever this package is installed.

pytest loads this module in each run, so the emulator is imported only when a test asks for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_fullstory.emulator.client import EmulatorClient


@pytest.fixture(scope="session")
def fullstory_emulator_server() -> Iterator[EmulatorClient]:
    """Run one emulator for the whole session; tests ask for ``fullstory_emulator`` instead."""
    from airflow_provider_fullstory.emulator.embedded import EmulatorServer

    with EmulatorServer() as emulator:
        yield emulator


@pytest.fixture
def fullstory_emulator(fullstory_emulator_server: EmulatorClient) -> EmulatorClient:
    """
    Provide a FullStory without any data of earlier tests.

    .. code-block:: python

        def test_orders_arrive(fullstory_emulator, monkeypatch):
            monkeypatch.setenv("AIRFLOW_CONN_FULLSTORY_DEFAULT", fullstory_emulator.connection_json())
            run_my_dag()
            assert len(fullstory_emulator.events()) == 3
    """
    fullstory_emulator_server.reset()
    return fullstory_emulator_server
