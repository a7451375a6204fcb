"""
Data intervals that are empty or missing.

In Airflow 3 a cron string or a timedelta as ``schedule=`` stands for points in time: the data interval of a
run starts and ends at the same moment. A run that an asset starts, or that has no logical date, has none.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow_provider_fullstory.exceptions import FullStoryInputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.providers.common.compat.sdk import BaseOperator, Context

WHAT_TO_DO = (
    "In Airflow 3, a cron string or a timedelta as schedule= is a point in time. Runs get an interval by "
    'schedule=CronDataIntervalTimetable("0 * * * *", timezone="UTC") or DeltaDataIntervalTimetable('
    "timedelta(hours=1)), both of airflow.timetables.interval."
)
_INTERVAL = re.compile(r"\bdata_interval_(?:start|end)\b")
#: Jinja's error about a variable that only runs with a logical date have.
_UNDEFINED = re.compile(
    r"'(data_interval_(?:start|end)|logical_date|ds|ds_nodash|ts|ts_nodash|ts_nodash_with_tz)' is undefined"
)


def names_interval(template: object) -> bool:
    """Return whether a template names the data interval of its run."""
    return isinstance(template, str) and _INTERVAL.search(template) is not None


def warn_of_empty_interval(operator: BaseOperator, context: Context) -> str:
    """
    Log a warning if the data interval selects nothing, with what to do instead.

    :param operator: A task whose templates name the data interval.
    :return: Why the interval selects nothing, as a sentence; empty if it selects something.
    """
    start, end = context.get("data_interval_start"), context.get("data_interval_end")
    if start is None or end is None:
        reason = "This run has no data interval, and a template of the task names it."
    elif start == end:
        reason = f"The data interval of this run is empty: it starts and ends at {start.isoformat()}."
    else:
        return ""
    operator.log.warning("%s", reason)
    operator.log.warning("%s", WHAT_TO_DO)
    return reason


@contextmanager
def explain_missing_interval() -> Iterator[None]:
    """
    Explain why a template cannot be rendered in a run without a logical date.

    :raises FullStoryInputError: Instead of Jinja's error.
    """
    from jinja2 import UndefinedError

    try:
        yield
    except UndefinedError as error:
        missing = _UNDEFINED.search(str(error))
        if missing is None:
            raise
        raise FullStoryInputError(
            f"A template names {missing[1]}, but this run has no logical date, and so no data interval. "
            "Airflow gives none to a run that an asset starts, or that the CLI or the API triggers without "
            "a logical date. Nothing was sent. Trigger it with a logical date, as the UI does, or let a "
            f"schedule make its runs. {WHAT_TO_DO}"
        ) from error
