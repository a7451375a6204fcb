"""Runs and reports as Airflow's database holds them."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_fullstory.batch_import.reporting.report import ImportReport

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

FIRST_RUN = datetime(2026, 1, 1, tzinfo=UTC)
EVENTS = "FullStoryImportEventsOperator"


def report(**fields: Any) -> dict[str, Any]:
    """Return a report as the operator pushes it."""
    counts = {"resource": "events", "job_ids": ["job-1"], "records": 10, "imported": 10, "rejected": 0}
    return ImportReport(**counts | fields).to_xcom()


class Database:
    """Fill Airflow's database."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def add_dag(self, dag_id: str) -> None:
        from airflow.models.dag import DagModel

        self.session.add(DagModel(dag_id=dag_id, bundle_name="bundle", is_stale=False))
        self.session.commit()

    def add_run(self, dag_id: str, number: int) -> str:
        """Add a run that was due so many days after the first one."""
        from airflow.models.dagrun import DagRun

        run_after = FIRST_RUN + timedelta(days=number)
        run_id = f"scheduled__{run_after.isoformat()}"
        self._insert(
            DagRun, dag_id=dag_id, run_id=run_id, run_type="scheduled", run_after=run_after, state="success"
        )
        return run_id

    def add_task(
        self,
        dag_id: str,
        run_id: str,
        task_id: str = "import_orders",
        *,
        state: str | None = "success",
        operator: str = EVENTS,
        map_index: int = -1,
        try_number: int = 1,
        is_last_try: bool = True,
        **xcoms: Any,
    ) -> None:
        """Add a task, and the XComs that it left; from Airflow 3.4 on, earlier tries are kept."""
        from airflow.models.taskinstance import TaskInstance

        table = TaskInstance.__table__
        # Text in Airflow 3.1.
        instance_id = table.c.id.type.python_type(str(uuid.uuid4()))
        # Another column in Airflow 3.4.
        index = table.c.get("region_index", table.c.get("map_index")).name
        identity = {"dag_id": dag_id, "run_id": run_id, "task_id": task_id}
        self._insert(
            TaskInstance,
            id=instance_id,
            state=state,
            operator=operator,
            try_number=try_number,
            duration=61.5,
            pool="default_pool",
            **identity,
            **{index: map_index},
            **({} if is_last_try else {"working_set": None}),
        )
        for key, value in xcoms.items():
            self._add_xcom(key, value, instance_id, {**identity, "map_index": map_index})

    def _add_xcom(self, key: str, value: Any, instance_id: Any, identity: dict[str, Any]) -> None:
        from airflow.models import xcom
        from airflow.models.dagrun import DagRun
        from sqlalchemy import select

        if hasattr(xcom, "XComModelV2"):
            self._insert(
                xcom.XComModelV2, id=uuid.uuid4(), task_instance_id=instance_id, key=key, value=value
            )
            return
        of_run = DagRun.dag_id == identity["dag_id"], DagRun.run_id == identity["run_id"]
        dag_run_id = self.session.scalar(select(DagRun.id).where(*of_run))
        self._insert(xcom.XComModel, dag_run_id=dag_run_id, key=key, value=value, **identity)

    def add_import(self, dag_id: str, number: int, **task: Any) -> str:
        """Add a run with one task, which imports."""
        run_id = self.add_run(dag_id, number)
        self.add_task(dag_id, run_id, **task)
        return run_id

    def _insert(self, model: Any, **values: Any) -> None:
        self.session.execute(model.__table__.insert().values(**values))
        self.session.commit()
