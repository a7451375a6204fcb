"""The counts of imports in Airflow's metrics."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_fullstory.sensors.fullstory import FullStoryImportJobSensor
from tests.conftest import run
from tests.tries import (
    QUERY,
    Task,
    make_warehouse,
    orders,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provider_fullstory.emulator.client import EmulatorClient

from tests.logs import MIXED, importing


class FakeStats:
    """Airflow's Stats, with the counts and times that it was given."""

    def __init__(self) -> None:
        self.counts: list[tuple[str, Any, Any]] = []
        self.times: list[tuple[str, Any, Any]] = []

    def total(self, name: str) -> int:
        return sum(count for key, count, _ in self.counts if key == f"fullstory.{name}")

    @property
    def totals(self) -> dict[str, int]:
        return {name.removeprefix("fullstory."): self.total(name[10:]) for name, *_ in self.counts}


@pytest.fixture
def stats(monkeypatch: pytest.MonkeyPatch) -> FakeStats:
    from airflow.providers.common.compat.sdk import Stats

    fake = FakeStats()

    def incr(stat: str, count: int = 1, rate: float = 1, *, tags: Any = None) -> None:
        if stat.startswith("fullstory"):
            fake.counts.append((stat, count, tags))

    def timing(stat: str, dt: Any, *, tags: Any = None) -> None:
        if stat.startswith("fullstory"):
            fake.times.append((stat, dt, tags))

    monkeypatch.setattr(Stats, "incr", incr)
    monkeypatch.setattr(Stats, "timing", timing)
    return fake


@pytest.mark.parametrize("deferrable", [True, False])
def test_metrics_have_the_numbers_of_the_report(
    emulator: EmulatorClient, context: Any, stats: FakeStats, *, deferrable: bool
) -> None:
    emulator.configure(processing_seconds=0.3)

    with pytest.raises(AirflowFailException):
        run(importing(events=MIXED, deferrable=deferrable), context)

    assert stats.totals == {
        "records.imported": 23,
        "records.invalid": 1,
        "records.rejected": 2,
        "records.skipped": 0,
        "batches": 3,
        "retries": 0,
        "rate_limited": 0,
        "waited.rate_limit": 0,
        "records.accepted": 25,
        "batches.taken_over": 0,
        "waited.capacity": 0,
    }
    [(name, waited, tags)] = stats.times
    assert name == "fullstory.waited"
    assert isinstance(waited, timedelta)
    assert timedelta(seconds=0.2) < waited < timedelta(seconds=60)
    assert all(given == tags for *_, given in stats.counts)
    assert set(tags) == {"dag_id", "task_id"}
    assert tags["task_id"] == "import"


@pytest.mark.parametrize("deferrable", [True, False])
def test_retries_are_counted_wherever_they_were(
    emulator: EmulatorClient, context: Any, stats: FakeStats, *, deferrable: bool
) -> None:
    emulator.configure(processing_seconds=0.3)
    emulator.order_fault(method="POST", status=503, headers={"Retry-After": "0.01"}, times=2)

    run(importing(events=orders(25), deferrable=deferrable), context)

    assert stats.total("retries") == 2


def test_an_import_that_is_not_waited_for_is_counted_by_its_sensor_once(
    emulator: EmulatorClient, context: Any, stats: FakeStats
) -> None:
    submitted = importing(events=orders(25), wait_for_completion=False).execute(context)
    assert "records.imported" not in stats.totals
    assert "batches" not in stats.totals
    stats.counts.clear()

    run(FullStoryImportJobSensor(task_id="wait", job_ids=submitted, poke_interval=0.01), context)

    assert stats.total("records.imported") == 25
    assert {tags["task_id"] for *_, tags in stats.counts} == {"wait"}


def test_an_import_that_ended_is_counted_once_though_its_task_runs_again(
    emulator: EmulatorClient, make_task: Callable[..., Task], database: Path, stats: FakeStats
) -> None:
    make_warehouse(database, 25)
    task = make_task("store", **QUERY)
    # The task dies after it has counted its end, before Airflow knows.
    task.attempt()
    assert task.attempt()["imported"] == 25

    assert stats.total("records.imported") == 25
    assert stats.total("batches") == 3


def test_an_empty_import_counts_nothing(emulator: EmulatorClient, context: Any, stats: FakeStats) -> None:
    run(importing(events=[]), context)
    assert set(stats.totals.values()) <= {0}


def test_an_import_that_fails_midway_counts_only_what_was_sent(
    emulator: EmulatorClient, context: Any, stats: FakeStats
) -> None:
    emulator.configure(processing_seconds=3600)
    with pytest.raises(Exception, match="did not finish"):
        run(importing(events=orders(25), timeout=0.3), context)
    assert stats.total("records.accepted") == 25
    assert "records.imported" not in stats.totals
    assert "batches" not in stats.totals
