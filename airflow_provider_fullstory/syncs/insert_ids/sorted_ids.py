"""Sorted ids on the worker's disk, with an index of fixed size in memory."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING

from airflow_provider_fullstory.syncs.insert_ids.scratch import ID_BYTES, from_bytes

if TYPE_CHECKING:
    from airflow_provider_fullstory.syncs.insert_ids.scratch import Scratch


class SortedIds:
    """
    Find ids among sorted ones.

    Ids are hashes, so parts by their first bits have about the same size.

    :param scratch: Where they are written, after what is there already.
    :param part_bits: How many of the first bits make a part.
    """

    def __init__(self, scratch: Scratch, part_bits: int) -> None:
        self.parts = 2**part_bits
        self._scratch = scratch
        self._shift = 64 - part_bits
        self._starts = array("Q")

    def append(self, ids: array[int]) -> None:
        """Add sorted ids, all of them higher than those before."""
        if not ids:
            return
        starts, count = self._starts, self._scratch.count
        for part in range(len(starts), (ids[-1] >> self._shift) + 1):
            starts.append(count + bisect_left(ids, part << self._shift))
        self._scratch.append(ids)

    def finish(self) -> None:
        """Say that there are no more."""
        self._starts.extend([self._scratch.count] * (self.parts + 1 - len(self._starts)))

    def part(self, number: int) -> array[int]:
        """Return the ids of a part."""
        return from_bytes(self._bytes(number))

    def __contains__(self, one: int) -> bool:
        content, wanted = self._bytes(one >> self._shift), one.to_bytes(ID_BYTES, "big")
        place = content.find(wanted)
        # The same bytes may also be the end of one id and the beginning of the next.
        while place % ID_BYTES and place > 0:
            place = content.find(wanted, place + 1)
        return place >= 0

    def _bytes(self, part: int) -> bytes:
        start, end = self._starts[part], self._starts[part + 1]
        return self._scratch.read(start, end - start) if end > start else b""
