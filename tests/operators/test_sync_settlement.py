"""A batch whose answer was lost is settled by its key, and counts as unknown only if that cannot help."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_fullstory.api import protocol
from airflow_provider_fullstory.exceptions import FullStoryServerError, FullStoryUnreachableError
from tests.operators.syncs import SyncRun, imported, with_ids
from tests.tries import crash, creating_imports, noting_job

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

    from airflow_provider_fullstory.emulator.client import EmulatorClient
    from tests.operators.syncs import Warehouse

pytestmark = pytest.mark.usefixtures("dead_runs_hold_a_sync_for_a_second")
ORDERS = [(number, number) for number in range(1, 16)]


@pytest.fixture(autouse=True)
def no_repetitions(retry_for: Callable[[float], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each request be sent once."""
    monkeypatch.setattr(protocol, "FIRST_RETRY_SECONDS", 0.01)
    retry_for(0.0)


@pytest.mark.parametrize("on_ambiguous", ["fail", "resend"])
def test_an_outage_of_fullstory_while_an_import_is_settled_passes(
    tmp_path: Path, warehouse: Warehouse, emulator: EmulatorClient, on_ambiguous: str
) -> None:
    warehouse.add(*ORDERS)
    crash(SyncRun(tmp_path, "run-1", **with_ids(max_parallel_uploads=1)), noting_job(1))
    task = SyncRun(tmp_path, "run-2", **with_ids(on_ambiguous=on_ambiguous))

    def create(send: Callable[[], Any], body: Any) -> Any:
        raise FullStoryUnreachableError("Nobody is there.")

    with creating_imports(create), pytest.raises(FullStoryUnreachableError, match=r"batch 1 of run 'run-1'"):
        task.attempt()
    task.attempt()

    assert imported(emulator) == ORDERS


def test_a_server_error_is_a_question_only_if_the_key_does_not_help(
    tmp_path: Path, warehouse: Warehouse, emulator: EmulatorClient
) -> None:
    warehouse.add(*ORDERS)
    crash(SyncRun(tmp_path, "run-1", **with_ids(max_parallel_uploads=1)), noting_job(1))
    emulator.order_fault(method="POST", path="/v2/events/batch", status=503)
    task = SyncRun(tmp_path, "run-2", **with_ids())

    with pytest.raises(FullStoryServerError, match=r"batch 1 of run 'run-1'.*A retry goes on"):
        task.attempt()
    task.attempt()

    assert imported(emulator) == ORDERS


@pytest.mark.parametrize("status", [400, 413])
def test_a_refusal_that_was_not_noted_is_learned_from_the_key(
    tmp_path: Path, warehouse: Warehouse, emulator: EmulatorClient, status: int
) -> None:
    warehouse.add(*ORDERS)
    emulator.order_fault(method="POST", path="/v2/events/batch", status=status, times=2)
    crash(
        SyncRun(tmp_path, "run-1", **with_ids(max_parallel_uploads=1)),
        lambda key, value: bool(key == "batch_1" and (value.get("is_split") or value.get("is_refused"))),
    )

    SyncRun(tmp_path, "run-2", **with_ids()).attempt()

    assert imported(emulator) == ORDERS
