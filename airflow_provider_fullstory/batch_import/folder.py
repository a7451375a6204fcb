"""Files of an import in object storage: complete, or not there at all."""

from __future__ import annotations

import io
import shutil
import uuid
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Final

from airflow_provider_fullstory.exceptions import FullStoryStorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.sdk import ObjectStoragePath

_LOCAL: Final = ("", "file", "local")
_WILDCARDS: Final = frozenset("*?[")


class Folder:
    """
    A folder in object storage.

    :param path: Where it is; it need not exist.
    :param argument: The operator's argument that led to it, for messages.
    """

    def __init__(self, path: ObjectStoragePath, argument: str = "state_uri") -> None:
        self._path = path
        self._argument = argument

    def __str__(self) -> str:
        return str(self._path)

    def folder(self, name: str) -> Folder:
        """
        Return a folder in this one.

        :param name: Its name.
        """
        return Folder(self._path / name, self._argument)

    def read(self, name: str) -> bytes | None:
        """
        Return what a file holds, None where there is no such file.

        :param name: Its name.
        """
        file = self.open(name)
        if file is None:
            return None
        with file, self._failing(f"read {name} from"):
            return file.read()

    def open(self, name: str) -> IO[bytes] | None:
        """
        Open a file to be read piece by piece, None where there is no such file.

        :param name: Its name.
        """
        with self._failing(f"read {name} from"):
            try:
                return self._open(self._path / name, "rb")
            except FileNotFoundError:
                return None

    def write(self, name: str, content: bytes | IO[bytes]) -> None:
        """
        Write a file as a whole: whoever reads meanwhile, or after a crash, finds it complete or not at all.

        :param name: Its name.
        :param content: What it is to hold; a file is copied piece by piece, from where it stands.
        """
        source = io.BytesIO(content) if isinstance(content, bytes) else content
        with self._failing(f"write {name} to"):
            target = self._path / name
            if target.protocol not in _LOCAL:
                # Object storages know no folders, and show a file only once it is complete.
                self._copy(source, target)
                return
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.parent / f"{target.name}.{uuid.uuid4().hex}.partial"
            self._copy(source, partial)
            target.fs.mv(partial.path, target.path)

    def names(self, name: str = "") -> list[str]:
        """
        Return the names of what is in it, or in one of its folders; none where that does not exist.

        :param name: Name of a folder.
        """
        with self._failing("list the files of"):
            path = self._path / name if name else self._path
            path.fs.invalidate_cache(path.path)
            try:
                entries = path.fs.ls(path.path, detail=False)
            except FileNotFoundError:
                return []
            return sorted({str(entry).rstrip("/").rpartition("/")[2] for entry in entries} - {""})

    def remove(self, name: str = "") -> None:
        """
        Remove something in it, or all of it; what does not exist is as good as removed.

        :param name: Name of a file or a folder.
        """
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

    def _copy(self, source: IO[bytes], target: Any) -> None:
        with self._open(target, "wb") as file:
            shutil.copyfileobj(source, file)

    def _open(self, path: Any, mode: str) -> IO[bytes]:
        file: IO[bytes] = path.open(mode)
        return file

    @contextmanager
    def _failing(self, purpose: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            raise FullStoryStorageError(
                f"Could not {purpose} {self}: {type(error).__name__}: {error}. Check {self._argument} and "
                "the permissions of its connection."
            ) from error
