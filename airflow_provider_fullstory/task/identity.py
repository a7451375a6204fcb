"""What names an import of a task."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_fullstory.batch_import.batching.identity import RunIdentity


def run_identity(context: Context, task_id: str, salt: str = "") -> RunIdentity:
    """
    Return what names an import of a task, the same in all its tries.

    :param context: The task's context.
    :param task_id: The operator's own id: several operators may be executed inside one task.
    :param salt: Anything that tells one import of the run from another on purpose.
    """
    from airflow_provider_fullstory.batch_import.batching.identity import RunIdentity

    instance = context["ti"]
    return RunIdentity(
        dag_id=instance.dag_id,
        run_id=instance.run_id,
        task_id=task_id,
        map_index=-1 if instance.map_index is None else instance.map_index,
        salt=salt,
    )
