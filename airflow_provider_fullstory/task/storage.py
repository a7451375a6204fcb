"""Object storage that arguments lead to: the folder of a task's state, and the file of refused records."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import AirflowNotFoundException, ObjectStoragePath

from airflow_provider_fullstory.batch_import.reporting.refused_file import RefusedFile
from airflow_provider_fullstory.batch_import.storage.folder import Folder
from airflow_provider_fullstory.exceptions import FullStoryInputError
from airflow_provider_fullstory.task.identity import digest, folder_names, owner

#: What is left of a template that was not rendered.
_TEMPLATE_MARKS = ("{{", "}}", "{%", "%}")
#: Schemes of the worker's disk; a path has none.
_LOCAL_SCHEMES = ("", "file", "local")

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_fullstory.batch_import.batching.identity import RunIdentity
    from airflow_provider_fullstory.batch_import.reporting.fingerprints import FingerprintFolder
    from airflow_provider_fullstory.batch_import.storage.outages import Outages
    from airflow_provider_fullstory.records.kind import RecordKind


def task_folder(uri: str, run: RunIdentity, outages: Outages) -> Folder:
    """
    Return the folder that holds the state of all runs of a task.

    :param uri: The folder of all tasks (``state_uri``).
    :param outages: Waits out outages of the storage.
    """
    dag, _, task, _ = folder_names(run)
    folder = object_storage_path(uri, "state_uri").joinpath("imports", dag, task)
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


def object_storage_path(uri: str, argument: str) -> ObjectStoragePath:
    """
    Return the path that a URI names; nothing is read or written.

    :param uri: An absolute path (``/...``, ``file:///...``), or a URI of any other storage
        (``scheme://connection@bucket/...``).
    :param argument: The name of the argument, for messages.
    :raises FullStoryInputError: If the text is not a URI, or a template left it without a value.
    """
    if problem := _problem(uri):
        raise FullStoryInputError(f"{argument} is {uri!r}, {problem}")
    try:
        path = ObjectStoragePath(uri)
        # A scheme that no installed package can read fails only here.
        path.fs  # noqa: B018
    except (ValueError, ImportError, AirflowNotFoundException) as error:
        raise FullStoryInputError(f"{argument} is {uri!r}, which cannot be opened: {error}.") from error
    return path


def _problem(uri: str) -> str | None:
    """Return what is wrong with a URI. A relative path would lead to the worker's current folder."""
    if not uri.strip():
        return "which is empty; leave it out if none is wanted."
    if any(mark in uri for mark in _TEMPLATE_MARKS):
        return "a template that Airflow has not rendered. Only an operator's own arguments are rendered."
    if "None" in re.split("[/@]+", uri):
        return "which a template without a value has made; check what it refers to."
    found = re.match(r"([A-Za-z][\w+.-]*)://(.*)", uri, re.DOTALL)
    scheme, place = found.groups() if found else ("", uri)
    if scheme in _LOCAL_SCHEMES and not place.startswith("/"):
        return "which is neither an absolute path nor a URI: it must begin with /, file:/// or scheme://."
    return None
