"""A filter of fixed size, through which hardly any id passes that was not added to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from array import array
    from collections.abc import Iterable, Iterator

_BITS: Final = tuple(1 << bit for bit in range(8))


class IdFilter:
    """
    Tell which ids may have been added; all others have not.

    Ids are hashes, so some of their own bits choose one bit of the filter.

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

    def added(self, blocks: Iterable[array[int]]) -> Iterator[array[int]]:
        """Yield blocks of ids once these are added."""
        for block in blocks:
            self.add(block)
            yield block

    def add_new(self, ids: Iterable[int]) -> list[int]:
        """Add ids, and return those that may have been added before, here or earlier."""
        slots, shift, bits = self.slots, self._shift, _BITS
        added: list[int] = []
        for one in ids:
            slot, bit = one >> shift, bits[one & 7]
            if slots[slot] & bit:
                added.append(one)
            else:
                slots[slot] |= bit
        return added

    def passing(self, ids: Iterable[int]) -> list[int]:
        """Return the ids that may have been added."""
        slots, shift, bits = self.slots, self._shift, _BITS
        return [one for one in ids if slots[one >> shift] & bits[one & 7]]
