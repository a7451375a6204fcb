"""Warn of files on a worker's disk where Airflow's executor runs tasks on several machines."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Final

from airflow.providers.common.compat.sdk import conf

from airflow_provider_fullstory.batch_import.storage.locations import is_on_disk

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow.providers.common.compat.sdk import BaseOperator, MappedOperator

#: Executors that run tasks where the scheduler is. Any other one may have workers on other machines.
_ON_ONE_MACHINE: Final = frozenset({"DebugExecutor", "LocalExecutor", "MockExecutor", "SequentialExecutor"})
#: KubernetesExecutor sets it in its pods, where the configuration may name another executor.
_IN_POD: Final = "AIRFLOW_IS_K8S_EXECUTOR_POD"
_AT_RISK: Final = {
    "state_uri": "what runs on another one does not find what was sent, and may send it twice",
    "rejected_uri": "a task on another one does not find the refused records",
}

log = logging.getLogger(__name__)


def warn_of_separate_disks(
    operator: BaseOperator | MappedOperator | None, uris: Mapping[str, str | None]
) -> None:
    """
    Log a warning for each folder on this machine's disk, if other tries may run on other machines.

    :param operator: The operator, which may name its executor; None for what belongs to a run as a whole.
    :param uris: Folders or files by the argument that leads to them, None where there is none.
    """
    local = {argument: uri for argument, uri in uris.items() if uri is not None and is_on_disk(uri)}
    executor = _executor_of_several_machines(operator) if local else None
    if executor is None:
        return
    for argument, uri in local.items():
        log.warning(
            "%s is on this machine's disk, and %s has several workers: %s. Set it to object storage, such as "
            "s3://connection@bucket/folder, instead of %s, unless all workers mount that folder.",
            argument,
            executor,
            _AT_RISK[argument],
            uri,
        )


def _executor_of_several_machines(operator: BaseOperator | MappedOperator | None) -> str | None:
    """Return the name of an executor that runs the task on any of several machines, None if none does."""
    if os.environ.get(_IN_POD):
        return "KubernetesExecutor"
    names = _names_for(getattr(operator, "executor", None), conf.get("core", "executor", fallback=""))
    return next((name for name in names if name and name not in _ON_ONE_MACHINE), None)


def _names_for(chosen: str | None, configured: str) -> Iterator[str]:
    """
    Yield the class names of executors that a task may run on.

    :param chosen: The executor that the task names: its alias, class, or module and class.
    :param configured: Airflow's configuration: executors between commas, each maybe with an alias before a
        colon. Teams, between semicolons, have executors of their own, and a task does not know its team.
    """
    for of_team in configured.split(";"):
        entries = [entry.strip() for entry in of_team.rpartition("=")[2].split(",")]
        if chosen is None:
            # The first one is the default.
            yield _class_name(entries[0])
        for entry in entries:
            if chosen in (entry.partition(":")[0], entry.rpartition(":")[2], _class_name(entry)):
                yield _class_name(entry)


def _class_name(entry: str) -> str:
    return entry.rpartition(":")[2].rpartition(".")[2]
