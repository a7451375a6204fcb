"""Sorted ids on the worker's disk, with an index of fixed size in memory."""

from __future__ import annotations

import os
from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING, Final

from airflow_provider_fullstory.syncs.insert_ids.scratch import ID_BYTES, keys_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_fullstory.syncs.insert_ids.scratch import Scratch

#: With these, the first bits of an id lead to 76 ids when 10,000,000 are known, which one read gets.
_MOST_PART_BITS: Final = 17
_PART_IDS: Final = 64


class SortedIds:
    """
    Find ids among sorted ones, of which no two have the same key.

    Ids are hashes, so parts by their first bits have about the same size.

    :param scratch: Where they are.
    :param starts: How many ids are before each part there, and before the end of the last one.
    """

    def __init__(self, scratch: Scratch, starts: array[int]) -> None:
        self.starts = starts
        self._scratch = scratch
        self._shift = 65 - (len(starts) - 1).bit_length()

    @property
    def count(self) -> int:
        """How many ids there are."""
        return self.starts[-1] - self.starts[0]

    @property
    def id_bytes(self) -> int:
        """The bytes of an id."""
        return self._scratch.id_bytes

    def part(self, number: int, part_bits: int) -> array[int]:
        """
        Return the ids that begin with the same bits.

        :param number: These bits.
        :param part_bits: How many they are.
        """
        low, high = number << 64 - part_bits, (number + 1) << 64 - part_bits
        start, end = self.starts[low >> self._shift], self.starts[((high - 1) >> self._shift) + 1]
        ids = self._scratch.read(start, end - start)
        keys, numbers = keys_of(ids, self.id_bytes), self.id_bytes // ID_BYTES
        return ids[bisect_left(keys, low) * numbers : bisect_left(keys, high) * numbers]

    def among(self, ids: Iterable[int]) -> set[int]:
        """Return those ids that are here."""
        return self._found(ids, self.id_bytes)

    def replaced(self, ids: Iterable[int]) -> set[int]:
        """Return those keyed ids whose key is here with another content; other ids have no content."""
        if self.id_bytes == ID_BYTES:
            return set()
        here = self._found(ids, ID_BYTES)
        return here - self.among(here)

    def _found(self, ids: Iterable[int], compared: int) -> set[int]:
        """Return those ids of which there is one with the same first bytes."""
        found: set[int] = set()
        if not self.count:
            return found
        starts, id_bytes, pread = self.starts, self.id_bytes, os.pread
        shift = self._shift + 8 * (id_bytes - ID_BYTES)
        with self._scratch.descriptor() as descriptor:
            for one in ids:
                part = one >> shift
                start = starts[part]
                content = pread(descriptor, (starts[part + 1] - start) * id_bytes, start * id_bytes)
                if _holds(content, one.to_bytes(id_bytes, "big")[:compared], id_bytes):
                    found.add(one)
        return found


def write_sorted(scratch: Scratch, blocks: Iterable[array[int]], part_bits: int) -> SortedIds:
    """
    Write sorted ids after what is there already.

    :param scratch: Where.
    :param blocks: The ids, each with a higher key than those before.
    :param part_bits: How many of the first bits make a part.
    """
    starts, shift = array("Q"), 64 - part_bits
    for ids in blocks:
        if ids:
            count, keys = scratch.count, keys_of(ids, scratch.id_bytes)
            starts.extend(
                count + bisect_left(keys, part << shift)
                for part in range(len(starts), (keys[-1] >> shift) + 1)
            )
            scratch.append(ids)
    starts.extend([scratch.count] * (2**part_bits + 1 - len(starts)))
    return SortedIds(scratch, starts)


def part_bits_of(count: int) -> int:
    """
    Return how many bits make parts that are found and read fast.

    :param count: How many ids there are.
    """
    return min(_MOST_PART_BITS, (count // _PART_IDS).bit_length())


def _holds(content: bytes, wanted: bytes, id_bytes: int) -> bool:
    place = content.find(wanted)
    # The same bytes may also be the end of one id and the beginning of the next.
    while place > 0 and place % id_bytes:
        place = content.find(wanted, place + 1)
    return place >= 0
