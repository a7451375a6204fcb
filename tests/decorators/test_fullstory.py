"""Tasks that are made of functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_fullstory.exceptions import FullStoryInputError
from tests.conftest import run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_fullstory.emulator.client import EmulatorClient
    from tests.logs import Log

SCORES = [
    {"name": "Scored", "user": {"uid": f"u{number}"}, "properties": {"n": number}} for number in range(5)
]


def numbers(emulator: EmulatorClient) -> list[int]:
    return sorted(event["event"]["properties"]["n"] for event in emulator.events())


def made(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
    """Return the operator that Airflow makes of a decorated function which is called in a DAG."""
    with DAG("dag", schedule=None):
        return function(*arguments, **keywords).operator


@pytest.mark.parametrize("deferrable", [False, True])
def test_what_a_function_yields_is_imported_and_the_report_returned(
    emulator: EmulatorClient, context: Any, deferrable: bool
) -> None:
    calls = []

    @task.fullstory_events(deferrable=deferrable, batch_size=2)
    def scores(first: int) -> Iterator[dict[str, Any]]:
        calls.append(first)
        yield from SCORES[first:]

    report = run(made(scores, 1), context)
    assert (report["records"], report["imported"], report["batches"]) == (4, 4, 2)
    assert numbers(emulator) == [1, 2, 3, 4]
    assert calls == [1]
    assert context["ti"].xcoms.keys() <= {"return_value"}


def test_what_a_function_returns_is_imported(emulator: EmulatorClient, context: Any) -> None:
    @task.fullstory_events
    def scores() -> list[dict[str, Any]]:
        return SCORES

    assert run(made(scores), context)["imported"] == len(SCORES)


def test_a_function_may_ask_for_the_context(emulator: EmulatorClient, context: Any) -> None:
    @task.fullstory_events(event_name="Run")
    def runs(run_id: str | None = None) -> list[dict[str, Any]]:
        return [{"user.uid": "u", "run": run_id}]

    run(made(runs), context)
    assert [event["event"]["properties"] for event in emulator.events()] == [{"run": "run-1"}]


def test_users(emulator: EmulatorClient, context: Any, log: Log) -> None:
    @task.fullstory_users
    def customers() -> Iterator[dict[str, Any]]:
        yield {"uid": "u1", "plan": "pro"}

    report = run(made(customers), context)
    assert (report["resource"], report["imported"]) == ("users", 1)
    assert [user["user"]["uid"] for user in emulator.users()] == ["u1"]
    assert log.having("Importing users from ") == ["Importing users from records that come one by one"]


def test_a_retry_sends_nothing_twice(emulator: EmulatorClient, context: Any) -> None:
    @task.fullstory_events(batch_size=2)
    def scores() -> Iterator[dict[str, Any]]:
        yield from SCORES

    for _ in range(2):
        assert run(made(scores), context)["imported"] == len(SCORES)
    assert numbers(emulator) == [0, 1, 2, 3, 4]


def test_no_records_and_no_answer_are_told_apart(emulator: EmulatorClient, context: Any) -> None:
    @task.fullstory_events
    def nothing() -> None:
        """Forget to return something."""

    with pytest.raises(
        FullStoryInputError, match=r"The function nothing returned None\. It has to return or"
    ):
        run(made(nothing), context)

    @task.fullstory_events
    def empty() -> list[dict[str, Any]]:
        return []

    assert run(made(empty), context)["records"] == 0
    assert [request for request in emulator.requests() if request["method"] == "POST"] == []


def test_rows_are_not_shown(context: Any, emulator: EmulatorClient) -> None:
    @task.fullstory_events
    def scores() -> list[dict[str, Any]]:
        return SCORES

    operator = made(scores)
    run(operator, context)
    assert "u1" not in str(operator.events)


def test_a_preview_calls_the_function(emulator: EmulatorClient) -> None:
    @task.fullstory_events
    def scores() -> Iterator[dict[str, Any]]:
        yield from SCORES

    assert made(scores).preview().records == len(SCORES)
    assert emulator.requests() == []
