"""Where an import keeps files, in Airflow's terms: object storage behind a URI and its connection."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import AirflowNotFoundException, ObjectStoragePath

from airflow_provider_fullstory.batch_import.folder import Folder
from airflow_provider_fullstory.batch_import.refused import RefusedFile
from airflow_provider_fullstory.exceptions import FullStoryInputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_fullstory.batch_import.batches import RunIdentity
    from airflow_provider_fullstory.batch_import.traces import Traces


def task_folder(uri: str, run: RunIdentity) -> Folder:
    """
    Return the folder of the state of all runs of a task.

    :param uri: The folder that it is in, for all tasks.
    :param run: A run of the task.
    """
    dag, _, task, _ = _names(run)
    return Folder(_path(uri, "state_uri").joinpath("imports", dag, task), "state_uri")


def run_name(run: RunIdentity) -> str:
    """
    Return the name of a run's folder in the one of its task.

    :param run: The run.
    """
    _, dag_run, _, map_index = _names(run)
    return f"{dag_run}.{map_index}.{digest(run)}"


def digest(run: RunIdentity) -> str:
    """
    Return a short text that no other run or import has.

    :param run: What names it.
    """
    return hashlib.sha256(json.dumps(dataclasses.astuple(run)).encode()).hexdigest()[:16]


def refused_file(
    uri: str, run: RunIdentity, *, is_given: bool = False, others: Sequence[Traces] = ()
) -> RefusedFile:
    """
    Return the file of a task's refused records.

    :param uri: The file, or, with a slash at its end, a folder in which each run of each task has its own.
    :param run: The run of the task.
    :param is_given: Whether the file may be that of another task, which imported what this one waits for.
    :param others: Traces of imports whose records refused here are in files of their own.
    """
    if not uri:
        raise FullStoryInputError("rejected_uri is empty; leave it out where no file is wanted.")
    if uri.endswith("/"):
        *parents, own = _parts(run)
        uri = uri + "/".join([*parents, f"{own}.ndjson"])
    path = _path(uri, "rejected_uri")
    owner = "/".join([run.dag_id, run.run_id, run.task_id, str(run.map_index)])
    folder = Folder(path.parent, "rejected_uri")
    return RefusedFile(folder, path.name, owner, uri, is_given=is_given, others=others)


def _path(uri: str, argument: str) -> ObjectStoragePath:
    try:
        path = ObjectStoragePath(uri)
        # A scheme that nothing installed can read shows only here.
        path.fs  # noqa: B018
    except (ValueError, ImportError, AirflowNotFoundException) as error:
        raise FullStoryInputError(f"{argument} is {uri!r}, which cannot be opened: {error}.") from error
    return path


def _parts(run: RunIdentity) -> list[str]:
    """Return names of folders that are a run's own, whatever its salt, on any file system."""
    dag, dag_run, task, map_index = _names(run)
    return [dag, dag_run, f"{task}-{map_index}-{digest(dataclasses.replace(run, salt=''))}"]


def _names(run: RunIdentity) -> list[str]:
    """Return what names a run, as names of files that cannot climb out of a folder."""
    parts = [run.dag_id, run.run_id, run.task_id, str(run.map_index)]
    return [re.sub(r"[^A-Za-z0-9_-]+", "_", part)[:80] for part in parts]
