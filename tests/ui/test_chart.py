"""The chart: refused records are seen, and a bar stays in the chart."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_provider_fullstory.ui.chart import HEIGHT, OUTCOMES, WIDTH, bars
from airflow_provider_fullstory.ui.history import PAGE_SIZE, Report, TaskImport


def task_import(**counts: Any) -> TaskImport:
    report = Report(resource="events", job_ids=[], records=None, **counts) if counts else None
    due = datetime(2026, 1, 1, tzinfo=UTC)
    return TaskImport("dag", "run", "task", -1, due, "success", 1, None, report, has_other_result=False)


def test_the_newest_import_is_on_the_right_and_all_of_a_page_fit() -> None:
    lefts = [bar.left for bar in bars([task_import(imported=1)] * PAGE_SIZE)]
    assert lefts == sorted(lefts, reverse=True)
    assert lefts[-1] >= 0
    assert lefts[0] < WIDTH


def test_heights_are_in_proportion_to_counts() -> None:
    high, low = bars([task_import(imported=100), task_import(imported=20, skipped=30)])
    assert [piece.height for piece in high.pieces] == [HEIGHT]
    assert [piece.height for piece in low.pieces] == pytest.approx([HEIGHT * 0.2, HEIGHT * 0.3])


@pytest.mark.parametrize("imported", [0, 1, 10**9])
def test_a_single_refused_record_is_seen_whatever_else_there_is(imported: int) -> None:
    [bar] = bars([task_import(imported=imported, invalid=1, rejected=1)])
    assert {piece.outcome for piece in bar.pieces} >= {"invalid", "rejected"}
    assert all(piece.height >= 4 for piece in bar.pieces)
    assert min(piece.top for piece in bar.pieces) >= 0


def test_pieces_are_stacked_without_gaps_in_the_order_of_outcomes() -> None:
    [bar] = bars([task_import(imported=10**9, skipped=1, invalid=5, rejected=2)])
    assert [piece.outcome for piece in bar.pieces] == list(OUTCOMES)
    bottoms = [piece.top + piece.height for piece in bar.pieces]
    assert bottoms == pytest.approx([HEIGHT, *(piece.top for piece in bar.pieces[:-1])])


def test_an_import_without_records_or_report_has_a_place_but_no_height() -> None:
    assert [bar.pieces for bar in bars([task_import(), task_import(imported=0)])] == [[], []]
