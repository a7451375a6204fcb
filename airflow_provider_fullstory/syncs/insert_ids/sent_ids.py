"""The ids that an import has sent itself."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Final

from airflow_provider_fullstory.syncs.insert_ids.id_filter import IdFilter
from airflow_provider_fullstory.syncs.insert_ids.scratch import ID_BYTES, Scratch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_NOTHING: Final = IdFilter(0)


class SentIds:
    """
    Keep the ids that an import sends, so that none is sent twice.

    To look one up costs as much as to look up thousands, so doubtful ones are best gathered.

    :param filter_bits: The size of the filter before them, as a power of two.
    :param id_bytes: The bytes of an id.
    """

    def __init__(self, filter_bits: int, id_bytes: int = ID_BYTES) -> None:
        self._filter = IdFilter(filter_bits)
        self._scratch = Scratch(id_bytes)

    def close(self) -> None:
        """Forget all."""
        self._scratch.close()

    def add(self, ids: Sequence[int]) -> None:
        """Add ids that are sent."""
        self._scratch.append(array("Q", ids))

    def told_apart(
        self, ids: Sequence[int], known: IdFilter, imported: Callable[[Sequence[int]], set[int]]
    ) -> tuple[set[int], set[int]]:
        """
        Return the ids that were imported, and of the rest the doubtful ones.

        :param ids: Ids that are to be sent.
        :param known: A filter to which the ids that were imported were added.
        :param imported: Returns those of some ids that were imported.
        """
        passing, doubtful = self._filter.add_others(ids, known)
        found = imported(passing)
        return found, self.doubtful(one for one in passing if one not in found).union(doubtful)

    def doubtful(self, ids: Iterable[int]) -> set[int]:
        """
        Return the doubtful ids: those that may be here, or were asked for before.

        All others can be sent, and are doubtful next time.

        :param ids: Ids that are to be sent.
        """
        _, doubtful = self._filter.add_others(ids, _NOTHING)
        return set(doubtful)

    def among(self, ids: set[int]) -> set[int]:
        """Return those ids that have been sent."""
        found: set[int] = set()
        if ids:
            for block in self._scratch.blocks():
                found |= ids.intersection(block)
        return found
