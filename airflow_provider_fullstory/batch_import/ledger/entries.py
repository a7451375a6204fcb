"""The entries of a ledger: what is known of each batch."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING

from airflow_provider_fullstory.batch_import.ledger.stores import json_of, object_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_fullstory.batch_import.ledger.stores import Store


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """
    What is known of one batch.

    :param name: The batch's place in the import: ``12``, or ``12.1`` for its first half.
    :param digest: SHA-256 of its body, in hex.
    :param idempotency_key: The key under which it was sent.
    :param records: How many records it holds.
    :param at: When it was first sent under that key, in seconds since the epoch.
    :param round: How often the import's counts had been verified when it was sent; see ``Policy``.
    :param job_id: The job that FullStory answered with.
    :param is_split: Whether FullStory found it too large, so that its halves count instead.
    :param is_refused: Whether it counts as not sent, mostly since FullStory certainly did not accept it.
    :param is_unknown: Whether it counts as not sent although FullStory may have accepted it.
    :param has_failed: Whether FullStory answered with a server error when it was sent again under that key.
    """

    name: str
    digest: str
    idempotency_key: str
    records: int
    at: float
    round: int = 0
    job_id: str | None = None
    is_split: bool = False
    is_refused: bool = False
    is_unknown: bool = False
    has_failed: bool = False


class Entries:
    """Read and write the entries of an import."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def read(self, name: str) -> Entry | None:
        """
        Return the entry of a batch, None if there is none.

        :param name: The batch's place in the import.
        """
        value = self._store.get(_key(name))
        return None if value is None else object_of({"name": name} | value, Entry)

    def write(self, entry: Entry) -> None:
        """Write an entry."""
        value = json_of(entry)
        del value["name"]
        self._store.set(_key(entry.name), value)

    def in_order(self, number: int = 1) -> Iterator[Entry]:
        """Yield the entries of all batches from a number on, halves excepted."""
        while (entry := self.read(str(number))) is not None:
            yield entry
            number += 1

    def with_jobs(self, batches: int | None = None) -> Iterator[Entry]:
        """
        Yield the entries that have or need a job: of each batch its own, or those of its halves.

        :param batches: How many batches there are; None for all that have an entry.
        """
        for number in itertools.count(1) if batches is None else range(1, batches + 1):
            if (entry := self.read(str(number))) is not None:
                yield from self._leaves(entry)
            elif batches is None:
                return

    def _leaves(self, entry: Entry) -> Iterator[Entry]:
        if not entry.is_split or entry.job_id:
            yield entry
            return
        for half in (1, 2):
            if (part := self.read(f"{entry.name}.{half}")) is not None:
                yield from self._leaves(part)


def _key(name: str) -> str:
    return f"batch_{name}"
