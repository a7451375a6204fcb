"""Removal of the state of old runs. For each day there is a list of the runs that tries worked on."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_fullstory.batch_import.storage.folder import Folder

#: A task that is cleared later finds no ledger, and its log says so.
KEPT_DAYS: Final = 90
_DAYS: Final = ".days"


def note_use(task_folder: Folder, name: str, now: float) -> None:
    """
    Note that a try works on a run today.

    :param task_folder: The folder of all runs of a task.
    :param name: The run's folder in it.
    :param now: Seconds since the epoch.
    """
    task_folder.write(f"{_DAYS}/{_day(now)}/{name}", b"")


def noted_since(task_folder: Folder) -> float:
    """
    Return since when, in seconds since the epoch, each run that a try worked on is surely in its list.

    That is the end of the first day that has a list: before, another folder may have been in use, and older
    lists were removed.

    :param task_folder: The folder of all runs of a task, in which a try has noted its use.
    """
    first = datetime.datetime.fromisoformat(f"{task_folder.names(_DAYS)[0]}T00:00:00Z")
    return (first + datetime.timedelta(days=1)).timestamp()


def remove_old(task_folder: Folder, now: float, last_used: Callable[[str], float | None]) -> int:
    """
    Remove runs that no try has worked on for 90 days, and return how many.

    :param task_folder: The folder of all runs of a task.
    :param now: Seconds since the epoch.
    :param last_used: Returns when a try last worked on a run, given the name of its folder; None if that
        is not known.
    """
    oldest_kept = now - KEPT_DAYS * 24 * 60 * 60
    removed = 0
    for day in task_folder.names(_DAYS):
        if day >= _day(oldest_kept):
            break
        for name in task_folder.names(f"{_DAYS}/{day}"):
            # A try may have worked on it since.
            if (last_used(name) or 0.0) < oldest_kept:
                task_folder.remove(name)
                removed += 1
        task_folder.remove(f"{_DAYS}/{day}")
    return removed


def _day(now: float) -> str:
    return datetime.datetime.fromtimestamp(now, datetime.UTC).date().isoformat()
