"""The task to preview, from the files of Airflow's DAGs."""

from __future__ import annotations

import importlib
import inspect
import math
import sys
from collections.abc import Sized
from typing import TYPE_CHECKING, Any

from airflow_provider_fullstory.exceptions import FullStoryInputError
from airflow_provider_fullstory.operators.imports import FullStoryImportOperator
from airflow_provider_fullstory.text import plural

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def dag_named(dag_id: str) -> Any:
    """
    Return a DAG, as its file has it now; Airflow's database is not asked, and nothing is written to it.

    :raises FullStoryInputError: If no file has it.
    """
    failed: dict[str, str] = {}
    for bag in _bags():
        if dag := bag.dags.get(dag_id):
            return dag
        failed |= bag.import_errors
    errors = "".join(f"\n{file}: {error.strip().splitlines()[-1]}" for file, error in failed.items())
    hint = f" Files that could not be imported:{errors}" if failed else ""
    raise FullStoryInputError(f"No file of Airflow's DAGs has a DAG {dag_id!r}.{hint}")


def import_task(dag: Any, task_id: str, map_index: int) -> Any:
    """
    Return a task that imports records into FullStory; it is not rendered yet.

    :param dag: The DAG.
    :param task_id: The task.
    :param map_index: Which instance of a mapped task, -1 if it is not mapped.
    :raises FullStoryInputError: If there is no such task or instance, or if it imports nothing.
    """
    if not _imports(dag.task_dict.get(task_id)):
        fitting = ", ".join(sorted(name for name, task in dag.task_dict.items() if _imports(task)))
        raise FullStoryInputError(
            f"The DAG {dag.dag_id!r} has no task {task_id!r} that imports records into FullStory. "
            f"Tasks that do: {fitting or 'none'}."
        )
    task = dag.task_dict[task_id]
    is_mapped = _is_expanded(task) or next(task.iter_mapped_task_groups(), None) is not None
    if is_mapped and map_index < 0:
        raise FullStoryInputError(f"The task {task_id!r} is mapped: choose an instance with --map-index.")
    if not is_mapped and map_index >= 0:
        raise FullStoryInputError(f"The task {task_id!r} is not mapped: leave out --map-index.")
    count = _instances(task)
    if count is not None and map_index >= count:
        raise FullStoryInputError(
            f"The task {task_id!r} has {plural(count, 'instance')}, and --map-index begins at 0."
        )
    return task


def _imports(task: Any) -> bool:
    made = task.operator_class if _is_expanded(task) else type(task)
    return inspect.isclass(made) and issubclass(made, FullStoryImportOperator)


def _is_expanded(task: Any) -> bool:
    return hasattr(task, "expand_input")


def _instances(task: Any) -> int | None:
    """Return how many instances a mapped task has, None if its DAG file does not say it."""
    values = task.expand_input.value if _is_expanded(task) else None
    if isinstance(values, dict) and all(isinstance(value, Sized) for value in values.values()):
        return math.prod(map(len, values.values()))
    return len(values) if isinstance(values, list) else None


def _bags() -> Iterator[Any]:
    try:
        dagbag = importlib.import_module("airflow.dag_processing.dagbag")
    except ImportError:
        # Until Airflow 3.1.
        dagbag = importlib.import_module("airflow.models.dagbag")
    for folder in _folders():
        yield dagbag.DagBag(folder, **({"bundle_path": folder} if folder else {}))


def _folders() -> Iterator[Path | None]:
    """Yield the folders of Airflow's bundles, or None for the one folder that Airflow 2 has."""
    try:
        manager = importlib.import_module("airflow.dag_processing.bundles.manager")
    except ImportError:
        yield None
        return
    for bundle in manager.DagBundlesManager().get_all_dag_bundles():
        bundle.initialize()
        # DAG files import what lies beside them.
        sys.path.append(str(bundle.path))
        yield bundle.path
