"""Ids on the worker's disk are those that were written, and a disk that takes no more is told."""

from __future__ import annotations

import tempfile
from array import array
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_fullstory.exceptions import FullStoryDiskError
from airflow_provider_fullstory.syncs.insert_ids import scratch as module
from airflow_provider_fullstory.syncs.insert_ids.scratch import (
    Scratch,
    contents_of,
    from_bytes,
    keys_of,
    to_bytes,
)


def test_ids_are_8_bytes_with_the_highest_first() -> None:
    ids = array("Q", [1, 2**64 - 2, 0])
    assert to_bytes(ids) == b"\0\0\0\0\0\0\0\1" + b"\xff" * 7 + b"\xfe" + b"\0" * 8
    assert from_bytes(to_bytes(ids)) == ids == array("Q", [1, 2**64 - 2, 0])


def test_ids_can_be_read_while_others_are_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK_IDS", 4)
    with Scratch() as scratch:
        for start in range(0, 9, 3):
            scratch.append(array("Q", range(start, start + 3)))
            assert scratch.count == start + 3
            assert [one for block in scratch.blocks() for one in block] == list(range(start + 3))
        assert [len(block) for block in scratch.blocks()] == [4, 4, 1]
        assert scratch.read(2, 3) == array("Q", [2, 3, 4])
        assert scratch.content().read() == to_bytes(array("Q", range(9)))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_a_full_disk_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def full_file(*_: Any) -> Any:
        return Path("/dev/full").open("wb")

    monkeypatch.setattr(tempfile, "TemporaryFile", full_file)
    told = r"No space left on device\. .*set TMPDIR to a larger disk"
    with Scratch() as scratch, pytest.raises(FullStoryDiskError, match=told):
        scratch.append(array("Q", bytes(2**20)))


def test_keyed_ids_are_two_numbers_each() -> None:
    numbers = array("Q", [1, 5, 2, 6, 3, 7])
    with Scratch(16) as scratch:
        scratch.append(numbers)
        assert scratch.count == 3
        assert scratch.read(1, 2) == numbers[2:]
        assert list(scratch.blocks()) == [numbers]
    assert (keys_of(numbers, 16), contents_of(numbers, 16)) == (numbers[::2], numbers[1::2])
    assert keys_of(numbers, 8) == contents_of(numbers, 8) == numbers
