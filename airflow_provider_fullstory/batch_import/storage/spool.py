"""The lines of a file on the worker's disk, until the file is written to object storage."""

from __future__ import annotations

import gzip
import tempfile
from contextlib import ExitStack, suppress
from typing import IO, Self

from airflow_provider_fullstory.exceptions import FullStoryDiskError


class Spool:
    """
    Hold the lines of a file on the worker's disk: a file in object storage is written as a whole.

    :param name: Name of the file; ``.gz`` at its end compresses it.
    :raises FullStoryDiskError: If the disk does not take them.
    """

    def __init__(self, name: str) -> None:
        self._is_compressed = name.endswith(".gz")
        self._stack = ExitStack()
        self.records = 0

    def __enter__(self) -> Self:
        try:
            self._file: IO[bytes] = self._stack.enter_context(tempfile.TemporaryFile())
        except OSError as error:
            raise _disk_failed(error) from error
        self._out: IO[bytes] | gzip.GzipFile = (
            gzip.open(self._file, "wb") if self._is_compressed else self._file
        )
        return self

    def __exit__(self, *exception: object) -> None:
        # A full disk does not take the rest either.
        with suppress(OSError):
            self._out.close()
        with suppress(OSError):
            self._stack.close()

    def write(self, line: bytes) -> None:
        """Add a line."""
        try:
            self._out.write(line)
        except OSError as error:
            raise _disk_failed(error) from error
        self.records += 1

    def finished(self) -> IO[bytes]:
        """Return the file from its beginning."""
        try:
            if self._is_compressed:
                self._out.close()
            self._file.seek(0)
        except OSError as error:
            raise _disk_failed(error) from error
        return self._file


def _disk_failed(error: OSError) -> FullStoryDiskError:
    return FullStoryDiskError(
        f"Refused records could not be written to {tempfile.tempdir or 'a temporary folder'} on the worker: "
        f"{error}. They stay there until their file is complete: free some space, or set TMPDIR to a larger "
        "disk."
    )
