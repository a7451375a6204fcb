"""The run of a DAG in which its task is previewed: one that Airflow has, or one that exists nowhere else."""

from __future__ import annotations

import dataclasses
import datetime
from typing import Any


@dataclasses.dataclass(frozen=True, slots=True)
class PreviewedRun:
    """
    What templates can say of a run.

    :param dag_id: Its DAG.
    :param run_id: Its id.
    :param run_type: Its type.
    :param logical_date: Its logical date.
    :param data_interval_start: The start of its data interval.
    :param data_interval_end: The end of it.
    :param conf: Its configuration.
    """

    dag_id: str
    run_id: str
    run_type: str
    logical_date: datetime.datetime
    data_interval_start: datetime.datetime | None
    data_interval_end: datetime.datetime | None
    conf: dict[str, Any]


def dag_run(dag: Any, logical_date: datetime.datetime | None, conf: dict[str, Any] | None) -> PreviewedRun:
    """
    Return the run of a logical date, or else one as if the DAG was triggered with that date.

    :param dag: The DAG.
    :param logical_date: The logical date, None for now.
    :param conf: The configuration, None for that of the run.
    """
    found = _existing(dag.dag_id, logical_date) if logical_date else None
    if found is None:
        return _triggered(dag, logical_date or datetime.datetime.now(datetime.UTC), conf or {})
    return found if conf is None else dataclasses.replace(found, conf=conf)


def _existing(dag_id: str, logical_date: datetime.datetime) -> PreviewedRun | None:
    from airflow.models import DagRun

    # Queries of Airflow 2 have its old name.
    name = "execution_date" if hasattr(DagRun, "execution_date") else "logical_date"
    date: dict[str, Any] = {name: logical_date}
    for run in DagRun.find(dag_id=dag_id, **date):
        return PreviewedRun(
            dag_id=dag_id,
            run_id=run.run_id,
            run_type=str(run.run_type),
            logical_date=run.logical_date or logical_date,
            data_interval_start=run.data_interval_start,
            data_interval_end=run.data_interval_end,
            conf=run.conf or {},
        )
    return None


def _triggered(dag: Any, logical_date: datetime.datetime, conf: dict[str, Any]) -> PreviewedRun:
    import pendulum

    timetable = dag.timetable
    if not hasattr(timetable, "infer_manual_data_interval"):
        # Since Airflow 3.2, only the scheduler's own form of a timetable knows intervals.
        from airflow.serialization.encoders import coerce_to_core_timetable

        timetable = coerce_to_core_timetable(timetable)
    date = pendulum.instance(logical_date)
    interval = timetable.infer_manual_data_interval(run_after=date)
    return PreviewedRun(
        dag_id=dag.dag_id,
        run_id=f"manual__{date.isoformat()}",
        run_type="manual",
        logical_date=date,
        data_interval_start=interval.start,
        data_interval_end=interval.end,
        conf=conf,
    )
