"""Lines are read in blocks, whatever the storage and the compression, and none fills the memory."""

from __future__ import annotations

import bz2
import gzip
import io
import tracemalloc
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.spec import AbstractBufferedFile

from airflow_provider_fullstory.exceptions import FullStoryInputError
from airflow_provider_fullstory.sources.lines import MAX_LINE_BYTES, buffered, lines

if TYPE_CHECKING:
    from pathlib import Path

LINE = b'{"a": 1}\n'

#: Without the time, which would be part of the names of tests.
zipped = partial(gzip.compress, mtime=0)


def lines_of(content: bytes) -> list[bytes]:
    return list(lines(buffered(io.BytesIO(content)), "a.ndjson"))


class StoredFile(AbstractBufferedFile):  # type: ignore[misc]
    """A file as object storages have it: its readline reads a block, and goes back to the end of the line."""

    def __init__(self, content: bytes) -> None:
        super().__init__(MemoryFileSystem(), "a", size=len(content), block_size=5 * 2**20)
        self._content = content
        self.reads: list[int] = []

    def _fetch_range(self, start: int, end: int) -> bytes:
        return self._content[start:end]

    def read(self, length: int = -1) -> bytes:
        block: bytes = super().read(length)
        self.reads += [len(block)] if block else []
        return block


@pytest.mark.parametrize("compress", [lambda content: content, gzip.compress], ids=["plain", "gzip"])
def test_a_file_of_object_storage_is_read_once(compress: Any) -> None:
    content = compress(b"".join(b'{"a": %d}\n' % (number * 7919) for number in range(100_000)))
    file = StoredFile(content)

    assert sum(1 for _ in lines(buffered(file), "a")) == 100_000
    assert sum(file.reads) == len(content)
    assert len(file.reads) <= len(content) // 2**18 + 2


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", []),
        (b"a", [b"a"]),
        (b"\n", [b"\n"]),
        (b"a\n\nb", [b"a\n", b"\n", b"b"]),
        (b"a\r\nb\r\n", [b"a\r\n", b"b\r\n"]),
        (b"\x1f", [b"\x1f"]),
        (zipped(b""), []),
        (zipped(b"a\n") + zipped(b"b"), [b"a\n", b"b"]),
    ],
)
def test_lines_keep_their_breaks(content: bytes, expected: list[bytes]) -> None:
    assert lines_of(content) == expected


def test_only_gzip_is_unzipped() -> None:
    content = bz2.compress(LINE)

    assert b"".join(lines_of(content)) == content


def test_the_file_stays_open() -> None:
    file = io.BytesIO(LINE)
    reader = buffered(file)
    list(lines(reader, "a"))
    del reader

    assert not file.closed


def test_the_longest_line_passes_and_a_longer_one_does_not() -> None:
    longest = b"x" * (MAX_LINE_BYTES - 1) + b"\n"

    assert lines_of(LINE + longest + LINE) == [LINE, longest, LINE]
    with pytest.raises(FullStoryInputError, match=r"^Line 2 of a\.ndjson is longer than 32 MiB\."):
        lines_of(LINE + b"x" + longest + LINE)


def test_a_line_without_end_does_not_fill_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(256):
            file.write(b" " * 2**20)

    tracemalloc.start()
    try:
        with path.open("rb") as file, pytest.raises(FullStoryInputError, match=r"^Line 1 of bomb"):
            list(lines(buffered(file), "bomb"))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 3 * MAX_LINE_BYTES
