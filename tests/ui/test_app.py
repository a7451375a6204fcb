"""Who may see the page, and what it answers."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from airflow_provider_fullstory.ui.history import PAGE_SIZE
from tests.ui.auth_manager import DAG_WITHOUT_XCOMS, FORBIDDEN_DAG
from tests.ui.database import report

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from tests.ui.database import Database

PATHS = (
    "/fullstory/dags/{dag}",
    "/fullstory/dags/{dag}/runs/r",
    "/fullstory/dags/{dag}/tasks/t",
    "/fullstory/dags/{dag}/runs/r/tasks/t/-1",
)


@pytest.mark.parametrize("path", ["/fullstory/", *PATHS])
def test_nobody_without_a_login_sees_anything(database: Database, stranger: httpx.Client, path: str) -> None:
    database.add_dag("orders")
    answer = stranger.get(path.format(dag="orders"))
    assert answer.status_code == 401
    assert "orders" not in answer.text


@pytest.mark.parametrize("path", ["/fullstory/", *PATHS])
def test_a_forged_login_opens_nothing(stranger: httpx.Client, path: str) -> None:
    stranger.cookies.set("_token", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEiLCJyb2xlIjoiQURNSU4ifQ.")
    # Airflow 3.1 answers 403 to a token that it did not sign.
    assert stranger.get(path.format(dag="orders")).status_code in {401, 403}


@pytest.mark.parametrize("dag_id", [FORBIDDEN_DAG, DAG_WITHOUT_XCOMS])
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("user", ["ada", "vera"])
def test_who_may_not_read_a_dag_or_its_xcoms_does_not_see_its_imports(
    database: Database, browser_of: Callable[[str], httpx.Client], user: str, path: str, dag_id: str
) -> None:
    database.add_dag(dag_id)
    database.add_import(dag_id, 1, return_value=report())
    answer = browser_of(user).get(path.format(dag=dag_id))
    assert answer.status_code == 403
    assert "import_orders" not in answer.text


def test_a_query_string_does_not_stand_for_the_dag_of_the_path(
    database: Database, browser: httpx.Client
) -> None:
    database.add_dag("orders")
    answer = browser.get(f"/fullstory/dags/{FORBIDDEN_DAG}", params={"dag_id": "orders"})
    assert answer.status_code == 403


@pytest.mark.parametrize("parameters", [{}, {"dag_id": "orders"}])
def test_the_page_of_all_dags_shows_those_that_the_user_may_read(
    database: Database, browser: httpx.Client, parameters: dict[str, str]
) -> None:
    for dag_id in ("orders", FORBIDDEN_DAG, DAG_WITHOUT_XCOMS):
        database.add_dag(dag_id)
        database.add_import(dag_id, 1, return_value=report())
    page = browser.get("/fullstory/", params=parameters).raise_for_status().text
    assert "dags/orders" in page
    assert FORBIDDEN_DAG not in page
    assert DAG_WITHOUT_XCOMS not in page


def test_imports_that_the_user_may_not_see_do_not_hide_older_ones(
    database: Database, browser: httpx.Client
) -> None:
    for dag_id in ("orders", DAG_WITHOUT_XCOMS):
        database.add_dag(dag_id)
    database.add_import("orders", 1, return_value=report())
    for number in range(2, PAGE_SIZE + 2):
        database.add_import(DAG_WITHOUT_XCOMS, number, return_value=report())
    page = browser.get("/fullstory/").raise_for_status().text
    assert DAG_WITHOUT_XCOMS not in page
    assert "has imported into FullStory yet" not in page
    assert 'href="?page=2"' in page
    assert "dags/orders" in browser.get("/fullstory/", params={"page": 2}).raise_for_status().text


@pytest.mark.parametrize("map_index", ["-1", "{MAP_INDEX}", "%7BMAP_INDEX%7D", "9" * 30])
def test_a_task_instance_is_found_as_airflows_ui_names_it(
    database: Database, browser: httpx.Client, map_index: str
) -> None:
    database.add_dag("orders")
    run_id = database.add_import("orders", 1, return_value=report(imported=1234))
    # Airflow 3.1 puts the id of the run into the path as it is, later ones quote it.
    for shown in (run_id, quote(run_id, safe="")):
        answer = browser.get(f"/fullstory/dags/orders/runs/{shown}/tasks/import_orders/{map_index}")
        assert "1,234" in answer.raise_for_status().text


def test_a_sign_that_is_no_character_does_not_hide_the_page(
    database: Database, browser: httpx.Client
) -> None:
    database.add_dag("orders")
    database.add_import("orders", 1, return_value=report(imported=1234, job_ids=["job-\ud800"]))
    assert "1,234" in browser.get("/fullstory/dags/orders").raise_for_status().text


def test_the_page_runs_nothing_and_is_framed_by_airflow_only(
    database: Database, browser: httpx.Client
) -> None:
    answer = browser.get("/fullstory/")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'self'" in policy
    assert answer.headers["Cache-Control"] == "no-store"
    assert "<script" not in answer.text


@pytest.mark.parametrize("page", ["0", "-1", "x", "1001"])
def test_a_page_that_cannot_be_is_refused(browser: httpx.Client, page: str) -> None:
    assert browser.get("/fullstory/", params={"page": page}).status_code == 422


@pytest.mark.parametrize("path", ["docs", "openapi.json", "redoc"])
def test_there_is_nothing_else(browser: httpx.Client, path: str) -> None:
    assert browser.get(f"/fullstory/{path}").status_code == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["/fullstory/", *PATHS])
def test_it_can_only_be_read(browser: httpx.Client, method: str, path: str) -> None:
    assert browser.request(method, path.format(dag="orders")).status_code == 405
