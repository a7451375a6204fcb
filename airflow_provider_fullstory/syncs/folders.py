"""The folders of syncs, under the state of all tasks."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from airflow_provider_fullstory.batch_import.storage.folder import Folder
from airflow_provider_fullstory.batch_import.storage.locations import object_storage_path

if TYPE_CHECKING:
    from airflow_provider_fullstory.batch_import.storage.outages import Outages


def syncs_folder(state_uri: str, outages: Outages | None = None) -> Folder:
    """
    Return the folder that holds the folders of all syncs.

    :param state_uri: The folder of the state of all tasks.
    :param outages: Waits out outages of the storage; by default no outage is waited out.
    """
    return Folder(object_storage_path(state_uri, "state_uri") / "syncs", "state_uri", outages)


def sync_folder(state_uri: str, name: str, outages: Outages | None = None) -> Folder:
    """
    Return the folder that holds all that a sync remembers.

    :param state_uri: The folder of the state of all tasks.
    :param name: The name of the sync.
    :param outages: Waits out outages of the storage; by default no outage is waited out.
    """
    return syncs_folder(state_uri, outages).folder(folder_name(name))


def folder_name(name: str) -> str:
    """Return a name that any file system takes, and that no other sync's folder has."""
    digest = hashlib.sha256(name.encode()).hexdigest()[:16]
    return f"{re.sub(r'[^A-Za-z0-9_-]+', '_', name)[:80]}.{digest}"
