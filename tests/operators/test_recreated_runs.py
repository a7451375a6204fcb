"""A DAG run that was deleted and created again under its id reads its source, and sends nothing twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_fullstory.exceptions import (
    FullStoryInputError,
    FullStoryRecordsRefusedError,
    FullStorySourceChangedError,
)
from tests.tries import (
    DAY,
    QUERY,
    Breaking,
    Clock,
    Crash,
    Task,
    change_warehouse,
    failure_of,
    make_warehouse,
    noting_job,
    noting_stage,
    numbers,
    posts,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provider_fullstory.emulator.client import EmulatorClient

HOUR = 3600.0


pytestmark = pytest.mark.usefixtures("short_waits")


@pytest.mark.parametrize("kept", ["state", "folder"])
def test_a_run_that_was_created_again_reads_its_source_and_doubles_nothing(
    emulator: EmulatorClient, make_task: Callable[..., Task], clock: Clock, database: Path, kept: str
) -> None:
    make_warehouse(database, 25)
    task = make_task(kept)
    with pytest.raises(Crash):
        task.attempt(**QUERY, max_parallel_uploads=1, breaking=Breaking(matches=noting_job(1), is_done=True))
    # The rows were wrong: somebody puts them right, and loads the day again.
    change_warehouse(database, "UPDATE orders SET number = number + 100 WHERE number >= 10")
    clock.now += HOUR
    task.delete_run()

    report = task.attempt(**QUERY)

    assert report["imported"] == 25
    assert numbers(emulator) == [*range(10), *range(110, 125)]


@pytest.mark.parametrize("kept", ["state", "folder"])
def test_a_run_that_was_created_again_over_rows_that_fullstory_has_otherwise_says_so(
    emulator: EmulatorClient, make_task: Callable[..., Task], clock: Clock, database: Path, kept: str
) -> None:
    make_warehouse(database, 25)
    task = make_task(kept)
    with pytest.raises(Crash):
        task.attempt(**QUERY, max_parallel_uploads=1, breaking=Breaking(matches=noting_job(1), is_done=True))
    change_warehouse(database, "UPDATE orders SET number = number + 100")
    clock.now += 3 * DAY
    task.delete_run()

    failure_of(task, FullStorySourceChangedError, **QUERY)

    assert numbers(emulator) == list(range(10))


@pytest.mark.parametrize("kept", ["state", "folder"])
def test_a_finished_run_that_was_created_again_is_not_checked_by_its_jobs_alone(
    emulator: EmulatorClient, make_task: Callable[..., Task], database: Path, kept: str
) -> None:
    make_warehouse(database, 25)
    task = make_task(kept)
    with pytest.raises(Crash):
        task.attempt(**QUERY, breaking=Breaking(matches=noting_stage("sent"), is_done=True))
    change_warehouse(database, "DROP TABLE orders")
    task.delete_run()

    with pytest.raises(Exception, match="no such table"):
        task.attempt(**QUERY)


@pytest.mark.parametrize("kept", ["state", "folder"])
def test_a_run_that_was_created_again_over_other_rows_is_not_checked_by_its_jobs_by_a_later_try(
    emulator: EmulatorClient, make_task: Callable[..., Task], database: Path, kept: str
) -> None:
    make_warehouse(database, 25)
    task = make_task(kept)
    with pytest.raises(Crash):
        task.attempt(**QUERY, breaking=Breaking(matches=noting_stage("sent"), is_done=True))
    change_warehouse(database, "UPDATE orders SET number = number + 100 WHERE number >= 10")
    task.delete_run()

    for _ in range(3):
        failure_of(task, FullStorySourceChangedError, **QUERY)

    change_warehouse(database, "UPDATE orders SET number = number - 100 WHERE number >= 110")
    assert task.attempt(**QUERY)["imported"] == 25
    assert len(posts(emulator)) == 3
    assert numbers(emulator) == list(range(25))


@pytest.mark.parametrize("kept", ["state", "folder"])
def test_a_red_run_that_was_created_again_over_other_rows_is_not_green_once_its_gates_are_wider(
    emulator: EmulatorClient, make_task: Callable[..., Task], database: Path, kept: str
) -> None:
    make_warehouse(database, 20)
    wrong = QUERY | {"sql": QUERY["sql"].replace("'u' || number", "nullif('u' || number, 'u7')")}
    task = make_task(kept)
    failure_of(task, FullStoryRecordsRefusedError, **wrong)
    change_warehouse(database, "UPDATE orders SET number = number + 100 WHERE number >= 10")
    task.delete_run()

    for max_rejected in (0, 1):
        message = failure_of(task, FullStorySourceChangedError, **wrong, max_rejected=max_rejected)
        assert "That import had ended with 19 of 20 records in FullStory" in message

    assert len(numbers(emulator)) == 19


@pytest.mark.parametrize("kept", ["state", "folder"])
@pytest.mark.parametrize("is_lost", [False, True], ids=["wrong arguments", "a lost worker"])
def test_a_run_that_was_created_again_is_one_though_its_first_try_never_began(
    emulator: EmulatorClient,
    make_task: Callable[..., Task],
    clock: Clock,
    database: Path,
    kept: str,
    *,
    is_lost: bool,
) -> None:
    make_warehouse(database, 25)
    task = make_task(kept)
    with pytest.raises(Crash):
        task.attempt(**QUERY, max_parallel_uploads=1, breaking=Breaking(matches=noting_job(1), is_done=True))
    change_warehouse(database, "UPDATE orders SET number = number + 100 WHERE number >= 10")
    clock.now += HOUR
    task.delete_run()
    if is_lost:
        task.next_context()
    else:
        failure_of(task, FullStoryInputError, **QUERY, timeout=-1)

    assert task.attempt(**QUERY)["imported"] == 25
    assert numbers(emulator) == [*range(10), *range(110, 125)]
