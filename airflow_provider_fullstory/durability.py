"""What outlives a try of a task, in Airflow's terms: where an import's ledger is kept, and its bodies."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_fullstory.exceptions import FullStoryInputError, FullStoryLedgerError
from airflow_provider_fullstory.storage import staging_folder

if TYPE_CHECKING:
    from typing import Literal

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_fullstory.batch_import.batches import RunIdentity
    from airflow_provider_fullstory.batch_import.folder import Folder
    from airflow_provider_fullstory.batch_import.ledger import Ledger, Store
    from airflow_provider_fullstory.batch_import.staging import StagingArea


class TaskStateStore:
    """
    Keep a ledger in Airflow's task state store (3.3 and newer), which retries of a task share.

    :param accessor: What Airflow puts into the context.
    """

    def __init__(self, accessor: Any) -> None:
        self._accessor = accessor
        # Uploads write from several threads, which dag.test() is not prepared for.
        self._lock = threading.Lock()

    def get(self, key: str) -> dict[str, Any] | None:
        """Return what was last set."""
        try:
            with self._lock:
                value: dict[str, Any] | None = self._accessor.get(key)
        except Exception as error:
            raise _store_failed("read", error) from error
        return value

    def set(self, key: str, value: dict[str, Any]) -> None:
        """Keep a value for as long as the DAG run exists: any run may be tried again."""
        # Public, but missing in the stub that Airflow 3.3 ships.
        from airflow.sdk import NEVER_EXPIRE  # type: ignore[attr-defined]

        try:
            with self._lock:
                self._accessor.set(key, value, retention=NEVER_EXPIRE)
        except Exception as error:
            raise _store_failed("written", error) from error


@dataclasses.dataclass(frozen=True)
class Durability:
    """
    What a task remembers from one try to the next.

    :param ledger: Its ledger.
    :param folder: Where its batches are staged, None where they are not.
    :param description: Both, for the log.
    """

    ledger: Ledger
    folder: Folder | None
    description: str

    def staging_area(self, arguments: str | None) -> StagingArea | None:
        """
        Return where batches wait between two tries, None where they do not.

        :param arguments: Fingerprint of what the source and its mapping are, None where the data is at hand.
        """
        from airflow_provider_fullstory.batch_import.staging import StagingArea

        if self.folder is None:
            return None
        return StagingArea(self.folder, self.ledger.generation, arguments)


def durability(
    context: Context,
    run: RunIdentity,
    *,
    durable: bool,
    staging_uri: str | None,
    on_ambiguous: Literal["fail", "resend"],
    on_source_change: Literal["fail", "resend"],
) -> Durability:
    """
    Choose the best protection that this Airflow and the task's arguments allow.

    :param context: The task's context.
    :param run: The run.
    :param durable: Whether anything is to outlive a try.
    :param staging_uri: Where batches are staged, if they are.
    :param on_ambiguous: What to do with a batch of which nobody can know whether FullStory has it.
    :param on_source_change: What to do where the source no longer gives what was sent.
    """
    from airflow_provider_fullstory.batch_import.ledger import Ledger

    if staging_uri and not durable:
        raise FullStoryInputError("staging_uri is given with durable=False, which says to keep nothing.")
    folder = staging_folder(staging_uri, run) if staging_uri else None
    store, description = _store(context, folder, durable=durable)
    ledger = Ledger(store, on_ambiguous=on_ambiguous, on_source_change=on_source_change)
    return Durability(ledger, folder, description)


def _store(context: Context, folder: Folder | None, *, durable: bool) -> tuple[Store, str]:
    """Return where the ledger is kept, and what protects against doubles, for the log."""
    from airflow_provider_fullstory.batch_import.ledger import MemoryStore
    from airflow_provider_fullstory.batch_import.staging import FolderStore

    keys_only = "idempotency keys alone keep a retry from sending a batch twice, for 24 hours"
    if not durable:
        return MemoryStore(), f"no ledger, since durable=False: {keys_only}"
    accessor = context.get("task_state_store")
    if accessor is not None:
        staged = f" and batches staged in {folder}" if folder else ""
        return TaskStateStore(accessor), f"a ledger in Airflow's task state store{staged}"
    if folder is not None:
        return FolderStore(folder), f"a ledger and staged batches in {folder}"
    return MemoryStore(), (
        "no ledger, since this Airflow has no task state store (3.3 and newer have one) and staging_uri is "
        f"not set: {keys_only}"
    )


def fingerprint(arguments: Mapping[str, Any]) -> str:
    """
    Return what tells one source and mapping from another.

    :param arguments: The rendered arguments that decide which records there are, and how they are sent.
    """
    return hashlib.sha256(json.dumps(_stable(arguments)).encode()).hexdigest()


def _stable(value: Any) -> Any:
    """Return JSON that is the same in all processes: the order of a set, for one, is not."""
    if isinstance(value, Mapping):
        return sorted([repr(key), _stable(item)] for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return [_stable(item) for item in value]
    return sorted(map(repr, value)) if isinstance(value, (set, frozenset)) else repr(value)


def _store_failed(what: str, error: Exception) -> FullStoryLedgerError:
    return FullStoryLedgerError(
        f"The ledger in Airflow's task state store could not be {what} ({type(error).__name__}: {error}). "
        "Batches that were sent are recognized by the next try within 24 hours."
    )
