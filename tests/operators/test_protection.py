"""What protects records from being sent twice, and what the log says about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_fullstory.exceptions import (
    FullStoryInputError,
)
from tests.tries import (
    Task,
    failure_of,
    numbers,
    orders,
    posts,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_fullstory.emulator.client import EmulatorClient


pytestmark = pytest.mark.usefixtures("short_waits", "unknown_jobs_are_old")


@pytest.mark.parametrize("durable", [False, True])
def test_without_a_ledger_each_try_posts_all_under_the_same_keys(
    emulator: EmulatorClient, make_task: Callable[..., Task], *, durable: bool
) -> None:
    task = make_task("store" if not durable else "nothing", durable=durable)
    first = task.attempt(events=orders(25), max_parallel_uploads=1)
    again = task.attempt(events=orders(25), max_parallel_uploads=1)

    requests = posts(emulator)
    keys = [request["idempotency_key"] for request in requests]
    assert keys[:3] == keys[3:]
    assert [request["replayed"] for request in requests] == [False] * 3 + [True] * 3
    assert numbers(emulator) == list(range(25))
    assert again == first
    assert not task.store or not task.store.writes


def test_a_state_folder_without_durability_is_refused(
    emulator: EmulatorClient, make_task: Callable[..., Task]
) -> None:
    message = failure_of(make_task("folder"), FullStoryInputError, events=orders(5), durable=False)
    assert "state_uri is given with durable=False" in message
    assert emulator.requests() == []


@pytest.mark.parametrize("policy", ["on_ambiguous", "on_source_change"])
@pytest.mark.parametrize("value", ["send", "", None, True])
def test_a_policy_that_does_not_exist_is_refused(
    emulator: EmulatorClient, task: Task, policy: str, value: Any
) -> None:
    message = failure_of(task, FullStoryInputError, events=orders(5), **{policy: value})
    assert f"{policy} is {value!r}; it must be 'fail' or 'resend'." in message
    assert emulator.requests() == []


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """Give what was logged, wherever Airflow's configuration sends it."""
    caplog.set_level("INFO")

    def read() -> str:
        output = capfd.readouterr()
        return caplog.text + output.out + output.err

    return read


@pytest.mark.parametrize(
    ("kept", "arguments", "words"),
    [
        ("store", {}, "State: a ledger in Airflow's task state store."),
        ("state", {}, "State: a ledger in file://"),
        ("both", {}, "State: a ledger in file://"),
        ("store", {"durable": False}, "State: no ledger, since durable=False."),
        (
            "nothing",
            {},
            "State: no ledger, since state_uri is not set and Airflow has a task state store from 3.3 on",
        ),
    ],
    ids=["store", "state", "both", "not durable", "nothing"],
)
def test_the_log_says_what_protects_against_doubles(
    emulator: EmulatorClient,
    make_task: Callable[..., Task],
    kept: str,
    *,
    arguments: dict[str, Any],
    words: str,
    logged: Callable[[], str],
) -> None:
    make_task(kept).attempt(events=orders(5), **arguments)

    assert words in logged()
