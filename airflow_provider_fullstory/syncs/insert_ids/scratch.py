"""Insert ids on the worker's disk, while an import runs."""

from __future__ import annotations

import os
import sys
import tempfile
from array import array
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Final, Self

from airflow_provider_fullstory.exceptions import FullStoryDiskError

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The bytes of an insert id, and of each half of a keyed one.
ID_BYTES: Final = 8
#: How many ids are in memory at once.
BLOCK_IDS: Final = 2**16


def to_bytes(ids: array[int]) -> bytes:
    """Return ids as files hold them: 8 bytes each, or each half, the highest first."""
    if sys.byteorder == "little":
        ids = ids[:]
        ids.byteswap()
    return ids.tobytes()


def from_bytes(content: bytes) -> array[int]:
    """Return the ids that `to_bytes` turned into bytes."""
    ids = array("Q", content)
    if sys.byteorder == "little":
        ids.byteswap()
    return ids


def keys_of(ids: array[int], id_bytes: int) -> array[int]:
    """
    Return the keys of keyed ids; any other id is its own key.

    :param id_bytes: The bytes of an id.
    """
    return ids[:: id_bytes // ID_BYTES]


def contents_of(ids: array[int], id_bytes: int) -> array[int]:
    """
    Return the contents of keyed ids; any other id is its own content.

    :param id_bytes: The bytes of an id.
    """
    numbers = id_bytes // ID_BYTES
    return ids[numbers - 1 :: numbers]


class Scratch:
    """
    Hold ids in a file without a name: it goes when it is closed, or with the process.

    In an array, a keyed id is two numbers: its key, and then its content.

    :param id_bytes: The bytes of an id.
    :raises FullStoryDiskError: If the disk does not take them.
    """

    def __init__(self, id_bytes: int = ID_BYTES) -> None:
        with _disk():
            self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self.count = 0
        self.id_bytes = id_bytes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the file."""
        # A full disk does not take the rest either.
        with suppress(OSError):
            self._file.close()

    def append(self, ids: array[int]) -> None:
        """Add ids at the end."""
        self.write(to_bytes(ids))

    def write(self, content: bytes) -> None:
        """Add ids at the end, as files hold them."""
        with _disk():
            self._file.write(content)
        self.count += len(content) // self.id_bytes

    @contextmanager
    def descriptor(self) -> Iterator[int]:
        """Give the descriptor of the file, to read many pieces with little effort for each."""
        with _disk():
            self._file.flush()
            yield self._file.fileno()

    def read(self, start: int, count: int) -> array[int]:
        """
        Return some ids.

        :param start: How many ids are before them.
        :param count: How many they are.
        """
        with self.descriptor() as descriptor:
            return from_bytes(os.pread(descriptor, count * self.id_bytes, start * self.id_bytes))

    def blocks(self) -> Iterator[array[int]]:
        """Yield all ids, block by block."""
        for start in range(0, self.count, BLOCK_IDS):
            yield self.read(start, min(BLOCK_IDS, self.count - start))

    def content(self) -> IO[bytes]:
        """Return the file, at its beginning."""
        with _disk():
            self._file.seek(0)
        return self._file


@contextmanager
def _disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FullStoryDiskError(
            f"Insert ids could not be written to {tempfile.tempdir or 'a temporary folder'} on the worker: "
            f"{error}. All that the sync has imported lie there during an import, 8 or 16 bytes each, "
            "and at times twice that while it begins: free some space, or set TMPDIR to a larger disk."
        ) from error
