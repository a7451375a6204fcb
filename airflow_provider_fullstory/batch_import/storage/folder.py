"""A folder in object storage whose files are either complete or missing."""

from __future__ import annotations

import errno
import io
import shutil
import uuid
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, TypeVar

from airflow_provider_fullstory.exceptions import FullStoryError, FullStoryStorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from airflow.sdk import ObjectStoragePath

    from airflow_provider_fullstory.batch_import.storage.outages import Outages

_LOCAL: Final = ("", "file", "local")
_WILDCARDS: Final = frozenset("*?[")
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
#: How many bytes are read from a storage at once, however short the lines of a file are.
_PIECE_BYTES: Final = 2**18

T = TypeVar("T")


class Folder:
    """
    Read and write files in a folder of object storage.

    :param path: Its path; it need not exist.
    :param argument: The operator's argument that leads to it, for messages.
    :param outages: Waits out outages of the storage; by default no outage is waited out.
    """

    def __init__(
        self, path: ObjectStoragePath, argument: str = "state_uri", outages: Outages | None = None
    ) -> None:
        self._path = path
        self._argument = argument
        self._outages = outages

    def __str__(self) -> str:
        return str(self._path)

    def folder(self, name: str) -> Folder:
        """Return a folder in this one."""
        return Folder(self._path / name, self._argument, self._outages)

    def without_outages(self) -> Folder:
        """Return the same folder; no outage of it is waited out."""
        return Folder(self._path, self._argument)

    def location(self, name: str) -> str:
        """Return the URI of a file, for messages."""
        return str(self._path / name)

    def read(self, name: str) -> bytes | None:
        """Return the content of a file, None if there is no such file."""
        return self._lasting("read", lambda: self._read(name))

    def exists(self, name: str) -> bool:
        """Return whether there is such a file."""
        file = self.open(name)
        if file is not None:
            file.close()
        return file is not None

    def open(self, name: str) -> IO[bytes] | None:
        """
        Open a file to be read piece by piece; None if there is no such file.

        Only an outage before the first piece is waited out.
        """
        return self._lasting("read", lambda: self._opened(name))

    def _opened(self, name: str) -> IO[bytes] | None:
        failing = partial(self._failing, f"read {name} from")
        with failing():
            path = self._path / name
            # Another process may have written it since its folder was listed here.
            path.fs.invalidate_cache()
            try:
                file = self._open(path, "rb")
            except FileNotFoundError:
                return None
        return io.BufferedReader(_Pieces(file, failing), _PIECE_BYTES)

    def _read(self, name: str) -> bytes | None:
        file = self._opened(name)
        if file is None:
            return None
        with file:
            return file.read()

    def write(self, name: str, content: bytes | IO[bytes]) -> None:
        """
        Write a file as a whole: a reader finds it complete or missing, even after a crash.

        :param name: Its name.
        :param content: Its content; a file is copied piece by piece, from its position.
        """
        source = io.BytesIO(content) if isinstance(content, bytes) else content
        start = source.tell()

        def write() -> None:
            source.seek(start)
            self._write(name, source)

        self._lasting("write", write)

    def _write(self, name: str, source: IO[bytes]) -> None:
        with self._failing(f"write {name} to"):
            target = self._path / name
            if target.protocol not in _LOCAL:
                # Object storages have no folders, and show a file only once it is complete.
                self._copy(source, target)
                return
            with self._written_beside(target, source) as written:
                written.replace(target.path)

    def create(self, name: str, content: bytes) -> bytes:
        """
        Write a file unless it exists, and return its content.

        If several processes do this at the same time, one of them succeeds, and all get the content that it
        wrote: on disks, and on storages with conditional writes, as S3, Google Cloud Storage and Azure have
        through recent versions of s3fs, gcsfs and adlfs. On other storages, a process that is slower by the
        time of a request may overwrite the content that another process got.
        """
        return self._lasting("write", lambda: self._create(name, content))

    def _create(self, name: str, content: bytes) -> bytes:
        with self._failing(f"write {name} to"):
            target = self._path / name
            if target.protocol in _LOCAL:
                self._create_on_disk(target, content)
            else:
                try:
                    with self._open(target, "xb") as file:
                        file.write(content)
                except Exception:  # noqa: BLE001 - Each library has its own error for a file that exists.
                    if self._read(name) is None:
                        # The storage has no conditional writes, or fails again.
                        self._copy(io.BytesIO(content), target)
            return self._read(name) or b""

    def names(self, name: str = "") -> list[str]:
        """Return the names of files and folders in it, or in a folder of it; none if that does not exist."""
        return self._lasting("list", lambda: self._names(name))

    def _names(self, name: str) -> list[str]:
        with self._failing("list the files of"):
            path = self._path / name if name else self._path
            path.fs.invalidate_cache(path.path)
            try:
                entries = path.fs.ls(path.path, detail=False)
            except FileNotFoundError:
                return []
            return sorted({str(entry).rstrip("/").rpartition("/")[2] for entry in entries} - {""})

    def remove(self, name: str = "") -> None:
        """Remove a file or folder in it, or all of it; it need not exist."""
        self._lasting("remove", lambda: self._remove(name))

    def _remove(self, name: str) -> None:
        with self._failing("remove files from"):
            path = self._path / name if name else self._path
            try:
                if path.protocol in _LOCAL or _WILDCARDS.isdisjoint(path.path):
                    path.fs.rm(path.path, recursive=True)
                else:
                    # rm() takes the path for a pattern.
                    for file in path.fs.find(path.path):
                        path.fs.rm_file(file)
            except FileNotFoundError:
                return

    def _create_on_disk(self, target: Any, content: bytes) -> None:
        with self._written_beside(target, io.BytesIO(content)) as written, suppress(FileExistsError):
            try:
                Path(target.path).hardlink_to(written)
            except FileExistsError:
                raise
            except OSError:
                # Not every file system has hard links.
                with self._open(target, "xb") as file:
                    file.write(content)

    @contextmanager
    def _written_beside(self, target: Any, source: IO[bytes]) -> Iterator[Path]:
        """Write a temporary file beside a target on a disk."""
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.parent / f"{target.name}.{uuid.uuid4().hex}.partial"
        try:
            self._copy(source, beside)
            yield Path(beside.path)
        finally:
            with suppress(OSError):
                Path(beside.path).unlink(missing_ok=True)

    def _copy(self, source: IO[bytes], target: Any) -> None:
        with self._open(target, "wb") as file:
            shutil.copyfileobj(source, file)

    def _open(self, path: Any, mode: str) -> IO[bytes]:
        file: IO[bytes] = path.open(mode)
        return file

    def _lasting(self, kind: str, use: Callable[[], T]) -> T:
        if self._outages is None:
            return use()
        # Folders of different arguments may be in different storages.
        return self._outages.outlast(f"{kind} {self._argument}", use)

    @contextmanager
    def _failing(self, purpose: str) -> Iterator[None]:
        """Turn any failure into an error that names the file: libraries of storages have their own errors."""
        try:
            yield
        except FullStoryError:
            raise
        except Exception as error:
            advice = (
                "It is full: free some space"
                if getattr(error, "errno", None) in _FULL
                else f"Check {self._argument} and the permissions of its connection"
            )
            raise FullStoryStorageError(
                f"Could not {purpose} {self}: {type(error).__name__}: {error}. {advice}."
            ) from error


class _Pieces(io.RawIOBase):
    """
    Read a file in pieces of the requested size; some libraries read a whole block for each line.

    :param file: The open file.
    :param failing: Explains what goes wrong meanwhile.
    """

    def __init__(self, file: IO[bytes], failing: Callable[[], AbstractContextManager[None]]) -> None:
        self._file = file
        self._failing = failing

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with self._failing():
            piece = self._file.read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    def readall(self) -> bytes:
        with self._failing():
            return self._file.read()

    def close(self) -> None:
        if not self.closed:
            with suppress(Exception):
                # All that was needed has been read.
                self._file.close()
        super().close()
