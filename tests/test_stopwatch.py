"""The time in which at least one thread waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_fullstory import stopwatch
from airflow_provider_fullstory.stopwatch import Stopwatch

if TYPE_CHECKING:
    import pytest


def test_waits_that_overlap_count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(stopwatch.time, "monotonic", lambda: now)
    watch = Stopwatch()
    assert watch.seconds == 0

    with watch.running():
        now = 103.0
        assert watch.seconds == 3
        with watch.running():
            now = 105.0
        now = 106.0
    now = 200.0

    assert watch.seconds == 6
    with watch.running():
        now = 201.0
    assert watch.seconds == 7
