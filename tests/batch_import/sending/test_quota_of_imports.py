"""An import that does not fit into the quota is refused before it is sent, and only that."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_fullstory.api.jobs import Resource
from airflow_provider_fullstory.batch_import.sending import quota as quotas
from airflow_provider_fullstory.exceptions import FullStoryAuthenticationError, FullStoryQuotaError
from airflow_provider_fullstory.hooks.fullstory import FullStoryHook
from airflow_provider_fullstory.operators.fullstory import FullStoryImportEventsOperator
from tests.conftest import run
from tests.tries import (
    QUERY,
    Breaking,
    Crash,
    Task,
    make_warehouse,
    noting_job,
    noting_stage,
    numbers,
    orders,
    posts,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from airflow_provider_fullstory.emulator.client import EmulatorClient

QUOTAS = "/v2/organization/quotas"


def importing(**arguments: Any) -> FullStoryImportEventsOperator:
    given = {"task_id": "import", "poll_interval": 0.01, "batch_size": 10, **arguments}
    return FullStoryImportEventsOperator(**given)


def asked(emulator: EmulatorClient) -> int:
    """Return how often the quota was asked for."""
    return sum(request["path"] == QUOTAS for request in emulator.requests())


def use_up(emulator: EmulatorClient, count: int) -> None:
    """Import events some other way, so that they count as used."""
    if count:
        with FullStoryHook() as hook:
            body = {
                "requests": [{"name": "Before", "properties": {"number": -n}} for n in range(1, count + 1)]
            }
            hook.create_import(Resource.EVENTS, json.dumps(body).encode(), f"before-{count}")


def generator(tmp_path: Path, count: int) -> dict[str, Any]:
    return {"events": (order for order in orders(count))}


def listed(tmp_path: Path, count: int) -> dict[str, Any]:
    return {"events": orders(count)}


def in_a_file(tmp_path: Path, count: int) -> dict[str, Any]:
    file = tmp_path / "orders.jsonl"
    file.write_text("\n".join(map(json.dumps, orders(count))))
    return {"events": f"file://{file}"}


def of_a_query(tmp_path: Path, count: int) -> dict[str, Any]:
    make_warehouse(tmp_path / "warehouse.db", count)
    return dict(QUERY)


SOURCES = pytest.mark.parametrize("source", [listed, generator, in_a_file, of_a_query])
Source = "Callable[[Path, int], dict[str, Any]]"


@pytest.fixture(params=["streamed", "staged"])
def staging(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    return (
        {"state_uri": f"file://{tmp_path / 'state'}", "stage_batches": True}
        if request.param == "staged"
        else {}
    )


# What fits ------------------------------------------------------------------------------------------------


@SOURCES
@pytest.mark.parametrize(("used", "count", "limit"), [(0, 25, 25), (5, 25, 30), (0, 1, 1), (7, 10, 17)])
def test_an_import_that_just_fits_is_sent(
    emulator: EmulatorClient,
    *,
    database: Path,
    context: Any,
    tmp_path: Path,
    staging: dict[str, Any],
    source: Any,
    used: int,
    count: int,
    limit: int,
) -> None:
    emulator.configure(event_quota=limit)
    use_up(emulator, used)

    report = run(importing(**source(tmp_path, count), **staging), context)

    assert (report["imported"], report["rejected"]) == (count, 0)
    assert asked(emulator) == 1
    assert len(emulator.events()) == used + count


@SOURCES
@pytest.mark.parametrize(
    ("used", "count", "limit"), [(0, 26, 25), (5, 25, 29), (0, 1, 0), (7, 11, 17), (9, 1, 9)]
)
def test_an_import_with_one_more_is_refused_before_anything_is_sent(
    emulator: EmulatorClient,
    *,
    database: Path,
    context: Any,
    tmp_path: Path,
    staging: dict[str, Any],
    source: Any,
    used: int,
    count: int,
    limit: int,
) -> None:
    emulator.configure(event_quota=limit)
    use_up(emulator, used)
    before = len(posts(emulator))

    with pytest.raises(AirflowFailException) as caught:
        run(importing(**source(tmp_path, count), **staging), context)

    message = str(caught.value)
    end = FullStoryHook().get_quotas().server_event_quota.period_end  # type: ignore[union-attr]
    assert f"{used} of {limit} are used" in message
    assert f"{limit - used} more fit" in message
    assert f"in the period that ends {end}" in message
    assert isinstance(caught.value, FullStoryQuotaError)
    assert len(posts(emulator)) == before
    assert len(emulator.events()) == used


def test_a_staged_import_that_does_not_fit_names_its_true_size(
    emulator: EmulatorClient, context: Any, tmp_path: Path
) -> None:
    emulator.configure(event_quota=9)
    with pytest.raises(AirflowFailException, match="It has 55 events, and 9 more fit"):
        run(importing(events=orders(55), state_uri=f"file://{tmp_path}/state", stage_batches=True), context)


def test_records_that_are_refused_here_take_nothing_of_the_quota(
    emulator: EmulatorClient, context: Any
) -> None:
    emulator.configure(event_quota=20)
    events = [*orders(10), *[{"user.uid": "nameless"}] * 30, *orders(10, 10)]

    report = run(importing(events=events, max_rejected=30), context)

    assert (report["imported"], report["invalid"]) == (20, 30)


def test_fullstory_and_this_package_agree_on_what_fits(emulator: EmulatorClient, context: Any) -> None:
    # Without the check the emulator refuses record by record what is beyond the quota.
    emulator.configure(event_quota=12)
    with pytest.raises(AirflowFailException, match="3 records: quota_exceeded, says FullStory"):
        run(importing(events=orders(15), check_quota=False), context)


def test_the_refusal_is_final_and_leaves_no_trace(
    emulator: EmulatorClient, make_task: Callable[..., Task], tmp_path: Path
) -> None:
    emulator.configure(event_quota=24)
    file = tmp_path / "refused.jsonl"
    task = make_task("store", events=[*orders(25), {"user.uid": "nameless"}], rejected_uri=f"file://{file}")
    with pytest.raises(AirflowFailException):
        task.attempt()
    # It was asked for too much, which a person changes, and clears the task.
    emulator.configure(event_quota=25)
    task.clear()

    report = task.attempt(max_rejected=1)

    assert (report["imported"], report["invalid"]) == (25, 1)
    assert numbers(emulator) == list(range(25))


@pytest.mark.parametrize("kept", ["store", "folder", "both"])
def test_a_retry_of_what_was_refused_is_refused_again(
    emulator: EmulatorClient, make_task: Callable[..., Task], kept: str
) -> None:
    emulator.configure(event_quota=24)
    task = make_task(kept, events=orders(25))
    for _ in range(2):
        with pytest.raises(AirflowFailException, match="0 of 24 are used"):
            task.attempt()
    assert posts(emulator) == []


# Who is not asked -----------------------------------------------------------------------------------------


def test_check_quota_false_asks_nothing(emulator: EmulatorClient, context: Any) -> None:
    run(importing(events=orders(15), check_quota=False), context)
    assert asked(emulator) == 0


@pytest.mark.parametrize("events", [[], [{"user.uid": "nameless"}], [[], []]])
def test_an_import_without_events_asks_nothing(
    emulator: EmulatorClient, context: Any, events: Any, staging: dict[str, Any]
) -> None:
    emulator.configure(event_quota=0)
    report = run(importing(events=events, max_rejected=1, **staging), context)
    assert report["imported"] == 0
    assert [request["path"] for request in emulator.requests()] == ["/me"]


def test_users_do_not_count(emulator: EmulatorClient, context: Any) -> None:
    emulator.configure(event_quota=10)
    with FullStoryHook() as hook:
        body = {"requests": [{"uid": f"u{n}"} for n in range(50)]}
        job = hook.create_import(Resource.USERS, json.dumps(body).encode(), "users")
        assert hook.get_job_status(Resource.USERS, job.id).imports == 50
        found = hook.get_quotas().server_event_quota
    assert found is not None
    assert (found.usage, found.limit) == (0, 10)

    assert run(importing(events=orders(10)), context)["imported"] == 10


# Much is left ---------------------------------------------------------------------------------------------


@SOURCES
@pytest.mark.parametrize("most_held", [24, 23, 0])
def test_with_much_left_the_batches_that_fit_are_sent(
    emulator: EmulatorClient,
    *,
    database: Path,
    context: Any,
    tmp_path: Path,
    source: Any,
    most_held: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(quotas, "MOST_HELD", most_held)
    emulator.configure(event_quota=25)

    with pytest.raises(AirflowFailException) as caught:
        run(importing(**source(tmp_path, 40), max_parallel_uploads=1), context)

    message = str(caught.value)
    assert "0 of 25 are used" in message
    assert "FullStory has accepted 2 batches with 20 records" in message
    assert all(job["id"] in message for job in emulator.jobs())
    assert numbers(emulator) == list(range(20))


def test_at_most_held_all_are_held(
    emulator: EmulatorClient, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quotas, "MOST_HELD", 25)
    emulator.configure(event_quota=25)
    with pytest.raises(AirflowFailException):
        run(importing(events=orders(26)), context)
    assert posts(emulator) == []


@pytest.mark.parametrize("kept", ["store", "folder"])
def test_what_did_not_fit_does_not_fit_after_a_clear_either(
    emulator: EmulatorClient, make_task: Callable[..., Task], monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    monkeypatch.setattr(quotas, "MOST_HELD", 0)
    emulator.configure(event_quota=25)
    task = make_task(kept, events=orders(40), max_parallel_uploads=1)
    if kept == "folder":
        # A staged import is refused as a whole.
        with pytest.raises(AirflowFailException):
            task.attempt()
        assert posts(emulator) == []
        return
    with pytest.raises(AirflowFailException, match="accepted 2 batches with 20 records"):
        task.attempt()
    task.clear()

    with pytest.raises(AirflowFailException, match="monthly quota"):
        task.attempt()
    assert numbers(emulator) == list(range(20))


def test_a_try_that_died_before_it_met_the_limit_does_not_lift_it(
    emulator: EmulatorClient, make_task: Callable[..., Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quotas, "MOST_HELD", 0)
    emulator.configure(event_quota=25)
    task = make_task("store", events=orders(60), max_parallel_uploads=1)
    with pytest.raises(Crash):
        task.attempt(breaking=Breaking(matches=noting_job(1)))

    with pytest.raises(AirflowFailException, match="monthly quota"):
        task.attempt()
    assert len(emulator.events()) <= 25


# Answers that do not tell ---------------------------------------------------------------------------------


def answer(**quota: Any) -> dict[str, Any]:
    return {"status": 200, "body": {"server_event_quota": quota}}


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 503},
        {"status": 500},
        {"status": 404},
        {"status": 403},
        {"status": 400},
        {"status": 429},
        {"status": 429, "headers": {"Retry-After": "30"}},
        {"status": 302, "headers": {"Location": "http://127.0.0.1:9/"}},
        {"status": 204},
        {"reset": "before"},
        {"status": 200, "body": "nonsense"},
        {"status": 200, "body": []},
        {"status": 200, "body": None},
        {"status": 200, "body": {"server_event_quota": "much"}},
        {"status": 200, "body": {"server_event_quota": []}},
        answer(usage="many", limit="few"),
        answer(usage="0", limit="1e"),
        answer(usage="", limit=""),
    ],
    ids=str,
)
def test_an_answer_that_is_none_is_a_warning_and_no_more(
    emulator: EmulatorClient,
    *,
    context: Any,
    staging: dict[str, Any],
    fault: dict[str, Any],
    retry_for: Callable[[float], None],
    caplog: pytest.LogCaptureFixture,
    capfd: Any,
) -> None:
    retry_for(0.0)
    emulator.configure(event_quota=5)
    emulator.order_fault(method="GET", path=QUOTAS, times=1000, **fault)

    with pytest.raises(AirflowFailException, match="10 records: quota_exceeded, says FullStory"):
        run(importing(events=orders(15), timeout=20.0, **staging), context)

    output = capfd.readouterr()
    assert "not checked against the quota" in caplog.text + output.out + output.err
    assert asked(emulator) <= 2
    assert len(emulator.events()) == 5


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 200, "body": {}},
        {"status": 200, "body": {"server_event_quota": None}},
        {"status": 200, "body": {"session_quota": {"usage": "1", "limit": "1"}}},
        answer(),
        answer(usage="7"),
        answer(usage="7", limit=None),
        answer(usage="7", limit="-1"),
        answer(usage="7", limit=-1),
        answer(usage="9223372036854775808", limit="18446744073709551615"),
        answer(usage="0", limit="15"),
        answer(usage=0, limit=15),
        answer(limit="15"),
        answer(usage="-5", limit="15"),
    ],
    ids=str,
)
def test_a_quota_that_limits_nothing_holds_nothing_back(
    emulator: EmulatorClient, context: Any, staging: dict[str, Any], fault: dict[str, Any]
) -> None:
    emulator.order_fault(method="GET", path=QUOTAS, **fault)

    assert run(importing(events=orders(15), **staging), context)["imported"] == 15


@pytest.mark.parametrize(
    "fault",
    [
        answer(usage="1", limit="15"),
        answer(usage="16", limit="15"),
        answer(usage="5", limit="0"),
        answer(usage=1, limit=15, period_end=None),
    ],
    ids=str,
)
def test_a_quota_without_a_period_still_limits(
    emulator: EmulatorClient, context: Any, staging: dict[str, Any], fault: dict[str, Any]
) -> None:
    emulator.order_fault(method="GET", path=QUOTAS, **fault)

    with pytest.raises(AirflowFailException, match="ends at a time that FullStory does not say"):
        run(importing(events=orders(15), **staging), context)
    assert posts(emulator) == []


def test_a_key_that_is_unknown_fails_the_task(
    emulator: EmulatorClient, context: Any, staging: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_FULLSTORY_DEFAULT", emulator.connection_json("na1.wrong"))
    with pytest.raises(FullStoryAuthenticationError, match="HTTP 401"):
        run(importing(events=orders(15), **staging), context)
    assert posts(emulator) == []


def test_a_standard_key_may_ask(
    emulator: EmulatorClient, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_FULLSTORY_DEFAULT", emulator.connection_json(emulator.standard_key))
    emulator.configure(event_quota=14)
    with pytest.raises(AirflowFailException, match="monthly quota"):
        run(importing(events=orders(15)), context)


@pytest.mark.parametrize("status", [503, 429])
def test_an_advisory_question_does_not_hold_up_the_import(
    emulator: EmulatorClient, context: Any, status: int
) -> None:
    # By default a request that fails is repeated for five minutes, and for a day where the answer is 429.
    emulator.order_fault(method="GET", path=QUOTAS, status=status, headers={"Retry-After": "1"}, times=1000)
    report = run(importing(events=orders(15)), context)

    assert report["imported"] == 15
    assert asked(emulator) <= 2


# Retries --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", ["store", "folder", "both"])
@pytest.mark.parametrize("batch", [1, 2, 3])
def test_a_retry_is_not_refused_because_of_what_the_task_itself_has_sent(
    emulator: EmulatorClient, make_task: Callable[..., Task], kept: str, batch: int
) -> None:
    emulator.configure(event_quota=25)
    task = make_task(kept, events=orders(25), max_parallel_uploads=1)
    with pytest.raises(Crash):
        task.attempt(breaking=Breaking(matches=noting_job(batch)))
    assert 0 < len(emulator.events()) <= 25

    report = task.attempt()

    assert report["imported"] == 25
    assert numbers(emulator) == list(range(25))


def test_a_retry_without_a_ledger_is_not_refused_because_of_what_the_task_itself_has_sent(
    emulator: EmulatorClient, make_context: Callable[..., Any]
) -> None:
    # Airflow 2, or durable=False: the keys alone keep a retry from doubling anything, for 24 hours.
    emulator.configure(event_quota=25, processing_seconds=3600)
    run(importing(events=orders(25), wait_for_completion=False), make_context())
    assert len(emulator.events()) == 25
    emulator.advance_clock(3600)
    again = make_context()
    again["ti"].try_number = 2

    assert run(importing(events=orders(25)), again)["imported"] == 25
    assert numbers(emulator) == list(range(25))


@pytest.mark.parametrize("kept", ["store", "folder"])
def test_a_retry_after_all_was_sent_asks_nothing(
    emulator: EmulatorClient, make_task: Callable[..., Task], kept: str, database: Path
) -> None:
    make_warehouse(database, 25)
    emulator.configure(event_quota=25, processing_seconds=3600)
    task = make_task(kept, **QUERY)
    with pytest.raises(Crash):
        task.attempt(breaking=Breaking(matches=noting_stage("sent"), is_done=True))
    emulator.advance_clock(3600)

    assert task.attempt()["imported"] == 25
    assert asked(emulator) == 1


# Batches that were held -----------------------------------------------------------------------------------


def test_held_batches_arrive_with_their_bytes_and_keys(
    emulator: EmulatorClient, make_context: Callable[..., Any]
) -> None:
    events = [order | {"text": "é\u2028😀" * number, "none": None} for number, order in enumerate(orders(95))]
    run(importing(events=events), make_context())
    unheld = {request["idempotency_key"]: request["body_sha256"] for request in posts(emulator)}
    emulator.reset()
    emulator.configure(event_quota=95)

    run(importing(events=events), make_context())

    held = {request["idempotency_key"]: request["body_sha256"] for request in posts(emulator)}
    assert held == unheld
    assert len(held) == 10


def test_held_batches_find_their_refused_records(
    emulator: EmulatorClient, context: Any, tmp_path: Path
) -> None:
    emulator.configure(event_quota=95)
    emulator.order_rejection("properties.number", [7, 57])
    file = tmp_path / "refused.jsonl"

    report = run(importing(events=orders(95), rejected_uri=f"file://{file}", max_rejected=2), context)

    assert (report["imported"], report["rejected"]) == (93, 2)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(line["event"]["properties"]["number"], line["refusal"]["position"]) for line in lines] == [
        (7, 8),
        (57, 58),
    ]


def test_held_batches_have_the_keys_of_equal_batches(emulator: EmulatorClient, context: Any) -> None:
    emulator.configure(event_quota=60)
    report = run(importing(events=[{"name": "A", "user.uid": "u"}] * 60), context)
    assert (report["imported"], report["batches"]) == (60, 6)
    assert len({request["idempotency_key"] for request in posts(emulator)}) == 6
    assert len({request["body_sha256"] for request in posts(emulator)}) == 1


def test_a_source_that_fails_while_batches_are_held_sends_nothing(
    emulator: EmulatorClient, context: Any
) -> None:
    def source() -> Iterator[Any]:
        yield from orders(55)
        raise OSError("gone")

    emulator.configure(event_quota=95)
    with pytest.raises(OSError, match="gone"):
        run(importing(events=source()), context)
    assert posts(emulator) == []


def test_min_records_counts_before_the_quota_lets_anything_through(
    emulator: EmulatorClient, context: Any
) -> None:
    emulator.configure(event_quota=95)
    with pytest.raises(AirflowFailException, match="fewer than min_records=60"):
        run(importing(events=orders(55), min_records=60), context)
    assert posts(emulator) == []


def test_no_body_stays_on_the_disk(
    emulator: EmulatorClient, context: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tempfile

    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    emulator.configure(event_quota=94)
    with pytest.raises(AirflowFailException):
        run(importing(events=orders(95)), context)
    emulator.configure(event_quota=95)
    run(importing(events=orders(95), idempotency_salt="again"), context)
    assert list(folder.iterdir()) == []
