"""The stores that can hold a ledger: small JSON objects by key."""

from __future__ import annotations

import dataclasses
import json
import threading
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec

from airflow_provider_fullstory.exceptions import FullStoryLedgerError, FullStoryStorageError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from airflow_provider_fullstory.batch_import.storage.folder import Folder
    from airflow_provider_fullstory.batch_import.storage.outages import Outages

T = TypeVar("T")


class Store(Protocol):
    """Keep small JSON objects by key. Used from several threads at once."""

    def get(self, key: str) -> dict[str, Any] | None:
        """Return the value of a key, None if there is none."""

    def set(self, key: str, value: dict[str, Any]) -> None:
        """Keep a value, or replace it as a whole: a reader never sees half of it."""


class MemoryStore(dict[str, dict[str, Any]]):
    """Keep a ledger no longer than the process lives."""

    def set(self, key: str, value: dict[str, Any]) -> None:
        """Keep a value."""
        self[key] = value


class FolderStore:
    """Keep a ledger in a folder of object storage: one small file for each entry."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def get(self, key: str) -> dict[str, Any] | None:
        """Return the value of a key."""
        content = self._folder.read(f"ledger/{key}.json")
        if content is None:
            return None
        try:
            return msgspec.json.decode(content, type=dict[str, Any])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise FullStoryLedgerError(
                f"The ledger file {key}.json in {self._folder}/ledger is damaged: {error}. What it is "
                "about was not sent again; the logs of earlier tries and FullStory show what became of it."
            ) from error

    def set(self, key: str, value: dict[str, Any]) -> None:
        """Keep a value."""
        self._folder.write(f"ledger/{key}.json", json.dumps(value).encode())


class TaskStateStore:
    """
    Keep a ledger in Airflow's task state store (3.3 and newer), which the tries of a task share.

    :param accessor: The ``task_state_store`` of the task's context.
    :param prefix: Precedes each key, since others may use the store too.
    :param outages: Waits out outages of Airflow's database and API.
    """

    def __init__(self, accessor: Any, prefix: str, outages: Outages) -> None:
        self._accessor = accessor
        self._prefix = prefix
        self._outages = outages
        # Uploads write from several threads, and dag.test() expects one.
        self._lock = threading.Lock()

    def get(self, key: str) -> dict[str, Any] | None:
        """Return the value of a key."""
        return self._outages.outlast("read", lambda: self._get(key))

    def _get(self, key: str) -> dict[str, Any] | None:
        try:
            with self._lock:
                value: dict[str, Any] | None = self._accessor.get(f"{self._prefix}_{key}")
        except Exception as error:
            raise _failure("read", error) from error
        return value

    def set(self, key: str, value: dict[str, Any]) -> None:
        """Keep a value as long as the DAG run exists: any run may be tried again."""
        self._outages.outlast("write", lambda: self._set(key, value))

    def _set(self, key: str, value: dict[str, Any]) -> None:
        # Public, but missing in the stub that Airflow 3.3 ships.
        from airflow.sdk import NEVER_EXPIRE  # type: ignore[attr-defined]

        try:
            with self._lock:
                self._accessor.set(f"{self._prefix}_{key}", value, retention=NEVER_EXPIRE)
        except Exception as error:
            raise _failure("written", error) from error


def _failure(what: str, error: Exception) -> FullStoryStorageError:
    return FullStoryStorageError(
        f"The ledger in Airflow's task state store could not be {what} ({type(error).__name__}: {error})."
    )


def json_of(value: DataclassInstance) -> dict[str, Any]:
    """Return a data class as JSON, without fields that are not set: there may be thousands of entries."""
    return {name: item for name, item in dataclasses.asdict(value).items() if item}


def object_of(value: dict[str, Any], kind: type[T]) -> T:
    """
    Return the data class that JSON of a ledger stands for.

    :raises FullStoryLedgerError: If this version of the package cannot read it.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise FullStoryLedgerError(
            f"The ledger of this task holds something that this version of the package cannot read: {error}. "
            "Nothing was sent. Finish the run with the version that began it."
        ) from error
