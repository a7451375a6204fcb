"""What is read of Airflow's database."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_fullstory.decorators.fullstory import (
    _FullStoryEventsDecoratedOperator,
    _FullStoryUsersDecoratedOperator,
)
from airflow_provider_fullstory.ui.history import PAGE_SIZE, Scope, TaskImport, read_imports
from airflow_provider_fullstory.ui.link import FullStoryImportHistoryLink
from tests.ui.database import report

if TYPE_CHECKING:
    from tests.ui.database import Database


@pytest.fixture(autouse=True)
def dags(database: Database) -> None:
    for dag_id in ("orders", "users"):
        database.add_dag(dag_id)


def read(database: Database, page: int = 1, **scope: Any) -> list[TaskImport]:
    return read_imports(database.session, Scope(**scope), {"orders", "users"}, page)[0]


def test_a_task_is_shown_with_its_report(database: Database) -> None:
    told = report(imported=7, invalid=2, rejected=1, rejected_uri="s3://bucket/file", reasons={"why": 3})
    database.add_import("orders", 1, try_number=2, return_value=told)
    [shown] = read(database)
    assert (shown.dag_id, shown.task_id, shown.state) == ("orders", "import_orders", "success")
    assert (shown.try_number, shown.seconds) == (2, 61.5)
    assert shown.report is not None
    assert (shown.report.imported, shown.report.refused, shown.report.quota) == (7, 3, 7)
    assert (shown.report.rejected_uri, shown.report.reasons) == ("s3://bucket/file", {"why": 3})
    assert shown.passes_refusals


def test_users_take_no_quota(database: Database) -> None:
    database.add_import("users", 1, return_value=report(resource="users"))
    [shown] = read(database)
    assert shown.report is not None
    assert shown.report.quota == 0


def test_what_fullstory_has_not_finished_is_not_counted(database: Database) -> None:
    database.add_import("orders", 1, return_value=report(imported=None, rejected=None, records=None))
    [shown] = read(database)
    assert shown.report is not None
    assert (shown.report.imported, shown.report.quota, shown.report.refused) == (None, None, 0)
    assert not shown.passes_refusals


def test_a_report_that_was_written_as_text_is_read(database: Database) -> None:
    database.add_import("orders", 1, return_value=json.dumps(report(imported=3)))
    [shown] = read(database)
    assert shown.report is not None
    assert shown.report.imported == 3


def test_what_an_earlier_try_left_is_not_shown(database: Database) -> None:
    from airflow.models.taskinstance import TaskInstance

    if "working_set" not in TaskInstance.__table__.c:
        pytest.skip("Before Airflow 3.4 a try removes what the one before has left.")
    link = {FullStoryImportHistoryLink().xcom_key: "/dags/orders"}
    run_id = database.add_run("orders", 1)
    for try_number in (1, 2):
        xcoms = link | {"return_value": report(imported=try_number)} if try_number == 1 else link
        database.add_task(
            "orders",
            run_id,
            operator="OurOperator",
            try_number=try_number,
            is_last_try=try_number == 2,
            **xcoms,
        )
    [shown] = read(database)
    assert (shown.try_number, shown.report) == (2, None)


@pytest.mark.parametrize("state", ["failed", "running", None])
def test_a_task_without_a_report_shows_its_state(database: Database, state: str | None) -> None:
    database.add_import("orders", 1, state=state)
    [shown] = read(database)
    assert (shown.state, shown.report, shown.has_other_result) == (state, None, False)


@pytest.mark.parametrize(
    "value",
    [
        *("s3://xcom/orders", {"path": "x"}, [1], 5, {"resource": "events"}),
        # Text of a class that Airflow would make an object of, or refuse to.
        '{"__classname__": "subprocess.Popen", "__version__": 1, "__data__": {}}',
        "[" * 100_000,
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_a_custom_backend_keeps_elsewhere_is_said_to_be_there(database: Database, value: Any) -> None:
    database.add_import("orders", 1, return_value=value)
    [shown] = read(database)
    assert (shown.report, shown.has_other_result) == (None, True)


def test_a_failed_task_with_refusals_is_not_taken_for_a_green_one(database: Database) -> None:
    database.add_import("orders", 1, state="failed", return_value=report(invalid=1))
    assert not read(database)[0].passes_refusals


def test_tasks_that_do_not_import_are_left_out(database: Database) -> None:
    database.add_import("orders", 1, operator="PythonOperator", return_value=report())
    assert read(database) == []


def test_a_class_made_of_an_operator_is_known_by_its_link(database: Database) -> None:
    xcoms = {FullStoryImportHistoryLink().xcom_key: "/dags/orders"}
    database.add_import("orders", 1, operator="OurOperator", return_value=report(imported=4), **xcoms)
    [shown] = read(database)
    assert shown.report is not None
    assert shown.report.imported == 4


@pytest.mark.parametrize(
    "operator",
    [
        *("FullStoryImportUsersOperator", "FullStoryImportJobSensor"),
        *(_FullStoryEventsDecoratedOperator.__name__, _FullStoryUsersDecoratedOperator.__name__),
    ],
)
def test_all_operators_that_import_and_the_sensor_are_known(database: Database, operator: str) -> None:
    database.add_import("users", 1, operator=operator)
    assert len(read(database)) == 1


def test_a_scope_leaves_out_the_others(database: Database) -> None:
    run_id = database.add_import("orders", 1)
    database.add_task("orders", run_id, "mapped", map_index=0)
    database.add_task("orders", run_id, "mapped", map_index=1)
    database.add_import("orders", 2)
    database.add_import("users", 1)

    def count(**scope: Any) -> int:
        return len(read(database, **scope))

    assert count() == 5
    assert count(dag_id="orders") == 4
    assert count(dag_id="orders", run_id=run_id) == 3
    assert count(dag_id="orders", task_id="import_orders") == 2
    assert count(dag_id="orders", run_id=run_id, task_id="mapped") == 2
    assert count(dag_id="orders", run_id=run_id, task_id="mapped", map_index=1) == 1
    assert count(dag_id="orders", run_id=run_id, task_id="import_orders", map_index=-1) == 1


def test_dags_that_the_user_may_not_read_are_left_out_whatever_the_scope(database: Database) -> None:
    database.add_import("orders", 1)
    for scope in (Scope(), Scope(dag_id="orders")):
        assert read_imports(database.session, scope, {"users"}, 1) == ([], False)
        assert read_imports(database.session, scope, set(), 1) == ([], False)


def test_pages_go_from_the_newest_run_to_the_oldest(database: Database) -> None:
    run_ids = [database.add_import("orders", number) for number in range(2 * PAGE_SIZE)]
    pages = [read_imports(database.session, Scope(), {"orders"}, page) for page in (1, 2, 3)]
    assert [shown.run_id for page, _ in pages for shown in page] == run_ids[::-1]
    assert [has_older for _, has_older in pages] == [True, False, False]


def test_the_last_page_leads_to_no_other(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_fullstory.ui.history.LAST_PAGE", 1)
    for number in range(PAGE_SIZE + 1):
        database.add_import("orders", number)
    assert read_imports(database.session, Scope(), {"orders"}, 1)[1] is False
