"""The syncs that have their state in one place."""

from __future__ import annotations

import dataclasses
import difflib
from typing import TYPE_CHECKING

from airflow_provider_fullstory.exceptions import FullStoryInputError, FullStoryLedgerError
from airflow_provider_fullstory.syncs.folders import sync_folder, syncs_folder
from airflow_provider_fullstory.syncs.holders import holder_of
from airflow_provider_fullstory.syncs.record import read_record
from airflow_provider_fullstory.text import some

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_fullstory.batch_import.storage.folder import Folder
    from airflow_provider_fullstory.syncs.holders import Holder
    from airflow_provider_fullstory.syncs.record import SyncRecord


@dataclasses.dataclass(frozen=True)
class Sync:
    """
    Describe a sync as it is now.

    :param folder: Its folder.
    :param record: Its record.
    :param holder: The process that works on it, None if there is none.
    """

    folder: Folder
    record: SyncRecord
    holder: Holder | None


def all_syncs(state_uri: str) -> Iterator[Sync | FullStoryLedgerError]:
    """
    Yield all syncs, by the names of their folders, and the error of each whose record cannot be read.

    :param state_uri: The folder of the state of all tasks.
    """
    syncs = syncs_folder(state_uri)
    for name in syncs.names():
        folder = syncs.folder(name)
        try:
            record = read_record(folder)
        except FullStoryLedgerError as error:
            yield error
            continue
        if record is not None:
            yield Sync(folder, record, holder_of(folder))


def sync_named(state_uri: str, name: str) -> Sync:
    """
    Return a sync.

    :param state_uri: The folder of the state of all tasks.
    :param name: Its name.
    :raises FullStoryInputError: If there is none of that name.
    """
    folder = sync_folder(state_uri, name)
    record = read_record(folder)
    if record is None:
        raise FullStoryInputError(
            f"There is no sync {name!r} under {syncs_folder(state_uri)}. {_others(state_uri, name)}"
        )
    return Sync(folder, record, holder_of(folder))


def _others(state_uri: str, name: str) -> str:
    names = sorted(sync.record.name for sync in all_syncs(state_uri) if isinstance(sync, Sync))
    if not names:
        return "There are no syncs at all: one is made when it runs first."
    close = difflib.get_close_matches(name, names)
    if close:
        return f"Close names: {', '.join(close)}."
    return f"There are: {some(names)}."
