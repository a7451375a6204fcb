"""Fixtures of the tests of syncs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from airflow_provider_fullstory.syncs.hold import Times, take
from tests.operators.syncs import Warehouse

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def dead_runs_hold_a_sync_for_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a hold be over after a second, rather than two minutes."""
    times = Times(renewal=0.1, valid=60.0, over=1.0, poll=0.05)
    monkeypatch.setattr("airflow_provider_fullstory.syncs.sync.take", partial(take, times=times))


@pytest.fixture
def runs_look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let runs that wait for a sync look for it many times a second."""
    monkeypatch.setattr("airflow_provider_fullstory.syncs.sync.take", partial(take, times=Times(poll=0.05)))


@pytest.fixture
def warehouse(database: Path) -> Warehouse:
    """Give a table of orders that the connection 'warehouse' leads to."""
    return Warehouse(database)
