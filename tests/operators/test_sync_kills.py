"""A sync whose process dies at any one of its writes loses no record and sends none twice."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import shutil
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_fullstory.exceptions import FullStorySyncOpenError
from airflow_provider_fullstory.syncs.hold import Times, take
from tests.operators.syncs import Changes, SyncRun, imported, record_of, with_ids
from tests.tries import Crash

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_fullstory.emulator.client import EmulatorClient
    from tests.operators.syncs import Warehouse

#: How many orders the first run sends, in batches of two.
ROWS = 3
#: The orders that come later; the last one while no process lives.
NEW = [4, 5, 6, 7, 8, 100]
#: The order that FullStory rejects.
REJECTED = 6


@dataclasses.dataclass(frozen=True)
class Way:
    """
    Say how a sync imports.

    :param arguments: Arguments of the operator.
    :param settings: Settings of the emulator.
    :param rejects: Whether FullStory rejects a record.
    """

    arguments: dict[str, Any]
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    rejects: bool = False

    @property
    def has_ids(self) -> bool:
        """Whether the sync has insert ids."""
        return "insert_id" in self.arguments


DEFERRED = {"stage_batches": True, "deferrable": True}
#: Jobs take a moment, and batches of two records are too large.
SLOW = {"processing_seconds": 0.05, "max_body_bytes": 300}
WAYS = {
    "watermark alone": Way({}),
    "watermark alone, staged, deferred, in halves": Way(DEFERRED, SLOW),
    "insert ids": Way(with_ids(lag=100, max_rejected=1), rejects=True),
    "insert ids, staged, deferred, in halves": Way(with_ids(lag=100, insert_id="*", **DEFERRED), SLOW),
}


@pytest.fixture(autouse=True)
def dead_runs_hold_a_sync_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process lives beside another one here, so a hold that was not given up is over at once."""
    times = Times(renewal=60.0, over=0.0, poll=0.01)
    monkeypatch.setattr("airflow_provider_fullstory.syncs.sync.take", partial(take, times=times))


@dataclasses.dataclass
class History:
    """
    A sync that has run once, and can run on from there as often as a test wants.

    :param state: The folder of its state.
    """

    state: Path
    way: Way
    warehouse: Warehouse
    emulator: EmulatorClient

    def begin(self) -> None:
        """Let it run for the first time."""
        self.warehouse.add(*((number, number) for number in range(1, ROWS + 1)))
        self.run("run-1", self.state).attempt()

    def run(self, run_id: str, root: Path, **arguments: Any) -> SyncRun:
        """Return a run of it."""
        given = {"batch_size": 2, "max_parallel_uploads": 1} | self.way.arguments | arguments
        return SyncRun(root, run_id, **given)

    def again(self, root: Path) -> None:
        """Return to what it was after the first run, with new rows."""
        shutil.copytree(self.state, root)
        self.emulator.reset()
        self.emulator.configure(**self.way.settings)
        if self.way.rejects:
            self.emulator.order_rejection("properties.order_id", [REJECTED])
        self.warehouse.execute("DELETE FROM orders WHERE order_id > ?", ROWS)
        self.warehouse.add(*((number, number) for number in NEW[:-1]))

    def go_on(self, dead: SyncRun, root: Path, *, by_retry: bool) -> None:
        """Let the dead task be retried, or the next run go on."""
        if by_retry:
            dead.attempt()
            return
        try:
            self.run("run-3", root).attempt()
        except FullStorySyncOpenError:
            # Without insert ids, a person is asked to clear the task.
            assert not self.way.has_ids
            dead.clear()
            dead.attempt()


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_no_change_of_the_storage_is_one_at_which_a_process_must_not_die(
    tmp_path: Path, warehouse: Warehouse, emulator: EmulatorClient, way: Way
) -> None:
    sync = History(tmp_path / "first", way, warehouse, emulator)
    sync.begin()
    sync.again(tmp_path / "alive")
    with Changes() as changes:
        sync.run("run-2", tmp_path / "alive").attempt()
    assert len(changes.of_each_kind) >= 12

    cases = itertools.cycle(itertools.product((True, False), (False, True)))
    for number, (at, (by_retry, is_done)) in enumerate(zip(changes.of_each_kind, cases, strict=False)):
        root = tmp_path / str(number)
        sync.again(root)
        dead = sync.run("run-2", root)
        with contextlib.suppress(Crash), Changes(at, is_done=is_done):
            dead.attempt()
        warehouse.add((NEW[-1], NEW[-1]))
        sync.go_on(dead, root, by_retry=by_retry)
        sync.run("run-4", root).attempt()

        where = f"died at {changes.names[at - 1]} ({'done' if is_done else 'not done'})"
        expected = [(order, order) for order in NEW if not way.rejects or order != REJECTED]
        assert imported(emulator) == expected, where
        record = record_of(root)
        assert record["watermark"]["value"]["value"] == str(NEW[-1]), where
        assert record["open"] is None, where
        assert not list(root.rglob("in_flight")), where
        if way.rejects:
            emulator.forget_rejections()
            report = sync.run("run-5", root, full_refresh=True).attempt()
            assert (report["imported"], report["skipped"]) == (1, ROWS + len(NEW) - 1), where
