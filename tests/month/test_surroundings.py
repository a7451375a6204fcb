"""What a simulated month changes around a try."""

from __future__ import annotations

from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest

from airflow_provider_fullstory.batch_import.waiting.job_watch import JobWatch
from month.surroundings import hurry

if TYPE_CHECKING:
    from collections.abc import Iterator

HOURS = 3600.0


@pytest.fixture
def hurried() -> Iterator[None]:
    hurry()
    yield
    patch.stopall()


@pytest.mark.usefixtures("hurried")
def test_a_run_that_comes_back_after_hours_does_not_pause_for_long() -> None:
    watch = JobWatch(["job"], started_at=0.0, poll_interval=0.1, deadline=24 * HOURS)
    assert watch.pause(3 * HOURS) < 2.0
