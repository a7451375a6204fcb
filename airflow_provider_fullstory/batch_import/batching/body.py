"""The body of a batch: in memory while it is small, else on the worker's disk."""

from __future__ import annotations

import hashlib
import tempfile
from typing import IO, TYPE_CHECKING, Final

from airflow_provider_fullstory.exceptions import FullStoryDiskError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_MOST_IN_MEMORY: Final = 2**20
_PIECE_BYTES: Final = 2**18


class Body:
    """
    Hold the JSON of a batch.

    Iterating over it gives its bytes piece by piece, from the start each time, as an HTTP client takes them.
    Only one thread may iterate at a time.

    :param pieces: Its bytes.
    :raises FullStoryDiskError: If they cannot be written to the worker's disk.
    """

    def __init__(self, pieces: Iterable[bytes] = ()) -> None:
        # A file without a name is removed when the process ends, however it ends.
        self._file = tempfile.SpooledTemporaryFile(max_size=_MOST_IN_MEMORY)  # noqa: SIM115
        self._hash = hashlib.sha256()
        self._size = 0
        for piece in pieces:
            self.write(piece)

    def __len__(self) -> int:
        return self._size

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Body) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __iter__(self) -> Iterator[bytes]:
        file = self.open()
        while piece := file.read(_PIECE_BYTES):
            yield piece

    def __bytes__(self) -> bytes:
        return b"".join(self)

    def __del__(self) -> None:
        self._file.close()

    @property
    def digest(self) -> str:
        """SHA-256 of the bytes, in hex."""
        return self._hash.hexdigest()

    def open(self) -> IO[bytes]:
        """Return the bytes as a file, from the start; it belongs to the body."""
        self._file.seek(0)
        return self._file

    def write(self, content: bytes) -> None:
        """Add bytes at the end."""
        try:
            self._file.write(content)
        except OSError as error:
            raise FullStoryDiskError(
                f"A batch could not be written to {tempfile.gettempdir()} on the worker: {error}. Batches "
                "that are being sent lie there, each of up to max_batch_bytes: free some space, let TMPDIR "
                "name a larger disk, or set a smaller max_batch_bytes or max_parallel_uploads."
            ) from error
        self._hash.update(content)
        self._size += len(content)
