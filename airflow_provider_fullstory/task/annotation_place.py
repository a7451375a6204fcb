"""Where the note of an annotation is kept: that of a task, and that of a callback."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_fullstory.batch_import.batching.identity import RunIdentity
from airflow_provider_fullstory.batch_import.ledger.stores import FolderStore, MemoryStore, TaskStateStore
from airflow_provider_fullstory.batch_import.storage.outages import Outages
from airflow_provider_fullstory.exceptions import FullStoryInputError
from airflow_provider_fullstory.task.annotation_note import Place
from airflow_provider_fullstory.task.identity import digest, run_identity
from airflow_provider_fullstory.task.separate_disks import warn_of_separate_disks
from airflow_provider_fullstory.task.state import of_task, sent_since, state_uri_of
from airflow_provider_fullstory.task.storage import run_name, task_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_fullstory.task.arguments import AnnotationArguments, DurableArguments

_FOLDER: Final = "annotations"
#: Stands for the task where a callback belongs to a DAG run as a whole; no task can have this id.
_WHOLE_RUN: Final = "(dag)"


def place_of_task(context: Context, task_id: str, arguments: DurableArguments) -> Place:
    """
    Return where the note of a task's annotation is kept.

    :param task_id: The operator's own id: several operators may be executed inside one task.
    :param arguments: The arguments of the operator.
    :raises FullStoryInputError: If the arguments contradict each other.
    """
    again = "With durable=False, each try posts one."
    is_cleared = _is_cleared(context)
    if not arguments.durable:
        if arguments.state_uri is not None:
            raise FullStoryInputError("state_uri is given with durable=False, which says to keep nothing.")
        return Place(MemoryStore(), "", "no note, since durable=False. Each try posts", is_kept=False)
    run = run_identity(context, task_id)
    key, outages = f"annotation_{digest(run)}", Outages()
    accessor = context.get("task_state_store")
    in_airflow = None if accessor is None else TaskStateStore(accessor, "fullstory", outages)
    uri = state_uri_of(arguments)
    # An earlier try may have begun before state_uri was set.
    if uri is not None and (in_airflow is None or in_airflow.get(key) is None):
        warn_of_separate_disks(context.get("task"), {"state_uri": uri})
        return dataclasses.replace(
            _in_folder(uri, of_task(run, context), key, outages),
            again=again,
            sent_since=sent_since(context) if is_cleared else None,
        )
    if in_airflow is not None:
        description = "a note in Airflow's task state store, which a clear may empty"
        return Place(in_airflow, key, description, again, is_lasting=not is_cleared)
    return Place(
        MemoryStore(),
        "",
        "no note, since state_uri is not set and Airflow has a task state store from 3.3 on only. "
        "Only the first try posts",
        again,
        is_kept=False,
        is_lasting=False,
    )


def place_of_callback(context: Mapping[str, Any], arguments: AnnotationArguments) -> Place:
    """
    Return where the note of a callback's annotation is kept.

    A callback may run in a worker, a DAG processor, a triggerer or an executor. Only a folder is there for
    all of them, and Airflow's task state store is not.

    :param context: The callback's context.
    :param arguments: The arguments of the notifier.
    """
    uri, occasion = state_uri_of(arguments), _occasion(context)
    if uri is None or occasion is None:
        return Place(MemoryStore(), "", "no note", is_kept=False)
    run, of_what = occasion
    warn_of_separate_disks(context.get("task"), {"state_uri": uri})
    # Notifiers with other words, or for another organization, are others.
    salt = [of_what, arguments.text, arguments.source, arguments.fullstory_conn_id]
    one = dataclasses.replace(run, salt=json.dumps(salt))
    return _in_folder(uri, run, f"annotation_{digest(one)}", None)


def _is_cleared(context: Context) -> bool:
    """Return whether the task may have been cleared. If not, its earlier tries failed, or were killed."""
    if getattr(context.get("dag_run"), "clear_number", None) != 0:
        return True
    # Runs that have not ended, or are to stay as they are, do not count it, but tasks then have more tries.
    max_tries, retries = getattr(context["ti"], "max_tries", 0), getattr(context.get("task"), "retries", 0)
    return bool(max_tries != retries)


def _in_folder(uri: str, task: RunIdentity, key: str, outages: Outages | None) -> Place:
    runs, name = task_folder(uri, task, outages, _FOLDER), run_name(task)
    folder = runs.folder(name)
    return Place(FolderStore(folder), key, f"a note in {folder}", runs=runs, name=name)


def _occasion(context: Mapping[str, Any]) -> tuple[RunIdentity, str] | None:
    """Return the run or task that a callback is about, and what happened to it; None if that is not known."""
    run: Any = context.get("dag_run")
    deadline, instance = context.get("deadline"), context.get("ti")
    if deadline is not None and isinstance(run, dict):
        return RunIdentity(run["dag_id"], run["dag_run_id"], _WHOLE_RUN), f"deadline {deadline['id']}"
    if "reason" in context and "dag" in context:
        # A DAG run has ended. Its context may hold the last task that ended. Only a clear moves its start.
        start = getattr(run, "start_date", None)
        identity = RunIdentity(context["dag"].dag_id, str(context.get("run_id")), _WHOLE_RUN)
        return identity, f"end {None if start is None else start.timestamp()}"
    if instance is None:
        return None
    return run_identity(context, instance.task_id), f"try {instance.try_number}"  # type: ignore[arg-type]
