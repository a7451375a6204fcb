"""The DAG run of a try: whether it is another run under the same id, and when earlier tries began."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import datetime

    from airflow.providers.common.compat.sdk import Context


def description(context: Context) -> dict[str, Any]:
    """
    Return what distinguishes a try's DAG run from a deleted one that had the same id.

    :param context: The task's context.
    """
    run: Any = context.get("dag_run")
    start = getattr(run, "start_date", None)
    return {
        "try_number": context["ti"].try_number,
        "clear_number": getattr(run, "clear_number", None) or 0,
        "start": None if start is None else start.timestamp(),
    }


def is_another(run: dict[str, Any], known: dict[str, Any]) -> bool:
    """
    Return whether a run was deleted and created again since it was described.

    :param run: The description of this try.
    :param known: The description of an earlier try.
    """
    # The tries of a run count up, and only a clear moves its start.
    if run["try_number"] <= known["try_number"] or run["clear_number"] < known["clear_number"]:
        return True
    return bool(run["clear_number"] == known["clear_number"] and run["start"] != known["start"])


def sent_since(context: Context) -> float | None:
    """
    Return the earliest time at which earlier tries can have sent something, None if there were none.

    Airflow forgets at a clear when the run really started, so then the time counts at which it was due.

    :param context: The task's context.
    :return: Seconds since the epoch.
    """
    if context["ti"].try_number <= 1:
        return None
    run: Any = context.get("dag_run")
    names = ["start_date"]
    if getattr(run, "clear_number", 1) or run.start_date is None:
        names += ["run_after", "data_interval_end", "logical_date"]
    moments: list[datetime.datetime | None] = [getattr(run, name, None) for name in names]
    return min((moment.timestamp() for moment in moments if moment is not None), default=0.0)
