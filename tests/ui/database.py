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
        **xcoms: Any,
    ) -> None:
        """Add a task, and the XComs that it left."""
        from airflow.models.dagrun import DagRun
        from airflow.models.taskinstance import TaskInstance
        from airflow.models.xcom import XComModel
        from sqlalchemy import select

        identity = {"dag_id": dag_id, "run_id": run_id, "task_id": task_id, "map_index": map_index}
        self._insert(
            TaskInstance,
            # Text in Airflow 3.1.
            id=TaskInstance.__table__.c.id.type.python_type(str(uuid.uuid4())),
            state=state,
            operator=operator,
            try_number=try_number,
            duration=61.5,
            pool="default_pool",
            **identity,
        )
        dag_run_id = self.session.scalar(
            select(DagRun.id).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
        )
        for key, value in xcoms.items():
            self._insert(XComModel, dag_run_id=dag_run_id, key=key, value=value, **identity)

    def add_import(self, dag_id: str, number: int, **task: Any) -> str:
        """Add a run with one task, which imports."""
        run_id = self.add_run(dag_id, number)
        self.add_task(dag_id, run_id, **task)
        return run_id

    def _insert(self, model: Any, **values: Any) -> None:
        self.session.execute(model.__table__.insert().values(**values))
        self.session.commit()
