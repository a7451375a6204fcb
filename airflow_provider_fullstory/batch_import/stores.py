"""Where a ledger is kept: small JSON objects by key."""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import msgspec
import tenacity

from airflow_provider_fullstory.exceptions import FullStoryLedgerError, FullStoryStorageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_fullstory.batch_import.folder import Folder

#: Seconds for which an outage of a store is waited out, as one of FullStory's is.
OUTAGE_SECONDS: Final = 300.0
_LONGEST_PAUSE: Final = 15.0
_SECONDS_BETWEEN_CHECKS: Final = 0.2

log = logging.getLogger(__name__)
T = TypeVar("T")


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


class OutageProofStore:
    """
    Keep a ledger in a store that may be out of reach for some minutes.

    The first use is not repeated: where the store is out of reach before anything was sent, the task may as
    well fail, and a wrong URI or missing permissions show at once.

    :param store: The store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._is_proven = self._is_closing = False

    def get(self, key: str) -> dict[str, Any] | None:
        """Return what was last set."""
        return self._lasting(lambda: self._store.get(key))

    def set(self, key: str, value: dict[str, Any]) -> None:
        """Keep a value."""
        self._lasting(lambda: self._store.set(key, value))

    def close(self) -> None:
        """Wait out no outage any more: the task was told to end. May be called from a signal handler."""
        self._is_closing = True

    def _lasting(self, use: Callable[[], T]) -> T:
        if not self._is_proven:
            result = use()
            self._is_proven = True
            return result
        outage_is_over = tenacity.stop_after_delay(OUTAGE_SECONDS)
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(FullStoryStorageError),
            wait=tenacity.wait_random_exponential(max=_LONGEST_PAUSE),
            stop=lambda state: self._is_closing or outage_is_over(state),
            sleep=self._sleep,
            before_sleep=_log_outage,
            reraise=True,
        )
        return retrying(use)

    def _sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self._is_closing and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, _SECONDS_BETWEEN_CHECKS))


def _log_outage(state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    log.warning("%s Trying again in %.1f s.", error, state.upcoming_sleep)
