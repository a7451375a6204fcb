"""The imports of DAGs, runs and tasks, as Airflow's database knows them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

import msgspec
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XCOM_RETURN_KEY, XComModel
from sqlalchemy import and_, exists, or_, select
from sqlalchemy.orm import aliased

from airflow_provider_fullstory.records.kinds import KINDS
from airflow_provider_fullstory.ui.link import FullStoryImportHistoryLink

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from sqlalchemy.orm import Session

PAGE_SIZE: Final = 25
#: The database reads all rows before those of a page.
LAST_PAGE: Final = 1_000
#: As Airflow's database names them; the last two are those of the decorators.
_OPERATORS: Final = (
    "FullStoryImportEventsOperator",
    "FullStoryImportUsersOperator",
    "FullStoryImportJobSensor",
    "_FullStoryEventsDecoratedOperator",
    "_FullStoryUsersDecoratedOperator",
)


class Report(msgspec.Struct, frozen=True):
    """What the page shows of the report of an import; that of another version may say less."""

    resource: str
    job_ids: list[str]
    records: int | None
    imported: int | None = None
    invalid: int = 0
    rejected: int | None = None
    skipped: int = 0
    rejected_uri: str | None = None
    reasons: dict[str, int] = {}
    dropped_properties: dict[str, int] = {}
    watermark: str | None = None

    @property
    def refused(self) -> int:
        """How many records are known not to be in FullStory."""
        return self.invalid + (self.rejected or 0)

    @property
    def quota(self) -> int | None:
        """How much of the monthly quota it took; None as long as FullStory has not finished."""
        counting = [kind.resource.value for kind in KINDS.values() if kind.counts_against_quota]
        return self.imported if self.resource in counting else 0


@dataclass(frozen=True, slots=True)
class TaskImport:
    """
    The last try of a task that imports, or that waits for an import.

    :param run_after: When its run was due.
    :param state: The state of the task; None if it was not scheduled yet.
    :param seconds: How long the try took; None before its end.
    :param report: Its report; None if it left none that can be read here.
    :param has_other_result: Whether it left something else instead.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    run_after: datetime
    state: str | None
    try_number: int
    seconds: float | None
    report: Report | None
    has_other_result: bool

    @property
    def passes_refusals(self) -> bool:
        """Whether the task is green although records were refused."""
        return self.state == "success" and self.report is not None and self.report.refused > 0


@dataclass(frozen=True, slots=True)
class Scope:
    """
    Whose imports are shown.

    :param dag_id: One DAG; None for all that the user may read.
    :param run_id: One run of it; None for all.
    :param task_id: One task; None for all.
    :param map_index: One instance of a mapped task, -1 for that of one that is not mapped; None for all.
    """

    dag_id: str | None = None
    run_id: str | None = None
    task_id: str | None = None
    map_index: int | None = None


def read_imports(
    session: Session, scope: Scope, dag_ids: Collection[str], page: int
) -> tuple[list[TaskImport], bool]:
    """
    Return one page of imports, those of the newest runs first, and whether there is a page after it.

    :param session: A session of Airflow's database, which is only read.
    :param scope: Whose imports.
    :param dag_ids: The DAGs that the user may read.
    :param page: The number of the page, from 1 to ``LAST_PAGE``.
    """
    result = (XComModel.key == XCOM_RETURN_KEY) & _left_by_task(XComModel, XComModel.dag_run_id == DagRun.id)
    query = (
        select(
            *(TaskInstance.dag_id, TaskInstance.run_id, TaskInstance.task_id, TaskInstance.map_index),
            *(TaskInstance.state, TaskInstance.try_number, TaskInstance.duration),
            *(DagRun.run_after, XComModel.value),
        )
        .join(DagRun, _same(DagRun, "dag_id", "run_id"))
        .outerjoin(XComModel, result)
        .where(TaskInstance.dag_id.in_(dag_ids), _imports())
        .order_by(DagRun.run_after.desc(), DagRun.id.desc(), TaskInstance.task_id, TaskInstance.map_index)
        .offset((page - 1) * PAGE_SIZE)
        .limit(PAGE_SIZE + 1)
    )
    for field in fields(scope):
        if (value := getattr(scope, field.name)) is not None:
            query = query.where(getattr(TaskInstance, field.name) == value)
    found = [_task_import(row) for row in session.execute(query)]
    return found[:PAGE_SIZE], len(found) > PAGE_SIZE and page < LAST_PAGE


def _task_import(row: Any) -> TaskImport:
    report = _report(row.value)
    return TaskImport(
        dag_id=row.dag_id,
        run_id=row.run_id,
        task_id=row.task_id,
        map_index=row.map_index,
        run_after=row.run_after,
        state=row.state and str(row.state),
        try_number=row.try_number,
        seconds=row.duration,
        report=report,
        has_other_result=report is None and row.value is not None,
    )


def _report(value: Any) -> Report | None:
    """Return the report that an XCom holds, None if it holds something else."""
    # Not by Airflow's own decoder, which makes objects of classes that the text of an XCom names.
    try:
        if isinstance(value, str):
            return msgspec.json.decode(value, type=Report)
        return msgspec.convert(value, Report)
    except (msgspec.MsgspecError, RecursionError):
        return None


def _same(model: Any, *columns: str) -> Any:
    return and_(*(getattr(model, column) == getattr(TaskInstance, column) for column in columns))


def _left_by_task(xcom: Any, of_run: Any) -> Any:
    """
    Match the XComs of a task.

    :param xcom: The model of XComs.
    :param of_run: Matches those of its run.
    """
    if hasattr(xcom, "task_instance_id"):
        # Airflow 3.4 keeps XComs by the try that left them, and several tries of a task.
        return xcom.task_instance_id == TaskInstance.id
    return of_run & _same(xcom, "task_id", "map_index")


def _imports() -> Any:
    """Match tasks of this package; those whose class is made of one of its operators left its link."""
    link = aliased(XComModel)
    is_link = link.key == FullStoryImportHistoryLink().xcom_key
    of_task = _left_by_task(link, _same(link, "dag_id", "run_id"))
    return or_(TaskInstance.operator.in_(_OPERATORS), exists().where(is_link, of_task))
