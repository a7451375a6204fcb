"""The identity of an import: which operator of which task and run, and the names that follow from it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_fullstory.batch_import.batching.identity import RunIdentity


def run_identity(context: Context, task_id: str, salt: str = "") -> RunIdentity:
    """
    Return the identity of an import, which is the same in all tries of the task.

    :param task_id: The operator's own id: several operators may be executed inside one task.
    :param salt: Distinguishes imports of one run, on purpose.
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


def digest(run: RunIdentity) -> str:
    """Return a short text that no other run or import has."""
    return hashlib.sha256(json.dumps(dataclasses.astuple(run)).encode()).hexdigest()[:16]


def owner(run: RunIdentity) -> str:
    """Return a unique name of an import for people."""
    parts = [run.dag_id, run.run_id, run.task_id, str(run.map_index), *([run.salt] if run.salt else [])]
    return "/".join(part.replace("%", "%25").replace("/", "%2F") for part in parts)


def folder_names(run: RunIdentity) -> list[str]:
    """Return the DAG, run, task and map index as names that any file system takes."""
    parts = [run.dag_id, run.run_id, run.task_id, str(run.map_index)]
    return [re.sub(r"[^A-Za-z0-9_-]+", "_", part)[:80] for part in parts]
