"""Sorted ids on the worker's disk, with an index of fixed size in memory."""

from __future__ import annotations

import os
from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING

from airflow_provider_fullstory.syncs.insert_ids.scratch import ID_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable

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
        start, end = self._starts[number], self._starts[number + 1]
        return self._scratch.read(start, end - start)

    def among(self, ids: Iterable[int]) -> set[int]:
        """Return those ids that are here."""
        found: set[int] = set()
        starts, shift, pread = self._starts, self._shift, os.pread
        with self._scratch.descriptor() as descriptor:
            for one in ids:
                part = one >> shift
                start = starts[part]
                content = pread(descriptor, (starts[part + 1] - start) * ID_BYTES, start * ID_BYTES)
                if _holds(content, one.to_bytes(ID_BYTES, "big")):
                    found.add(one)
        return found


def _holds(content: bytes, wanted: bytes) -> bool:
    place = content.find(wanted)
    # The same bytes may also be the end of one id and the beginning of the next.
    while place > 0 and place % ID_BYTES:
        place = content.find(wanted, place + 1)
    return place >= 0
