"""The page as HTML, which needs no script."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from airflow_provider_fullstory.text import plural
from airflow_provider_fullstory.ui.chart import HEIGHT, OUTCOMES, WIDTH, bars

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from jinja2 import Template

    from airflow_provider_fullstory.ui.history import Scope, TaskImport

#: How many jobs of an import are named: a page has 25 imports, of thousands of jobs each.
_MOST_JOBS: Final = 100


def render_page(imports: Sequence[TaskImport], scope: Scope, *, root: str, page: int, has_older: bool) -> str:
    """
    Return the page.

    :param imports: The imports that it shows, the newest first.
    :param scope: Whose imports these are.
    :param root: The path that leads to the start of the history.
    :param page: The number of the page.
    :param has_older: Whether there is another page after it.
    """
    return _template().render(
        imports=imports,
        scope=scope,
        root=root,
        page=page,
        has_older=has_older,
        bars=bars(imports),
        outcomes=OUTCOMES,
        width=WIDTH,
        height=HEIGHT,
        most_jobs=_MOST_JOBS,
        has_watermarks=any(shown.report and shown.report.watermark for shown in imports),
        green_with_refusals=sum(shown.passes_refusals for shown in imports),
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("airflow_provider_fullstory.ui"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"count": _count, "moment": _moment, "duration": _duration, "plural": plural}
    return environment.get_template("history.html")


def _count(number: int | None) -> str:
    return "?" if number is None else f"{number:,}"


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
