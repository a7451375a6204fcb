"""Object storage that arguments lead to: the folder of a task's state, and the file of refused records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_fullstory.batch_import.reporting.refused_file import RefusedFile
from airflow_provider_fullstory.batch_import.storage.folder import Folder
from airflow_provider_fullstory.batch_import.storage.locations import object_storage_path
from airflow_provider_fullstory.exceptions import FullStoryInputError
from airflow_provider_fullstory.task.identity import digest, folder_names, owner

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_fullstory.batch_import.batching.identity import RunIdentity
    from airflow_provider_fullstory.batch_import.reporting.fingerprints import FingerprintFolder
    from airflow_provider_fullstory.batch_import.storage.outages import Outages
    from airflow_provider_fullstory.records.kind import RecordKind


def task_folder(uri: str, run: RunIdentity, outages: Outages | None, what: str = "imports") -> Folder:
    """
    Return the folder that holds the state of all runs of a task.

    :param uri: The folder of all tasks (``state_uri``).
    :param outages: Waits out outages of the storage; None if no outage is waited out.
    :param what: What the state is of.
    """
    dag, _, task, _ = folder_names(run)
    folder = object_storage_path(uri, "state_uri").joinpath(what, dag, task)
    return Folder(folder, "state_uri", outages)


def run_name(run: RunIdentity) -> str:
    """Return the name of a run's folder, which is in the folder of its task."""
    _, dag_run, _, map_index = folder_names(run)
    return f"{dag_run}.{map_index}.{digest(run)}"


def refused_file(
    kind: RecordKind,
    uri: str,
    run: RunIdentity,
    *,
    is_given: bool = False,
    others: Sequence[FingerprintFolder] = (),
    outages: Outages | None = None,
) -> RefusedFile:
    """
    Return the file of a task's refused records.

    :param uri: The file, or, with a slash at its end, a folder in which each run of each task has a file.
    :param is_given: Whether the file may belong to another task, which sent the jobs that this one waits for.
    :param others: Fingerprints of imports whose invalid records are in other files.
    :param outages: Waits out outages of the storage; by default no outage is waited out.
    """
    path = object_storage_path(uri, "rejected_uri")
    if uri.endswith("/"):
        dag, dag_run, task, map_index = folder_names(run)
        parts = [dag, dag_run, f"{task}-{map_index}-{digest(run)}.ndjson"]
        uri += "/".join(parts)
        path = path.joinpath(*parts)
    if not path.name:
        raise FullStoryInputError(
            f"rejected_uri is {uri!r}, which names no file; a folder ends with a slash."
        )
    folder = Folder(path.parent, "rejected_uri", outages)
    return RefusedFile(kind, folder, path.name, owner(run), uri, is_given=is_given, others=others)
