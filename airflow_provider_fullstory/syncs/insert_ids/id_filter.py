"""A filter of fixed size, through which hardly any id passes that was not added to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from airflow_provider_fullstory.syncs.insert_ids.scratch import ID_BYTES, contents_of

if TYPE_CHECKING:
    from array import array
    from collections.abc import Iterable, Iterator

_BITS: Final = tuple(1 << bit for bit in range(8))


class IdFilter:
    """
    Tell which ids may have been added; all others have not.

    Ids are hashes, so some of their own bits choose one bit of the filter. Of keyed ids, the contents are
    added, or the keys.

    :param size_bits: Its size is two to the power of this, in bytes.
    :param slots: The bytes of a filter of that size, to go on with.
    """

    def __init__(self, size_bits: int, slots: bytes | memoryview | None = None) -> None:
        self.slots = bytearray(2**size_bits if slots is None else slots)
        self._shift = 64 - size_bits

    def add(self, ids: Iterable[int]) -> None:
        """Add ids."""
        slots, shift, bits = self.slots, self._shift, _BITS
        for one in ids:
            slots[one >> shift] |= bits[one & 7]

    def added(self, blocks: Iterable[array[int]], id_bytes: int = ID_BYTES) -> Iterator[array[int]]:
        """
        Yield blocks of ids once these are added, of keyed ones the contents.

        :param id_bytes: The bytes of an id.
        """
        for block in blocks:
            self.add(contents_of(block, id_bytes))
            yield block

    def __contains__(self, one: int) -> bool:
        """Return whether an id may have been added."""
        return bool(self.slots[one >> self._shift] & _BITS[one & 7])

    def add_others(self, ids: Iterable[int], other: IdFilter) -> tuple[list[int], list[int]]:
        """
        Add the ids that do not pass another filter.

        Return those that pass it, and of the others those that may have been added before, here or earlier.
        To ask both filters in one go takes less time, and this is done for each record of an import.

        :param ids: The ids.
        :param other: The other filter.
        """
        slots, shift, bits = self.slots, self._shift, _BITS
        other_slots, other_shift = other.slots, other._shift
        passing: list[int] = []
        added: list[int] = []
        for one in ids:
            bit = bits[one & 7]
            if other_slots[one >> other_shift] & bit:
                passing.append(one)
                continue
            slot = one >> shift
            if slots[slot] & bit:
                added.append(one)
            else:
                slots[slot] |= bit
        return passing, added
