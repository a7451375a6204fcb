"""The page as people see it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_provider_fullstory.ui.history import Report, Scope, TaskImport
from airflow_provider_fullstory.ui.page import render_page

SCRIPT = "<script>alert(1)</script>"


def task_import(report: dict[str, Any] | None = None, **fields: Any) -> TaskImport:
    known = {"resource": "events", "job_ids": ["job-1"], "records": 1234} | (report or {})
    return TaskImport(
        **{
            "dag_id": "orders",
            "run_id": "scheduled__2026-01-01T00:00:00+00:00",
            "task_id": "import_orders",
            "map_index": -1,
            "run_after": datetime(2026, 1, 1, tzinfo=UTC),
            "state": "success",
            "try_number": 1,
            "seconds": 1.0,
            "report": None if report is None else Report(**known),
            "has_other_result": False,
        }
        | fields
    )


def page_of(*imports: TaskImport, scope: Scope | None = None, **options: Any) -> str:
    return render_page(
        imports, scope or Scope(), **{"root": "/airflow/fullstory", "page": 1, "has_older": False} | options
    )


def test_a_green_task_with_refusals_stands_out_with_its_reasons_and_their_file() -> None:
    page = page_of(
        task_import({"imported": 1200, "invalid": 34, "rejected": 0, "reasons": {"name is missing": 34}}),
        task_import({"imported": 1234, "rejected": 0}),
    )
    assert "1 green task let refused records pass" in page
    assert page.count('class="passes"') == 1
    assert "Green, with 34 refused records" in page
    assert "<b>34</b> name is missing" in page
    assert '<circle class="mark"' in page


def test_nothing_stands_out_where_nothing_was_refused() -> None:
    page = page_of(task_import({"imported": 1234, "rejected": 0}))
    assert "1,234" in page
    for mark in ("let refused records pass", 'class="passes"', "Green, with", 'class="mark"'):
        assert mark not in page


def test_a_failed_task_without_a_report_says_so() -> None:
    page = page_of(task_import(state="failed"))
    assert "No report." in page
    assert '<tbody class="failed">' in page
    assert '<rect class="none"' in page


def test_a_report_that_cannot_be_read_is_explained() -> None:
    assert "custom XCom backend" in page_of(task_import(has_other_result=True))


def test_counts_that_are_not_known_yet_are_no_zeros() -> None:
    assert page_of(task_import({"imported": None})).count('<td class="number">?</td>') == 2


def test_a_place_without_imports_says_so() -> None:
    assert "has imported into FullStory yet" in page_of()
    assert "on this page or after it" in page_of(page=9)


@pytest.mark.parametrize("field", ["dag_id", "run_id", "task_id", "state"])
def test_nothing_of_a_task_becomes_a_part_of_the_page(field: str) -> None:
    shown = task_import({}, **{field: SCRIPT})
    assert SCRIPT not in page_of(shown, scope=Scope(shown.dag_id, shown.run_id, shown.task_id))


@pytest.mark.parametrize(
    "report",
    [
        {"invalid": 1, "reasons": {SCRIPT: 1}},
        {"invalid": 1, "rejected_uri": SCRIPT},
        {"dropped_properties": {SCRIPT: 1}},
        {"job_ids": [SCRIPT]},
        {"watermark": SCRIPT},
    ],
    ids=lambda report: list(report)[-1],
)
def test_nothing_of_a_report_becomes_a_part_of_the_page(report: dict[str, Any]) -> None:
    page = page_of(task_import(report))
    assert SCRIPT not in page
    assert "&lt;script&gt;" in page


def test_syncs_show_their_watermark() -> None:
    page = page_of(task_import({"watermark": "2026-01-01T10:00:00"}), task_import({}), task_import())
    assert "<th>Watermark</th>" in page
    assert '<td class="watermark">2026-01-01T10:00:00</td>' in page
    assert page.count('<td class="watermark"></td>') == 2


def test_the_column_of_watermarks_is_left_out_where_nothing_has_one() -> None:
    assert "Watermark" not in page_of(task_import({}), task_import())


def test_an_import_of_many_jobs_names_the_first() -> None:
    page = page_of(task_import({"job_ids": [f"job-{number}" for number in range(10_000)]}))
    assert "10,000 jobs" in page
    assert page.count("<code>job-") == 100
    assert "and 9,900 more" in page


def test_a_page_whose_imports_may_not_be_seen_leads_to_older_ones() -> None:
    page = page_of(has_older=True)
    assert "has imported into FullStory" not in page
    assert 'href="?page=2"' in page


def test_links_stay_below_the_path_of_airflow() -> None:
    page = page_of(task_import({}), scope=Scope("orders"), page=2, has_older=True)
    assert 'href="/airflow/fullstory/dags/orders/runs/scheduled__2026-01-01T00%3A00%3A00%2B00%3A00"' in page
    assert 'href="?page=1"' in page
    assert 'href="?page=3"' in page


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.34, "0.3 s"), (59.9, "59.9 s"), (61.5, "1 min 2 s"), (7260.0, "2 h 1 min"), (None, "")],
)
def test_durations_are_short(seconds: float | None, text: str) -> None:
    assert f'<td class="number">{text}</td>' in page_of(task_import(seconds=seconds))


def test_instances_of_mapped_tasks_and_later_tries_are_told_apart() -> None:
    page = page_of(task_import(map_index=3, try_number=2))
    assert "[3]" in page
    assert "try 2" in page
    first = page_of(task_import())
    assert "[-1]" not in first
    assert "try 1" not in first
