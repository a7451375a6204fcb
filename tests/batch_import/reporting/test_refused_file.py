"""A file of refused records has one owner, whatever two imports do at the same moment."""

from __future__ import annotations

import itertools
import json
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, Final

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_fullstory.api.jobs import RecordError
from airflow_provider_fullstory.batch_import.batching.batch import Batch, BatchFingerprints
from airflow_provider_fullstory.batch_import.batching.body import Body
from airflow_provider_fullstory.batch_import.reporting.fingerprints import SentImport
from airflow_provider_fullstory.batch_import.reporting.refused_file import RefusedFile
from airflow_provider_fullstory.batch_import.storage.folder import Folder
from airflow_provider_fullstory.exceptions import FullStoryDiskError, FullStoryInputError
from airflow_provider_fullstory.records.kinds import EVENTS
from airflow_provider_fullstory.records.refusals import InvalidRecord, Refusal
from tests.conftest import attached

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


#: The kind of storage where two may write the same file at the same moment.
PLAIN: Final = "storage without conditions"


class PlainStorage(MemoryFileSystem):
    """An object storage that writes whatever there is, as old ones do; nobody else shares its files."""

    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]

    def open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        if "x" in mode:
            raise NotImplementedError("File mode not supported")
        return super().open(path, mode, **options)


@pytest.fixture(params=["disk", "storage", PLAIN])
def kind(request: pytest.FixtureRequest) -> str:
    """Give each kind of storage."""
    kind: str = request.param
    return kind


@pytest.fixture
def root(kind: str, memory: str, tmp_path: Path) -> str:
    """Give the URI of a folder."""
    if kind == "disk":
        return f"file://{tmp_path}"
    PlainStorage.store.clear()
    return attached(PlainStorage()) if kind == PLAIN else memory


class Import:
    """
    One import with an invalid record, and one that FullStory rejects.

    :param uri: Where the file is.
    :param name: What names the import.
    :param refuses: Whether any record is refused.
    """

    def __init__(self, uri: str, name: str, *, refuses: bool = True) -> None:
        folder = Folder(ObjectStoragePath(uri), "rejected_uri")
        self.file = RefusedFile(EVENTS, folder, "file.ndjson", name, f"{uri}/file.ndjson")
        self.name = name
        self.refuses = refuses
        self.error: FullStoryInputError | None = None
        self.has_sent = False

    def run(self) -> None:
        try:
            self.submit()
            self.complete()
        except FullStoryInputError as error:
            self.error = error

    def submit(self) -> None:
        """Do what the operator does until all is sent."""
        with self.file.claimed():
            with self.file.writing(SentImport()) as invalid:
                fingerprints = BatchFingerprints()
                fingerprints.add(b"{}", 2)
                batch = Batch((1,), Body(), "digest", 1, "key", fingerprints)
                for _ in self.file.fingerprints.kept([batch]):
                    self.has_sent = True
                if self.refuses:
                    refusal = Refusal("required_field", "name is missing")
                    invalid.add([InvalidRecord(1, refusal, {"x": self.name})])
                invalid.commit()
            self.file.write_sent_import(SentImport(jobs={self.name: "1"}))

    def complete(self) -> None:
        """Do what is done once FullStory has finished."""
        refused = RecordError(code="user_not_found", event={"name": self.name})
        if not self.file.is_complete(int(self.refuses), {self.name: 1} if self.refuses else {}):
            self.file.add_rejected([(self.name, [refused])] if self.refuses else [], int(self.refuses))
        self.file.release()


def owners(uri: str) -> list[str]:
    """Return whose lines the file has."""
    path = ObjectStoragePath(f"{uri}/file.ndjson")
    return (
        [json.loads(line)["refusal"]["import"] for line in path.read_bytes().splitlines()]
        if path.exists()
        else []
    )


class Turns:
    """Let two threads work by turns, a step at each operation on the storage."""

    def __init__(self) -> None:
        self._may_step = {name: threading.Semaphore(0) for name in "AB"}
        self._is_waiting = {name: threading.Semaphore(0) for name in "AB"}
        self._is_done = dict.fromkeys("AB", False)

    def step(self) -> None:
        """Wait for the turn of the thread that calls."""
        name = threading.current_thread().name
        if name in self._may_step:
            self._is_waiting[name].release()
            self._may_step[name].acquire()

    def begin(self, *imports: Import) -> list[threading.Thread]:
        threads = []
        for one in imports:

            def work(one: Import = one) -> None:
                try:
                    one.run()
                finally:
                    self._is_done[one.name] = True
                    self._is_waiting[one.name].release()

            threads.append(threading.Thread(target=work, name=one.name, daemon=True))
        for thread in threads:
            thread.start()
            assert self._is_waiting[thread.name].acquire(timeout=10)
        return threads

    def let(self, name: str, steps: int | None = None) -> bool:
        """Let a thread take that number of steps, or all; return whether it took them."""
        for _ in range(steps) if steps is not None else itertools.count():
            if self._is_done[name]:
                return False
            self._may_step[name].release()
            assert self._is_waiting[name].acquire(timeout=10)
        return True


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Turns]:
    """Make every operation on a storage a step."""
    current: list[Turns] = []

    def stepping(original: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any) -> Any:
            current[-1].step()
            return original(*arguments)

        return step

    for name in ("_open", "remove"):
        monkeypatch.setattr(Folder, name, stepping(getattr(Folder, name)))

    def make() -> Turns:
        current.append(Turns())
        return current[-1]

    return make


@pytest.mark.parametrize(("a", "b"), [(True, True), (True, False)])
def test_no_line_is_lost_however_two_imports_come_between_each_other(
    root: str, kind: str, turns: Callable[[], Turns], *, a: bool, b: bool
) -> None:
    """One goes some steps of its 30, then the other, then the first to its end, and the other to its own."""
    ends, late = set(), []
    for first, second in itertools.product(range(30), (0, 6, 9, 12, 24, 40)):
        uri = f"{root}/{first}-{second}"
        imports = [Import(uri, "A", refuses=a), Import(uri, "B", refuses=b)]
        turn = turns()
        threads = turn.begin(*imports)
        turn.let("A", first)
        turn.let("B", second)
        turn.let("A")
        turn.let("B")
        for thread in threads:
            thread.join(10)
        ends.add(tuple(one.error is None for one in imports))
        expected = [one.name for one in imports if one.error is None and one.refuses for _ in range(2)]
        failed = [str(one.error) for one in imports if one.error is not None and one.has_sent]
        if failed:
            late += failed
            assert owners(uri) == expected or "may be lost" in failed[0] or not expected
        else:
            assert owners(uri) == expected
            assert not ObjectStoragePath(f"{uri}/file.ndjson.claim").exists()
            assert not ObjectStoragePath(f"{uri}/file.ndjson.sent").exists()
    assert (True, False) in ends
    assert (False, True) in ends
    # Who is turned away is so before anything is sent, where the storage can say who was first.
    assert not late or kind == PLAIN
    assert late or kind != PLAIN or not b


def test_a_claim_outlives_all_but_the_account_of_its_import(root: str) -> None:
    Import(root, "A", refuses=False).submit()
    for _ in range(2):
        other = Import(root, "B")
        other.run()
        assert not other.has_sent
        assert str(other.error).startswith(
            f"rejected_uri is {root}/file.ndjson, which is claimed for the refused records of A since 20"
        )
        assert "Nothing was sent. Give each run its own" in str(other.error)
        assert str(other.error).endswith(f"remove {ObjectStoragePath(f'{root}/file.ndjson.claim')}.")
    # A try of the same import is the same owner.
    again = Import(root, "A")
    again.run()
    assert again.error is None
    assert owners(root) == ["A", "A"]


def test_a_claim_of_a_dead_import_can_be_removed(root: str) -> None:
    dead = Import(root, "A", refuses=False)
    dead.submit()
    ObjectStoragePath(f"{root}/file.ndjson.claim").unlink()
    other = Import(root, "B")
    other.run()
    assert other.error is None
    # It was not dead: what it would write is not written over the lines of the other one.
    dead.refuses = True
    with pytest.raises(FullStoryInputError, match="are in no file, and what was sent is in FullStory"):
        dead.complete()
    assert owners(root) == ["B", "B"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"import": 5}', b"\xff"])
def test_a_claim_that_cannot_be_read_is_somebodys(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file.ndjson.claim").write_bytes(content)
    one = Import(f"file://{tmp_path}", "A")
    one.run()
    assert "is claimed" in str(one.error)
    assert (tmp_path / "file.ndjson.claim").read_bytes() == content


def test_a_claim_is_given_back_where_nothing_was_sent(root: str) -> None:
    first = Import(root, "A")
    with pytest.raises(ZeroDivisionError), first.file.claimed():
        raise ZeroDivisionError
    other = Import(root, "B")
    other.run()
    assert other.error is None


def test_a_claim_is_kept_where_anything_may_have_been_sent(root: str) -> None:
    first, batch = Import(root, "A"), Batch((1,), Body(), "digest", 1, "key", BatchFingerprints())
    with suppress(ZeroDivisionError), first.file.claimed():
        next(first.file.fingerprints.kept([batch]))
        raise ZeroDivisionError
    other = Import(root, "B")
    other.run()
    assert "is claimed" in str(other.error)


@pytest.mark.parametrize("name", ["file.ndjson", "file.ndjson.gz"])
@pytest.mark.parametrize("size", [10, 100_000])
def test_a_full_disk_of_the_worker_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, size: int
) -> None:
    """Small lines are found not to fit only as the file is finished."""
    monkeypatch.setattr("tempfile.TemporaryFile", lambda: open("/dev/full", "w+b"))  # noqa: SIM115, PTH123
    file = RefusedFile(
        EVENTS, Folder(ObjectStoragePath(f"file://{tmp_path}"), "rejected_uri"), name, "A", name
    )
    text = "".join(map(chr, range(0x4E00, 0x9E00)))[: size // 3] * 30 if size > 10 else "x"

    def write() -> None:
        with file.writing(SentImport()) as invalid:
            invalid.add([InvalidRecord(1, Refusal("required_field", "name is missing"), {"x": text})])
            invalid.commit()

    with pytest.raises(FullStoryDiskError, match=r"could not be written to .* on the worker: .*TMPDIR"):
        write()
    assert not (tmp_path / name).exists()
