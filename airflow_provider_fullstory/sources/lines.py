"""Lines of a file in any storage, plain or gzip: read in blocks, and none longer than memory bears."""

from __future__ import annotations

import dataclasses
import functools
import gzip
import io
from typing import IO, TYPE_CHECKING, Any, Final, TypeAlias

from airflow_provider_fullstory.exceptions import FullStoryInputError

if TYPE_CHECKING:
    from collections.abc import Iterator

#: A few bytes of gzip can hold a line that never ends.
MAX_LINE_BYTES: Final = 32 * 2**20
#: Object storages answer each request with what they have in a buffer of megabytes: ask them rarely.
_BLOCK_BYTES: Final = 2**18
_GZIP: Final = b"\x1f\x8b"

Reader: TypeAlias = "io.BufferedReader[Any] | gzip.GzipFile"


@dataclasses.dataclass(frozen=True, slots=True)
class Unreadable:
    """
    A line of a file that cannot be read as a record, since it is not JSON.

    :param text: The line.
    :param line: Which one it is, for a person.
    :param problem: What is wrong with it; None if it is nested too deep, or has too large a number.
    """

    text: str = dataclasses.field(repr=False)
    line: str
    problem: str | None


class _Blocks(io.RawIOBase):
    """What a file gives, whatever else its class can do: not each one can be buffered as it is."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        block = self._file.read(len(buffer))
        buffer[: len(block)] = block
        return len(block)


def buffered(file: IO[bytes]) -> Reader:
    """
    Return a reader of a file's content: buffered, and unzipped if the content is gzip, whatever its name.

    The file is not closed with it.

    :param file: A file that is open for reading.
    """
    reader = io.BufferedReader(_Blocks(file), _BLOCK_BYTES)
    return gzip.GzipFile(fileobj=reader) if reader.peek(len(_GZIP)).startswith(_GZIP) else reader


def lines(reader: Reader, name: str) -> Iterator[bytes]:
    """
    Yield the lines of a file, each with its line break.

    :param reader: What :func:`buffered` returned.
    :param name: What to call the file in an error.
    :raises FullStoryInputError: If a line is longer than 32 MiB, as soon as that much of it is read.
    """
    # One byte more shows that a line continues.
    read = functools.partial(reader.readline, MAX_LINE_BYTES + 1)
    for number, line in enumerate(iter(read, b""), start=1):
        if len(line) > MAX_LINE_BYTES:
            raise FullStoryInputError(
                f"Line {number} of {name} is longer than {MAX_LINE_BYTES // 2**20} MiB. "
                "It must be newline-delimited JSON, one record a line."
            )
        yield line
