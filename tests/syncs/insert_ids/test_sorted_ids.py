"""Sorted ids are found exactly, wherever they are in the file."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, strategies as st

from airflow_provider_fullstory.syncs.insert_ids.scratch import Scratch
from airflow_provider_fullstory.syncs.insert_ids.sorted_ids import SortedIds

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Ids of few different bytes, so that the end of one and the beginning of the next often look like another.
ALIKE = st.lists(st.sampled_from(b"\0\1\xff"), min_size=8, max_size=8).map(int.from_bytes)


@pytest.fixture
def scratch() -> Iterator[Scratch]:
    with Scratch() as scratch:
        yield scratch


@given(st.sets(ALIKE), st.sets(ALIKE), st.integers(0, 12), st.integers(1, 9))
def test_exactly_what_was_added_is_found(ids: set[int], others: set[int], part_bits: int, block: int) -> None:
    with Scratch() as scratch:
        # What the file holds already is not part of it.
        scratch.append(array("Q", sorted(others)))
        there = SortedIds(scratch, part_bits)
        listed = sorted(ids)
        for start in range(0, len(listed), block):
            there.append(array("Q", listed[start : start + block]))
        there.finish()
        assert there.among(ids | others) == ids
        parts = [there.part(number) for number in range(2**part_bits)]
    assert [one for part in parts for one in part] == listed


def test_bytes_across_two_ids_are_not_an_id(scratch: Scratch) -> None:
    ids = SortedIds(scratch, 0)
    ids.append(array("Q", [0x0102030405060708, 0x1112131415161718]))
    ids.finish()
    across = 0x0506070811121314
    assert ids.among([across]) == set()
    ids = SortedIds(scratch, 0)
    ids.append(array("Q", [0x0102030405060708, across, 0x1112131415161718]))
    ids.finish()
    assert ids.among([across, 0x1112131415161718, 1]) == {across, 0x1112131415161718}


def test_where_no_ids_are_none_is_found(scratch: Scratch) -> None:
    ids = SortedIds(scratch, 4)
    ids.append(array("Q"))
    ids.finish()
    assert ids.among([0, 2**64 - 1]) == set()
