"""
Put deferred tasks into Airflow's database, as if workers had deferred them.

A program of its own, run with the environment of the Airflow that is measured: it reads the waits from its
standard input. A thousand real workers would take an hour to get there.
"""

from __future__ import annotations

import asyncio
import datetime
import json
import sys
import time
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from airflow.models.dagrun import DagRun
    from sqlalchemy.orm import Session

CONNECTION = "fullstory_default"


class SleepingTrigger(BaseTrigger):
    """Wait without doing anything: what any trigger costs Airflow."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what makes an equal trigger in another process."""
        return f"benchmarks.deferrals.{type(self).__name__}", {}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait for longer than the benchmark takes."""
        await asyncio.sleep(24 * 3600)
        yield TriggerEvent({})


def defer(name: str, triggers: list[BaseTrigger], at: float = 0.0) -> None:
    """
    Make a run of a DAG whose mapped task waits for these triggers.

    :param name: Id of the DAG.
    :param triggers: One for each mapped task instance, in their order.
    :param at: When the triggerer is to see them, in seconds since the epoch.
    """
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.trigger import Trigger
    from airflow.utils.session import create_session

    with create_session() as session:
        run, task = _run(name, session)
        for number, trigger in enumerate(triggers):
            row = Trigger.from_object(trigger)
            session.add(row)
            session.flush()
            instance = TaskInstance(
                task, run_id=run.run_id, state="deferred", map_index=number,
                dag_version_id=run.created_dag_version_id,
            )  # fmt: skip
            instance.try_number = 1
            instance.trigger_id = row.id
            instance.next_method, instance.next_kwargs = "execute_complete", {}
            session.add(instance)
        session.flush()
        time.sleep(max(0.0, at - time.time()))


def forget(name: str) -> None:
    """
    Let the tasks of a DAG wait no longer.

    :param name: Id of the DAG.
    """
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import update

    with create_session() as session:
        session.execute(update(TaskInstance).where(TaskInstance.dag_id == name).values(state="removed"))


def connect(connection: dict[str, Any]) -> None:
    """
    Put a connection into the database, where most have theirs.

    :param connection: Its fields.
    """
    from airflow.models import Connection
    from airflow.utils.session import create_session

    with create_session() as session:
        session.add(Connection(conn_id=CONNECTION, **connection))


def _run(name: str, session: Session) -> tuple[DagRun, Any]:
    from airflow.dag_processing.collection import update_dag_parsing_results_in_db
    from airflow.models.dagbag import DBDagBag
    from airflow.models.dagbundle import DagBundleModel
    from airflow.providers.standard.operators.empty import EmptyOperator
    from airflow.sdk import DAG
    from airflow.serialization.serialized_objects import LazyDeserializedDAG
    from airflow.utils.state import DagRunState
    from airflow.utils.types import DagRunTriggeredByType, DagRunType

    with DAG(name, schedule=None) as dag:
        EmptyOperator(task_id="wait")
    session.merge(DagBundleModel(name="benchmark"))
    session.flush()
    update_dag_parsing_results_in_db(
        "benchmark", None, [LazyDeserializedDAG.from_dag(dag)], {}, None, set(), session
    )
    stored = DBDagBag().get_latest_version_of_dag(name, session=session)
    run = stored.create_dagrun(
        run_id="waiting",
        run_after=datetime.datetime.now(datetime.UTC),
        run_type=DagRunType.MANUAL,
        triggered_by=DagRunTriggeredByType.TEST,
        state=DagRunState.RUNNING,
        session=session,
    )
    [whole] = run.get_task_instances(session=session)
    session.delete(whole)  # The mapped ones take its place.
    session.flush()
    return run, stored.get_task("wait")


def main() -> None:
    """Do what the standard input says."""
    from airflow_provider_fullstory.triggers.fullstory import FullStoryImportJobTrigger

    order: dict[str, Any] = json.load(sys.stdin)
    if connection := order.get("connection"):
        connect(connection)
    if name := order.get("forget"):
        forget(name)
    if count := order.get("sleeping"):
        defer("sleeping", [SleepingTrigger() for _ in range(count)])
    if waits := order.get("waiting"):
        defer(order["name"], [FullStoryImportJobTrigger(**wait) for wait in waits], order["at"])


if __name__ == "__main__":
    main()
