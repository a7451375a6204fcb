"""Each example DAG on a real Airflow, and what really arrived."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from demo.comparison import compare, expected_event
from demo.purchases import COUNT, read_purchases
from tests.accounting import check_accounted
from tests.real_airflow.orders import ORDERS, order_event
from tests.real_airflow.runs import Run, assert_keeps_secrets

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from demo.services import Services

pytestmark = pytest.mark.all_airflows


def assert_equal(expected: list[dict[str, Any]], imported: list[dict[str, Any]]) -> None:
    comparison = compare(expected, imported)
    assert comparison.missing.most_common(2) == comparison.surplus.most_common(2) == []


def finished_report(records: int, job_ids: list[str], events: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the report of an import of all these events."""
    moments = [datetime.fromisoformat(event["timestamp"]) for event in events if "timestamp" in event]
    return {
        "resource": "events",
        "job_ids": job_ids,
        "records": records,
        "imported": records,
        "invalid": 0,
        "rejected": 0,
        "skipped": 0,
        "rejected_uri": None,
        "batches": len(job_ids),
        "codes": {},
        "reasons": {},
        "earliest": min(moments).isoformat() if moments else None,
        "latest": max(moments).isoformat() if moments else None,
        "without_timestamp": records - len(moments),
        "dropped_properties": {},
        "watermark": None,
    }


def job_ids(services: Services) -> list[str]:
    return [job["id"] for job in services.emulator.jobs()]


@pytest.mark.matrix
def test_import_table(services: Services, purchase_log: Path) -> None:
    run = Run.trigger(services, "example_fullstory_import_table")
    run.wait_for_success()
    assert_equal([expected_event(purchase) for purchase in read_purchases(purchase_log)], run.events())
    report = run.result("import_purchases")
    assert sorted(report["job_ids"]) == sorted(job_ids(services))
    assert report == finished_report(COUNT, report["job_ids"], run.events())
    assert report["batches"] == 7
    assert "Pausing task as DEFERRED" in run.logs("import_purchases")
    first = next(read_purchases(purchase_log))
    assert_keeps_secrets(
        run.visible_text("import_purchases"),
        services.emulator,
        f'"{first.customer_id}"',
        f"'{first.customer_id}'",
    )


@pytest.mark.matrix
def test_events_from_python(services: Services) -> None:
    run = Run.trigger(services, "example_fullstory_events_from_python")
    run.wait_for_success()
    scores = [("0.12", False), ("0.81", True), ("0.47", False)]
    assert_equal(
        [
            {
                "name": "Churn Scored",
                "timestamp": "2026-01-15T06:00:00Z",
                "user": {"uid": f"customer-{number}"},
                "properties": {"score": Decimal(score), "model": "2026-01", "at_risk": at_risk},
            }
            for number, (score, at_risk) in enumerate(scores, start=1)
        ],
        run.events(),
    )
    assert run.result("import_scores") == finished_report(3, job_ids(services), run.events())
    assert_keeps_secrets(run.visible_text("import_scores"), services.emulator, "customer-1")


def test_staged_sync(services: Services) -> None:
    run = Run.trigger(services, "example_fullstory_staged_sync")
    run.wait_for_success()
    customers = {order.customer_id for order in ORDERS}
    events = run.events()
    assert {event["user"]["uid"] for event in events} == customers
    assert len(events) == len(customers)
    assert sum(event["properties"]["balance"] for event in events) == sum(order.total for order in ORDERS)
    assert run.result("import_balances") == finished_report(len(customers), job_ids(services), events)
    state = services.directory / "state"
    assert f"file://{state}" in run.logs("import_balances")
    assert list(state.rglob("*"))
    assert not list(state.rglob("*.gz"))
    assert_keeps_secrets(run.visible_text("import_balances"), services.emulator, "secret-customer")


def test_refused_records(services: Services) -> None:
    services.emulator.order_rejection("properties.order_id", values=[0, 7, 539], code="user_not_found")
    run = Run.trigger(services, "example_fullstory_refused_records")
    run.wait_for_success()
    report = run.result("import_orders")
    check_accounted(report)
    assert (report["records"], report["rejected"]) == (len(ORDERS), 3)
    assert report["codes"] == {"user_not_found": 3}
    lines = Path(report["rejected_uri"].removeprefix("file://")).read_text().splitlines()
    refusals = [json.loads(line)["refusal"] for line in lines]
    assert [refusal["key"] for refusal in refusals] == [{"order_id": 0}, {"order_id": 7}, {"order_id": 539}]
    assert [refusal["position"] for refusal in refusals] == [1, 8, 540]
    log = run.logs("import_orders")
    assert "Pausing task as DEFERRED" in log
    assert f"refused records are in {report['rejected_uri']}" in log
    assert_keeps_secrets(run.visible_text("import_orders"), services.emulator, "secret-customer")

    services.emulator.forget_rejections()
    again = Run.trigger(
        services, "example_fullstory_send_again", conf={"rejected_uri": report["rejected_uri"]}
    )
    again.wait_for_success()
    assert again.result("import_fixed")["imported"] == 3
    assert_equal([order_event(order, "order_id", "status", "total") for order in ORDERS], run.events())


@pytest.mark.matrix
def test_submit_and_wait(services: Services) -> None:
    run = Run.trigger(services, "example_fullstory_submit_and_wait")
    run.wait_for_success()
    assert_equal(
        [
            {
                "name": "Plan Changed",
                "user": {"uid": f"customer-{number}"},
                "properties": {"plan": plan},
            }
            for number, plan in ((1, "team"), (2, "free"))
        ],
        run.events(),
    )
    submitted = run.result("submit")
    assert submitted["job_ids"] == job_ids(services)
    assert (submitted["records"], submitted["imported"]) == (2, None)
    assert run.result("wait") == finished_report(2, job_ids(services), run.events())
    assert "2 of 2 events are in FullStory" in run.logs("announce")
    for task_id in ("submit", "wait"):
        assert_keeps_secrets(run.visible_text(task_id), services.emulator, "customer-1")


@pytest.mark.matrix
def test_mapped_queries(services: Services, purchase_log: Path) -> None:
    run = Run.trigger(services, "example_fullstory_mapped_queries")
    run.wait_for_success()
    purchases = [*read_purchases(purchase_log)][:100]
    assert_equal(
        [order_event(order, "order_id", "total") for order in ORDERS]
        + [expected_event(purchase) for purchase in purchases],
        run.events(),
    )
    reports = [run.result("import_events", map_index) for map_index in (0, 1)]
    assert [report["imported"] for report in reports] == [len(ORDERS), len(purchases)]
    assert run.result("total") == len(ORDERS) + len(purchases)
    names = [task.rendered_map_index for task in run.tasks() if task.task_id == "import_events"]
    assert sorted(map(str, names)) == ["Order Completed", "Order Updated"]
    assert_keeps_secrets(run.visible_text("import_events"), services.emulator, "secret-customer")


def test_annotate_deploy(services: Services) -> None:
    run = Run.trigger(services, "example_fullstory_annotate_deploy", conf={"version": "2026.7"})
    run.wait_for_success()
    [annotation] = services.emulator.annotations()
    assert (annotation["text"], annotation["source"]) == ("Version 2026.7 is out", "CI")
    deployed_at = datetime.fromisoformat(run.result("deploy"))
    assert datetime.fromisoformat(annotation["start_time"]) == deployed_at
    assert run.result("annotate_deploy") == annotation | {"is_new": True}
    state = services.directory / "state"
    assert f"State: a note in file://{state}" in run.logs("annotate_deploy")

    services.airflow.api.clear(run.dag_id, run.run_id, "annotate_deploy")
    run.wait("the second try to succeed", lambda: try_number(run, "annotate_deploy") == 2)
    run.wait_for_success()
    assert services.emulator.annotations() == [annotation]
    assert run.result("annotate_deploy") == annotation | {"is_new": False}
    assert "FullStory has this annotation since" in run.logs("annotate_deploy")
    assert_keeps_secrets(run.visible_text("annotate_deploy"), services.emulator)


def try_number(run: Run, task_id: str) -> int:
    """Return the number of a task's try."""
    [number] = [task.try_number for task in run.tasks() if task.task_id == task_id]
    return number


@pytest.mark.parametrize(("prices", "state"), [(250, "success"), (0, "failed")], ids=["success", "failure"])
def test_notify(services: Services, prices: int, state: str) -> None:
    run = Run.trigger(services, "example_fullstory_notify", conf={"prices": prices})
    run.wait("the mark", lambda: bool(services.emulator.annotations()))
    text = {
        "success": "New prices (example_fullstory_notify)",
        "failed": f"Old prices: example_fullstory_notify failed, {run.run_id}",
    }[state]
    [annotation] = services.emulator.annotations()
    assert (annotation["text"], annotation["source"]) == (text, "Airflow")
    assert services.airflow.api.run_state(run.dag_id, run.run_id) == state
