"""
Put deferred tasks into Airflow's database, as workers would.

A separate program, run with the environment of the Airflow that is measured; its argument says what to do.
A thousand workers would take an hour to get there.
"""

from __future__ import annotations

import datetime
import json
import sys
import time
from typing import TYPE_CHECKING, Any

from airflow.dag_processing.collection import update_dag_parsing_results_in_db
from airflow.models import Connection
from airflow.models.dagbag import DBDagBag
from airflow.models.dagbundle import DagBundleModel
from airflow.models.taskinstance import TaskInstance
from airflow.models.trigger import Trigger
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import LazyDeserializedDAG
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState
from airflow.utils.types import DagRunTriggeredByType, DagRunType
from sqlalchemy import update

from airflow_provider_fullstory.triggers.fullstory import FullStoryImportJobTrigger
from benchmarks.sleeping import SleepingTrigger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.triggers.base import BaseTrigger
    from sqlalchemy.orm import Session

_DAY = 24 * 60 * 60.0


def connect(**connection: Any) -> None:
    """Store the connection to FullStory."""
    with create_session() as session:
        session.add(Connection(conn_id="fullstory_default", **connection))


def defer(dag_id: str, triggers: Sequence[BaseTrigger], at: float = 0.0) -> None:
    """
    Store a run of a DAG with one mapped task that waits for these triggers.

    :param dag_id: The DAG.
    :param triggers: One for each map index.
    :param at: When the triggerer is to see them, in seconds since the epoch.
    """
    with create_session() as session:
        run, task = _run_of_one_task(dag_id, session)
        for number, trigger in enumerate(triggers):
            row = Trigger.from_object(trigger)
            session.add(row)
            session.flush()
            instance = TaskInstance(
                task, run.created_dag_version_id, run_id=run.run_id, state="deferred", map_index=number
            )
            instance.try_number = 1
            instance.trigger_id = row.id
            instance.next_method, instance.next_kwargs = "execute_complete", {}
            session.add(instance)
        session.flush()
        time.sleep(max(0.0, at - time.time()))


def forget(dag_id: str) -> None:
    """
    Let the tasks of a DAG wait no longer, so that Airflow ends their triggers.

    :param dag_id: The DAG.
    """
    with create_session() as session:
        session.execute(update(TaskInstance).where(TaskInstance.dag_id == dag_id).values(state="removed"))


def _run_of_one_task(dag_id: str, session: Session) -> tuple[Any, Any]:

    with DAG(dag_id, schedule=None) as dag:
        EmptyOperator(task_id="wait")
    session.merge(DagBundleModel(name="benchmark"))
    session.flush()
    update_dag_parsing_results_in_db(
        "benchmark", None, [LazyDeserializedDAG.from_dag(dag)], {}, None, set(), session
    )
    stored = DBDagBag().get_latest_version_of_dag(dag_id, session=session)
    run = stored.create_dagrun(
        run_id="benchmark",
        run_after=datetime.datetime.now(datetime.UTC),
        run_type=DagRunType.MANUAL,
        triggered_by=DagRunTriggeredByType.TEST,
        state=DagRunState.RUNNING,
        session=session,
    )
    for instance in run.get_task_instances(session=session):
        session.delete(instance)  # The mapped ones take its place.
    session.flush()
    return run, stored.get_task("wait")


def main() -> None:
    """Do what the argument says."""
    order: dict[str, Any] = json.loads(sys.argv[1])
    if connection := order.get("connection"):
        connect(**connection)
    if dag_id := order.get("forget"):
        forget(dag_id)
    if count := order.get("sleeping"):
        defer("sleeping", [SleepingTrigger() for _ in range(count)])
    if dag_id := order.get("waiting"):
        at = order["at"]
        waits = [
            FullStoryImportJobTrigger(job_ids=[job], started_at=at, deadline=at + _DAY)
            for job in order["jobs"]
        ]
        defer(dag_id, waits, at)


if __name__ == "__main__":
    main()
