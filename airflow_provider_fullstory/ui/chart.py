"""The chart of the page: a bar for each import, of its records by outcome."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_fullstory.ui.history import Report, TaskImport

#: The outcomes of records, from the bottom of a bar to its top.
OUTCOMES: Final = ("imported", "skipped", "invalid", "rejected")
WIDTH: Final = 1000
HEIGHT: Final = 160
_MOST_BARS: Final = 25
_STEP: Final = WIDTH / _MOST_BARS
#: However few they are among millions: refused records are seen.
_LEAST_HEIGHT: Final = 4.0


@dataclass(frozen=True, slots=True)
class Piece:
    """The records of one outcome in a bar, measured from the top of the chart."""

    outcome: str
    top: float
    height: float


@dataclass(frozen=True, slots=True)
class Bar:
    """
    One import.

    :param left: Its distance from the left edge.
    :param pieces: Empty if the import left no report.
    """

    task_import: TaskImport
    left: float
    width: float
    pieces: list[Piece]


def bars(imports: Sequence[TaskImport]) -> list[Bar]:
    """
    Return the bars of a chart whose highest one fills it.

    :param imports: The newest first; the chart shows it at its right end.
    """
    most = max((_total(shown.report) for shown in imports if shown.report), default=0)
    return [
        Bar(
            shown,
            left=WIDTH - (place + 0.85) * _STEP,
            width=_STEP * 0.7,
            pieces=_pieces(shown.report, most) if shown.report else [],
        )
        for place, shown in enumerate(imports)
    ]


def _pieces(report: Report, most: int) -> list[Piece]:
    counts = {outcome: count for outcome in OUTCOMES if (count := getattr(report, outcome))}
    if not counts:
        return []
    heights = {outcome: max(count / most * HEIGHT, _LEAST_HEIGHT) for outcome, count in counts.items()}
    # What the least heights add is taken from the highest piece, so that the bar fits into the chart.
    highest = max(heights, key=lambda outcome: heights[outcome])
    heights[highest] -= max(sum(heights.values()) - HEIGHT, 0)
    tops = accumulate(heights.values(), operator.sub, initial=float(HEIGHT))
    return [Piece(outcome, top, heights[outcome]) for outcome, top in zip(heights, [*tops][1:], strict=True)]


def _total(report: Report) -> int:
    return sum(getattr(report, outcome) or 0 for outcome in OUTCOMES)
