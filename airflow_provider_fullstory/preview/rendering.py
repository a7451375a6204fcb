"""Templates of a task, rendered by Airflow outside of a running task."""

from __future__ import annotations

import dataclasses
import datetime
import uuid
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_fullstory.exceptions import FullStoryInputError

if TYPE_CHECKING:
    from airflow_provider_fullstory.operators.imports import FullStoryImportOperator
    from airflow_provider_fullstory.preview.runs import PreviewedRun


def rendered(task: Any, run: PreviewedRun, map_index: int) -> FullStoryImportOperator:
    """
    Return the operator of a task, with its templates rendered as in a run.

    Connections and variables come from Airflow's secrets backends, its database included.

    :param task: The task.
    :param run: The run.
    :param map_index: Which instance of a mapped task, -1 if it is not mapped.
    :raises FullStoryInputError: If they cannot be rendered.
    """
    try:
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance  # noqa: F401
    except ImportError:
        render = _rendered_by_airflow_2
    else:
        render = _rendered_by_airflow_3
    try:
        return render(task, run, map_index)
    except FullStoryInputError:
        raise
    except Exception as error:
        if "SUPERVISOR_COMMS" in str(error):
            raise FullStoryInputError(
                f"The templates of the task {task.task_id!r} read what only a running task can read in "
                "Airflow 3, such as XCom. Call the operator's preview() in a test, with these values."
            ) from error
        raise FullStoryInputError(
            f"The templates of the task {task.task_id!r} cannot be rendered: {type(error).__name__}: {error}"
        ) from error


def _rendered_by_airflow_3(task: Any, run: PreviewedRun, map_index: int) -> FullStoryImportOperator:
    from airflow.api_fastapi.execution_api.datamodels.taskinstance import DagRun, TIRunContext
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    now = datetime.datetime.now(datetime.UTC)
    known = dataclasses.asdict(run) | {
        "run_after": run.data_interval_end or run.logical_date,
        "start_date": now,
        "end_date": None,
        "state": "running",
        "consumed_asset_events": [],
        "partition_key": None,
    }
    fields = {name: value for name, value in known.items() if name in DagRun.model_fields}
    instance = RuntimeTaskInstance.model_construct(
        id=uuid.uuid4(),
        task_id=task.task_id,
        dag_id=run.dag_id,
        run_id=run.run_id,
        try_number=1,
        map_index=map_index,
        start_date=now,
        task=task,
        _ti_context_from_server=TIRunContext(
            dag_run=DagRun.model_validate(fields),
            max_tries=0,
            variables=[],
            connections=[],
            xcom_keys_to_clear=[],
        ),
    )
    context = instance.get_template_context()
    task.render_template_fields(context)
    # A mapped task leaves itself alone; the context then has the operator of this instance.
    return cast("FullStoryImportOperator", context["task"])


def _rendered_by_airflow_2(task: Any, run: PreviewedRun, map_index: int) -> FullStoryImportOperator:
    from airflow.models import DagRun, TaskInstance
    from airflow.utils.session import create_session
    from airflow.utils.task_instance_session import set_current_task_instance_session

    # The copy of a run, so that no task instance comes into Airflow's database.
    copy: dict[str, Any] = {
        "dag_id": run.dag_id,
        "run_id": run.run_id,
        "run_type": run.run_type,
        "execution_date": run.logical_date,
        "data_interval": (run.data_interval_start, run.data_interval_end),
        "conf": run.conf,
    }
    identity: dict[str, Any] = {"run_id": run.run_id, "map_index": map_index}
    instance = TaskInstance(task, **identity)
    instance.dag_run = DagRun(**copy)
    with create_session() as session, set_current_task_instance_session(session=session):
        instance.render_templates()
    operator: Any = instance.task
    return cast("FullStoryImportOperator", operator)
