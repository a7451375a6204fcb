"""Where the link of a task leads."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from airflow_provider_fullstory.operators.fullstory import (
    FullStoryImportEventsOperator,
    FullStoryImportUsersOperator,
)
from airflow_provider_fullstory.sensors.fullstory import FullStoryImportJobSensor
from airflow_provider_fullstory.ui.link import HAS_PAGE, FullStoryImportHistoryLink
from airflow_provider_fullstory.ui.plugin import FullStoryPlugin

OPERATORS = (FullStoryImportEventsOperator, FullStoryImportUsersOperator, FullStoryImportJobSensor)


@pytest.mark.parametrize("operator", OPERATORS)
def test_what_imports_has_the_link_where_airflow_has_the_page(operator: type) -> None:
    links = [type(link) for link in operator.operator_extra_links]  # type: ignore[attr-defined]
    assert links == ([FullStoryImportHistoryLink] if HAS_PAGE else [])


@pytest.mark.parametrize(
    ("base_url", "prefix"),
    [(None, ""), ("https://airflow.example/company/", "https://airflow.example/company")],
)
@pytest.mark.parametrize(("map_index", "instance"), [(-1, ""), (None, ""), (3, "/mapped/3")])
def test_it_leads_to_the_task_instance(
    monkeypatch: pytest.MonkeyPatch,
    base_url: str | None,
    prefix: str,
    map_index: int | None,
    instance: str,
) -> None:
    if base_url:
        monkeypatch.setenv("AIRFLOW__API__BASE_URL", base_url)
    task = FullStoryImportEventsOperator(task_id="import_orders", events=[])
    key = SimpleNamespace(
        dag_id="orders",
        run_id="manual__2026-01-01T00:00:00+00:00",
        task_id="import_orders",
        map_index=map_index,
    )
    assert FullStoryImportHistoryLink().get_link(task, ti_key=key) == (
        f"{prefix}/dags/orders/runs/manual__2026-01-01T00%3A00%3A00%2B00%3A00/tasks/import_orders{instance}"
        "/plugin/fullstory-imports-of-task-instance"
    )


def test_the_route_is_that_of_the_plugin() -> None:
    [view] = [view for view in FullStoryPlugin.external_views if view["destination"] == "task_instance"]
    link = FullStoryImportHistoryLink().get_link(
        FullStoryImportEventsOperator(task_id="import_orders", events=[]),
        ti_key=SimpleNamespace(dag_id="d", run_id="r", task_id="t", map_index=-1),
    )
    assert link.endswith(f"/plugin/{view['url_route']}")
