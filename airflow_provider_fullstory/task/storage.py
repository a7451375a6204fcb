"""Where an import keeps files, in Airflow's terms: object storage behind a URI and its connection."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import AirflowNotFoundException, ObjectStoragePath

from airflow_provider_fullstory.batch_import.reporting.refused_file import RefusedFile
from airflow_provider_fullstory.batch_import.storage.folder import Folder
from airflow_provider_fullstory.exceptions import FullStoryInputError

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
    Return the folder of the state of all runs of a task.

    :param uri: The folder that it is in, for all tasks.
    :param run: A run of the task.
    :param outages: Waits out outages of the storage.
    """
    dag, _, task, _ = _names(run)
    folder = object_storage_path(uri, "state_uri").joinpath("imports", dag, task)
    return Folder(folder, "state_uri", outages)


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

    :param kind: The kind of records.
    :param uri: The file, or, with a slash at its end, a folder in which each run of each task has its own.
    :param run: The run of the task.
    :param is_given: Whether the file may be that of another task, which imported what this one waits for.
    :param others: Fingerprints of imports whose invalid records are in other files.
    :param outages: Waits out outages of the storage; by default none is waited out.
    """
    path = object_storage_path(uri, "rejected_uri")
    if uri.endswith("/"):
        *parents, own = _parts(run)
        uri = uri + "/".join([*parents, f"{own}.ndjson"])
        path = path.joinpath(*parents, f"{own}.ndjson")
    if not path.name:
        raise FullStoryInputError(
            f"rejected_uri is {uri!r}, which names no file; a folder ends with a slash."
        )
    folder = Folder(path.parent, "rejected_uri", outages)
    return RefusedFile(kind, folder, path.name, _owner(run), uri, is_given=is_given, others=others)


def object_storage_path(uri: str, argument: str) -> ObjectStoragePath:
    """
    Return where a URI leads to; nothing is read or written.

    :param uri: An absolute path (``/...``, ``file:///...``), or one of any other storage
        (``scheme://connection@bucket/...``).
    :param argument: The argument that it is of, for messages.
    :raises FullStoryInputError: Where it is none, or one that was made from a template without a value.
    """
    if problem := _problem(uri):
        raise FullStoryInputError(f"{argument} is {uri!r}, {problem}")
    try:
        path = ObjectStoragePath(uri)
        # A scheme that nothing installed can read shows only here.
        path.fs  # noqa: B018
    except (ValueError, ImportError, AirflowNotFoundException) as error:
        raise FullStoryInputError(f"{argument} is {uri!r}, which cannot be opened: {error}.") from error
    return path


def _problem(uri: str) -> str | None:
    """Return what is wrong with a URI: what is relative would end in the worker's current folder."""
    if not uri.strip():
        return "which is empty; leave it out where none is wanted."
    if any(mark in uri for mark in _TEMPLATE_MARKS):
        return "a template that Airflow has not rendered. Only an operator's own arguments are rendered."
    if "None" in re.split("[/@]+", uri):
        return "which a template without a value has made; look at what it refers to."
    found = re.match(r"([A-Za-z][\w+.-]*)://(.*)", uri, re.DOTALL)
    scheme, place = found.groups() if found else ("", uri)
    if scheme in _LOCAL_SCHEMES and not place.startswith("/"):
        return "which is no absolute path and no URI: it must begin with /, file:/// or scheme://."
    return None


def _owner(run: RunIdentity) -> str:
    """Return what names an import to people, and no other one."""
    parts = [run.dag_id, run.run_id, run.task_id, str(run.map_index), *([run.salt] if run.salt else [])]
    return "/".join(part.replace("%", "%25").replace("/", "%2F") for part in parts)


def _parts(run: RunIdentity) -> list[str]:
    """Return names of folders that are an import's own, on any file system."""
    dag, dag_run, task, map_index = _names(run)
    return [dag, dag_run, f"{task}-{map_index}-{digest(run)}"]


def _names(run: RunIdentity) -> list[str]:
    """Return what names a run, as names of files that cannot climb out of a folder."""
    parts = [run.dag_id, run.run_id, run.task_id, str(run.map_index)]
    return [re.sub(r"[^A-Za-z0-9_-]+", "_", part)[:80] for part in parts]
