"""Sorted ids are found exactly, wherever they are in the file."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, strategies as st

from airflow_provider_fullstory.records.insert_ids import key_of, keyed_ids
from airflow_provider_fullstory.syncs.insert_ids.scratch import Scratch
from airflow_provider_fullstory.syncs.insert_ids.sorted_ids import part_bits_of, write_sorted

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Ids of few different bytes, so that the end of one and the beginning of the next often look like another.
ALIKE = st.lists(st.sampled_from(b"\0\1\xff"), min_size=8, max_size=8).map(int.from_bytes)


@pytest.fixture
def scratch() -> Iterator[Scratch]:
    with Scratch() as scratch:
        yield scratch


@given(st.sets(ALIKE), st.sets(ALIKE), st.integers(0, 12), st.integers(1, 9), st.integers(0, 9))
def test_exactly_what_was_added_is_found(
    ids: set[int], others: set[int], part_bits: int, block: int, other_bits: int
) -> None:
    with Scratch() as scratch:
        # What the file holds already is not part of it.
        scratch.append(array("Q", sorted(others)))
        listed = sorted(ids)
        blocks = [array("Q", listed[start : start + block]) for start in range(0, len(listed), block)]
        there = write_sorted(scratch, blocks, part_bits)
        scratch.append(array("Q", sorted(others)))
        assert there.count == len(ids)
        assert there.among(ids | others) == ids
        parts = [there.part(number, other_bits) for number in range(2**other_bits)]
    assert [one for part in parts for one in part] == listed
    assert all(one >> (64 - other_bits) == number for number, part in enumerate(parts) for one in part)


def test_bytes_across_two_ids_are_not_an_id(scratch: Scratch) -> None:
    ids = write_sorted(scratch, [array("Q", [0x0102030405060708, 0x1112131415161718])], 0)
    across = 0x0506070811121314
    assert ids.among([across]) == set()
    ids = write_sorted(scratch, [array("Q", [0x0102030405060708, across, 0x1112131415161718])], 0)
    assert ids.among([across, 0x1112131415161718, 1]) == {across, 0x1112131415161718}


def test_where_no_ids_are_none_is_found(scratch: Scratch) -> None:
    for ids in (write_sorted(scratch, [array("Q")], 4), write_sorted(scratch, [], 0)):
        assert ids.among([0, 2**64 - 1]) == set()
        assert ids.count == 0


@pytest.mark.parametrize(("count", "part_bits"), [(0, 0), (63, 0), (64, 1), (10_000_000, 17), (10**9, 17)])
def test_more_ids_have_more_parts_up_to_a_limit(count: int, part_bits: int) -> None:
    assert part_bits_of(count) == part_bits


@given(st.dictionaries(ALIKE, ALIKE), st.sets(st.tuples(ALIKE, ALIKE)), st.integers(0, 12), st.integers(0, 9))
def test_keyed_ids_are_found_by_all_of_them_and_by_their_key(
    contents: dict[int, int], others: set[tuple[int, int]], part_bits: int, other_bits: int
) -> None:
    pairs = sorted(contents.items())
    ids = set(keyed_ids(contents, contents.values()))
    asked = ids.union(keyed_ids([key for key, _ in others], [content for _, content in others]))
    with Scratch(16) as scratch:
        blocks = [array("Q", pair) for pair in pairs]
        there = write_sorted(scratch, blocks, part_bits)
        assert there.count == len(pairs)
        assert there.among(asked) == ids
        assert there.replaced(asked) == {one for one in asked - ids if key_of(one) in contents}
        parts = [there.part(number, other_bits) for number in range(2**other_bits)]
    assert [one for part in parts for one in part] == [number for pair in pairs for number in pair]
    assert all(key >> (64 - other_bits) == number for number, part in enumerate(parts) for key in part[::2])


def test_ids_without_a_key_are_never_replaced(scratch: Scratch) -> None:
    ids = write_sorted(scratch, [array("Q", [1, 2])], 0)
    assert ids.replaced([1, 2, 3]) == set()
