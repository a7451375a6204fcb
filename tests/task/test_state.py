"""The state of an import: which tries remove what, and how long it is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_fullstory.task.import_run import ImportRun
from tests.tries import (
    DAY,
    Breaking,
    Clock,
    Crash,
    Task,
    noting_stage,
    numbers,
    orders,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_fullstory.emulator.client import EmulatorClient


pytestmark = pytest.mark.usefixtures("short_waits")


def test_bodies_are_removed_by_the_last_try_alone(
    emulator: EmulatorClient, make_task: Callable[..., Task]
) -> None:
    task = make_task("folder")
    zombie = task.operator(events=orders(25), wait_for_completion=False)
    context = task.next_context()
    # Airflow takes this try for dead, and begins the next, while this one continues.
    submit = ImportRun.send

    def submit_while_the_next_begins(run: ImportRun) -> Any:
        report = submit(run)
        with pytest.raises(Crash):
            task.attempt(events=orders(25), breaking=Breaking(matches=noting_stage("sent"), is_done=True))
        return report

    with pytest.MonkeyPatch.context() as patched:
        slow = submit_once(submit_while_the_next_begins, submit)
        patched.setattr(ImportRun, "send", slow)
        zombie.execute(context)

    assert task.is_staged
    assert task.attempt(events=orders(25))["imported"] == 25
    assert not task.is_staged
    assert numbers(emulator) == list(range(25))


def submit_once(first: Callable[..., Any], then: Callable[..., Any]) -> Callable[..., Any]:
    calls = iter([first])

    def submit(*arguments: Any) -> Any:
        return next(calls, then)(*arguments)

    return submit


def test_state_of_long_ago_is_removed(
    emulator: EmulatorClient, make_task: Callable[..., Task], clock: Clock
) -> None:
    start = clock.now
    runs = [make_task("folder", map_index=number) for number in range(4)]

    def work(number: int, day: int) -> None:
        clock.now = start + day * DAY
        runs[number].attempt(events=orders(5, 10 * number))

    for number, day in ((0, 0), (1, 30), (2, 80)):
        work(number, day)
    assert kept_runs(runs) == [0, 1, 2]

    work(1, 100)
    assert kept_runs(runs) == [1, 2]

    # What was worked on since is kept, and has not been forgotten.
    work(3, 150)
    assert kept_runs(runs) == [1, 2, 3]
    work(1, 151)
    assert numbers(emulator) == sorted([*range(5), *range(10, 15), *range(20, 25), *range(30, 35)])


@pytest.mark.parametrize("garbage", ["{", "{}", "[]"])
def test_state_of_long_ago_that_is_damaged_fails_no_import(
    emulator: EmulatorClient, make_task: Callable[..., Task], clock: Clock, garbage: str
) -> None:
    old, new = make_task("state", map_index=0), make_task("state", map_index=1)
    old.attempt(events=orders(5))
    (old.folder.parent / "ledger" / "history.json").write_text(garbage)
    clock.now += 100 * DAY

    assert new.attempt(events=orders(5, 10))["imported"] == 5
    assert kept_runs([new]) == [1]


def kept_runs(runs: list[Task]) -> list[int]:
    names = {path.name.split(".")[1] for path in runs[0].all_runs}
    return sorted(map(int, names))
