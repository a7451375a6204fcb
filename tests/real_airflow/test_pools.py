"""Four imports at the same time share what may be unfinished through a pool; the emulator is the witness."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from demo.comparison import compare, expected_event
from demo.purchases import COUNT, read_purchases
from tests.real_airflow.runs import Run

if TYPE_CHECKING:
    from pathlib import Path

    from demo.services import Services

PARTS = 4
RECORDS_PER_SLOT = 4000


def succeeded(services: Services, dag_id: str, purchase_log: Path) -> list[dict[str, Any]]:
    """Run a DAG, check that each purchase arrived once from tasks that ran once, and return their reports."""
    run = Run.trigger(services, dag_id)
    run.wait_for_success()
    comparison = compare(
        [expected_event(purchase) for purchase in read_purchases(purchase_log)], run.events()
    )
    assert comparison.missing.most_common(2) == comparison.surplus.most_common(2) == []
    assert [task.try_number for task in run.tasks()] == [1] * PARTS
    reports = [run.result("import_purchases", part) for part in range(PARTS)]
    assert sum(report["imported"] for report in reports) == COUNT
    return reports


def refused(services: Services) -> int:
    return sum(request["status"] == 429 for request in services.emulator.requests())


@pytest.mark.parametrize("slots", [4, 2])
def test_imports_in_a_pool_keep_within_its_share(services: Services, purchase_log: Path, slots: int) -> None:
    services.airflow.api.set_pool(f"pool_of_{slots}", slots)
    # Beyond what the pool allows, even in its deferred tasks, the emulator answers 429.
    services.emulator.configure(processing_seconds=1, max_unfinished_records=slots * RECORDS_PER_SLOT)

    succeeded(services, f"pool_of_{slots}", purchase_log)

    assert refused(services) == 0
    most = services.emulator.most_unfinished()["records"]
    assert RECORDS_PER_SLOT < most <= slots * RECORDS_PER_SLOT


def test_the_example_outlasts_a_limit_that_is_smaller_than_its_shares(
    services: Services, purchase_log: Path
) -> None:
    services.airflow.api.set_pool("fullstory", PARTS)
    # Room for the batch of one import at a time.
    services.emulator.configure(max_unfinished_records=20_000)

    reports = succeeded(services, "example_fullstory_pool", purchase_log)

    assert [report["batches"] for report in reports] == [1] * PARTS
    assert refused(services) > 0
    assert services.emulator.most_unfinished()["batches"] == 1
