"""The ids that an import has sent itself."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from airflow_provider_fullstory.syncs.insert_ids.id_filter import IdFilter
from airflow_provider_fullstory.syncs.insert_ids.scratch import Scratch

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class SentIds:
    """
    Keep the ids that an import sends, so that none is sent twice.

    To look one up costs as much as to look up thousands, so doubtful ones are best gathered.

    :param filter_bits: The size of the filter before them, as a power of two.
    """

    def __init__(self, filter_bits: int) -> None:
        self._filter = IdFilter(filter_bits)
        self._scratch = Scratch()

    def close(self) -> None:
        """Forget all."""
        self._scratch.close()

    def add(self, ids: Sequence[int]) -> None:
        """Add ids that are sent."""
        self._scratch.append(array("Q", ids))

    def doubtful(self, ids: Iterable[int]) -> set[int]:
        """
        Return the ids that may be here, or were asked for before; all others can be sent.

        :param ids: Ids that are to be sent. Each that is not doubtful now is doubtful next time.
        """
        return set(self._filter.add_new(ids))

    def among(self, ids: set[int]) -> set[int]:
        """Return those ids that have been sent."""
        found: set[int] = set()
        if ids:
            for block in self._scratch.blocks():
                found |= ids.intersection(block)
        return found
