"""Where a ledger is kept: small JSON objects by key."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from airflow_provider_fullstory.exceptions import FullStoryLedgerError

if TYPE_CHECKING:
    from airflow_provider_fullstory.batch_import.folder import Folder


class Store(Protocol):
    """Keep small JSON objects by key. Used from several threads at once."""

    def get(self, key: str) -> dict[str, Any] | None:
        """Return what was last set, None where nothing was."""

    def set(self, key: str, value: dict[str, Any]) -> None:
        """Keep a value, or replace it as a whole: a reader never meets half of it."""


class MemoryStore(dict[str, dict[str, Any]]):
    """Keep a ledger no longer than the process lives."""

    def set(self, key: str, value: dict[str, Any]) -> None:
        """Keep a value."""
        self[key] = value


class FolderStore:
    """
    Keep a ledger in a folder of object storage: one small file for each entry.

    :param folder: The folder.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def get(self, key: str) -> dict[str, Any] | None:
        """Return what was last set."""
        content = self._folder.read(f"ledger/{key}.json")
        if content is None:
            return None
        try:
            return msgspec.json.decode(content, type=dict[str, Any])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise FullStoryLedgerError(
                f"The ledger file {key}.json in {self._folder}/ledger is damaged: {error}. Its batch was not "
                "sent again; the logs of earlier tries and FullStory can tell what became of it."
            ) from error

    def set(self, key: str, value: dict[str, Any]) -> None:
        """Keep a value."""
        self._folder.write(f"ledger/{key}.json", json.dumps(value).encode())
