"""Files in object storage: written as a whole or not at all, read once, failures told."""

from __future__ import annotations

import errno
import gzip
import io
import threading
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.spec import AbstractBufferedFile

from airflow_provider_fullstory.batch_import.reporting.refused_file import RefusedFile
from airflow_provider_fullstory.batch_import.storage.folder import Folder
from airflow_provider_fullstory.exceptions import FullStoryStorageError
from airflow_provider_fullstory.records.kinds import EVENTS
from tests.conftest import attached

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def folder_at(uri: str) -> Folder:
    return Folder(ObjectStoragePath(uri), "rejected_uri")


@pytest.fixture(params=["disk", "storage"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, memory: str) -> Folder:
    """Give a folder of each kind."""
    return folder_at(f"file://{tmp_path}/folder" if request.param == "disk" else memory)


def test_a_file_is_created_once(folder: Folder) -> None:
    assert folder.create("a/b", b"first") == b"first"
    assert folder.create("a/b", b"second") == b"first"
    assert folder.read("a/b") == b"first"
    folder.remove("a/b")
    assert folder.create("a/b", b"third") == b"third"


def test_of_many_that_create_a_file_at_once_all_learn_who_did(tmp_path: Path) -> None:
    folder, held, start = folder_at(f"file://{tmp_path}"), [], threading.Barrier(8)

    def create(content: bytes) -> None:
        start.wait(10)
        held.append(folder.create("claim", content))

    threads = [threading.Thread(target=create, args=(b"%d" % number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert held == [folder.read("claim")] * 8
    assert [path.name for path in tmp_path.iterdir()] == ["claim"]


def test_a_disk_without_hard_links_has_exclusive_files_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("pathlib.Path.hardlink_to", refuse)
    folder = folder_at(f"file://{tmp_path}")
    assert folder.create("claim", b"first") == b"first"
    assert folder.create("claim", b"second") == b"first"
    assert [path.name for path in tmp_path.iterdir()] == ["claim"]


class LibraryError(Exception):
    """What botocore and azure-core raise is no OSError either."""


class Broken(MemoryFileSystem):
    """A storage that fails at one operation."""

    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    cachable = False
    breaks = ""

    def open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        if self.breaks == mode:
            raise LibraryError("the token has expired")
        file = super().open(path, mode, **options)
        return _BrokenPieces(file) if self.breaks == "piece" else file

    def rm(self, path: str, **options: Any) -> None:
        if self.breaks == "rm":
            raise LibraryError("the token has expired")
        super().rm(path, **options)


class _BrokenPieces(io.RawIOBase):
    """A file that gives a piece, and then breaks."""

    def __init__(self, file: Any) -> None:
        self._pieces = [file.read(10)]

    def read(self, size: int = -1) -> bytes:
        if size < 0 or not self._pieces:
            raise LibraryError("the token has expired")
        piece: bytes = self._pieces.pop()
        return piece


@pytest.mark.parametrize(
    ("breaks", "act", "purpose"),
    [
        ("rb", lambda folder: folder.read("a"), "read a from"),
        ("rb", lambda folder: folder.open("a"), "read a from"),
        ("rb", lambda folder: folder.exists("a"), "read a from"),
        ("piece", lambda folder: list(folder.open("a")), "read a from"),
        ("piece", lambda folder: folder.read("a"), "read a from"),
        ("wb", lambda folder: folder.write("a", b""), "write a to"),
        ("wb", lambda folder: folder.write("a", io.BytesIO(b"x" * 100)), "write a to"),
        ("rb", lambda folder: folder.create("b", b""), "read b from"),
        ("rm", lambda folder: folder.remove("a"), "remove files from"),
        ("rm", lambda folder: folder.remove(), "remove files from"),
    ],
)
def test_an_error_of_a_storage_library_is_one_of_ours(
    breaks: str, act: Callable[[Folder], Any], purpose: str
) -> None:
    Broken.store.clear()
    storage = Broken()
    uri = attached(storage)
    folder = folder_at(uri)
    folder.write("a", b"0123456789" * 10)
    storage.breaks = breaks
    with pytest.raises(FullStoryStorageError) as caught:
        act(folder)
    assert str(caught.value) == (
        f"Could not {purpose} {ObjectStoragePath(uri)}: LibraryError: the token has expired. Check "
        "rejected_uri and the permissions of its connection."
    )


def test_a_storage_without_conditions_that_fails_says_so() -> None:
    class Failing(MemoryFileSystem):
        store: ClassVar[dict[str, Any]] = {}

        def open(self, path: str, mode: str = "rb", **options: Any) -> Any:
            if mode != "rb":
                raise LibraryError("the token has expired")
            return super().open(path, mode, **options)

    with pytest.raises(FullStoryStorageError, match=r"^Could not write a to .*: LibraryError"):
        folder_at(attached(Failing())).create("a", b"")


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("shutil.copyfileobj", full)
    folder = folder_at(f"file://{tmp_path}")
    for act in (folder.write, folder.create):
        with pytest.raises(FullStoryStorageError) as caught:
            act("a", b"content")
        assert str(caught.value) == (
            f"Could not write a to file://{tmp_path}: OSError: [Errno 28] No space left on device. It is "
            "full: free some space."
        )
    assert list(tmp_path.iterdir()) == []


class CountedFile(AbstractBufferedFile):
    """A file whose lines fsspec would look for in a whole block each, as s3fs's are."""

    content = b""
    given = 0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, size=len(self.content), block_size=50 * 2**20, **options)

    def _fetch_range(self, start: int, end: int) -> bytes:
        return self.content[start:end]

    def read(self, length: int = -1) -> bytes:
        piece: bytes = super().read(length)
        type(self).given += len(piece)
        return piece


@pytest.mark.parametrize("name", ["file.ndjson", "file.ndjson.gz"])
def test_a_file_is_read_once_however_short_its_lines_are(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Storage(MemoryFileSystem):
        store: ClassVar[dict[str, Any]] = {}

        def open(self, path: str, mode: str = "rb", **_: Any) -> Any:
            return CountedFile(self, path, mode)

    lines = b'{"refusal": {"import": "A", "outcome": "invalid"}}\n' * 20_000
    monkeypatch.setattr(CountedFile, "content", gzip.compress(lines) if name.endswith("gz") else lines)
    monkeypatch.setattr(CountedFile, "given", 0)
    file = RefusedFile(EVENTS, folder_at(attached(Storage())), name, "A", name)
    assert file.is_complete(20_000, {})
    assert CountedFile.given == len(CountedFile.content)
