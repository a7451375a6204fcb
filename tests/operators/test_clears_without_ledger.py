"""A clear whose ledger is gone: for a day keys protect, after that the outcome is unknown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_fullstory.exceptions import (
    FullStoryAmbiguousError,
    FullStoryInputError,
)
from tests.tries import (
    DAY,
    Breaking,
    Clock,
    Crash,
    Task,
    clear_later,
    failure_of,
    noting_job,
    noting_stage,
    numbers,
    orders,
    posts,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provider_fullstory.emulator.client import EmulatorClient

HOUR = 3600.0
WITH_A_LEDGER = pytest.mark.parametrize("task", ["store", "state", "folder"], indirect=True)


pytestmark = pytest.mark.usefixtures("short_waits")


@pytest.mark.parametrize("kept", ["nothing", "store"])
def test_a_clear_whose_ledger_is_gone_is_recognized_for_a_day(
    emulator: EmulatorClient, make_task: Callable[..., Task], clock: Clock, kept: str
) -> None:
    task = make_task(kept)
    task.attempt(events=orders(25))
    clear_later(task, clock, HOUR)
    forget_ledger(task)

    assert task.attempt(events=orders(25))["imported"] == 25
    assert numbers(emulator) == list(range(25))


@pytest.mark.parametrize("kept", ["nothing", "store"])
def test_a_clear_whose_ledger_is_gone_doubles_nothing_after_three_days(
    emulator: EmulatorClient, make_task: Callable[..., Task], clock: Clock, kept: str
) -> None:
    task = make_task(kept)
    task.attempt(events=orders(25))
    clear_later(task, clock, 3 * DAY)
    forget_ledger(task)

    for _ in range(2):
        message = failure_of(task, FullStoryAmbiguousError, events=orders(25))

    assert "its ledger is gone" in message
    assert "state_uri keeps the ledger" in message
    assert numbers(emulator) == list(range(25))
    # A person has checked, and decides.
    assert task.attempt(events=orders(25), on_ambiguous="resend")["imported"] == 25
    assert numbers(emulator) == sorted([*range(25), *range(25)])


def test_a_retry_that_lost_an_answer_does_not_take_the_day_for_a_new_one(
    emulator: EmulatorClient, make_task: Callable[..., Task], clock: Clock
) -> None:
    task = make_task("store")
    task.attempt(events=orders(5))
    clear_later(task, clock, 23 * HOUR)
    forget_ledger(task)
    with pytest.raises(Crash):
        task.attempt(events=orders(5), breaking=Breaking(matches=noting_job(1)))
    assert posts(emulator)[-1]["replayed"]
    clock.now += 2 * HOUR

    failure_of(task, FullStoryAmbiguousError, events=orders(5))

    assert numbers(emulator) == list(range(5))


def test_a_try_that_failed_before_anything_was_sent_is_no_unknown_outcome(
    emulator: EmulatorClient, make_task: Callable[..., Task], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = make_task("store")
    monkeypatch.setenv("AIRFLOW_CONN_FULLSTORY_DEFAULT", json.dumps({"conn_type": "fullstory"}))
    failure_of(task, FullStoryInputError, events=orders(5))
    monkeypatch.setenv("AIRFLOW_CONN_FULLSTORY_DEFAULT", emulator.connection_json())
    clear_later(task, clock, 3 * DAY)

    assert task.attempt(events=orders(5))["imported"] == 5


@WITH_A_LEDGER
@pytest.mark.parametrize(
    "wrong", [{"timeout": -1}, {"sql": "SELECT 1; SELECT 2", "sql_conn_id": "warehouse"}]
)
def test_arguments_that_were_wrong_are_no_unknown_outcome_either(
    emulator: EmulatorClient, task: Task, clock: Clock, wrong: dict[str, Any]
) -> None:
    failure_of(task, FullStoryInputError, **({} if "sql" in wrong else {"events": orders(5)}), **wrong)
    clear_later(task, clock, 3 * DAY)

    assert task.attempt(events=orders(5))["imported"] == 5


def forget_ledger(task: Task) -> None:
    """Do what Airflow 3.4 does when a task is cleared."""
    if task.store is not None:
        task.store.texts.clear()


def test_a_ledger_in_the_state_folder_is_adopted_by_a_newer_airflow(
    emulator: EmulatorClient,
    make_task: Callable[..., Task],
    clock: Clock,
    task_state_store: Any,
) -> None:
    task = make_task("state")
    with pytest.raises(Crash):
        task.attempt(events=orders(30), breaking=Breaking(matches=noting_stage("sent")))
    clear_later(task, clock, 3 * DAY)
    task.store = task_state_store

    assert task.attempt(events=orders(30))["imported"] == 30
    assert numbers(emulator) == list(range(30))


def test_a_ledger_of_airflow_is_adopted_once_there_is_a_state_folder(
    emulator: EmulatorClient, make_task: Callable[..., Task], clock: Clock, tmp_path: Path
) -> None:
    task = make_task("store")
    with pytest.raises(Crash):
        task.attempt(events=orders(30), breaking=Breaking(matches=noting_stage("sent")))
    clear_later(task, clock, 3 * DAY)

    assert task.attempt(events=orders(30), state_uri=f"file://{tmp_path}/state")["imported"] == 30
    assert numbers(emulator) == list(range(30))
