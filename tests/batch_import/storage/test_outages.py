"""Outages of the storages that keep state and files: waited out once something was read or written there."""

from __future__ import annotations

import errno
import io
import logging
import signal
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, ObjectStoragePath
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_fullstory.batch_import.ledger.stores import FolderStore
from airflow_provider_fullstory.batch_import.storage import outages as module
from airflow_provider_fullstory.batch_import.storage.folder import Folder
from airflow_provider_fullstory.batch_import.storage.outages import Outages
from airflow_provider_fullstory.exceptions import (
    FullStoryKilledError,
    FullStoryLedgerError,
    FullStoryStorageError,
)
from tests.conftest import FakeTaskStateStore, attached, run
from tests.tries import REFUSED_HERE, Task, join_uploads, numbers, orders, posts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_fullstory.emulator.client import EmulatorClient


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let outages last for long, while storages are asked often."""
    monkeypatch.setattr(module, "OUTAGE_SECONDS", 60.0)
    monkeypatch.setattr(module, "_LONGEST_PAUSE", 0.01)


class Outage:
    """
    An outage that begins at a use of a storage, and lasts for some uses.

    :param error: What the storage raises meanwhile.
    :param uses: How many uses fail.
    """

    def __init__(self, error: Exception, uses: int = 3) -> None:
        self.error = error
        self.left = uses
        self.has_begun = False

    def __call__(self) -> None:
        """Use the storage."""
        if self.has_begun and self.left:
            self.left -= 1
            raise self.error


class Storage(MemoryFileSystem):
    """An object storage with an outage, which begins once a file of some name was written."""

    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    cachable = False

    def __init__(self, outage: Outage, begins_after: str = "") -> None:
        super().__init__()
        self.store.clear()
        self.outage = outage
        self.begins_after = begins_after

    def open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        self.outage()
        file = super().open(path, mode, **options)
        if mode != "rb" and self.begins_after and self.begins_after in path:
            self.outage.has_begun = True
        return file

    def rm(self, path: str, **options: Any) -> None:
        self.outage()
        super().rm(path, **options)


class Store(FakeTaskStateStore):
    """Airflow's task state store with an outage, which begins once the first batch was entered."""

    def __init__(self, outage: Outage) -> None:
        super().__init__()
        self.outage = outage

    def get(self, key: str, default: Any = None) -> Any:
        self.outage()
        return super().get(key, default)

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        self.outage()
        super().set(key, value, retention=retention)
        self.outage.has_begun |= key.endswith("batch_1")


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Give what was logged of outages."""
    return lambda: [text for text in caplog.messages if "Trying again in" in text]


def use(error: Exception, fails: int) -> tuple[Callable[[], str], list[int]]:
    """Return a use that fails some times, and the numbers of its calls."""
    calls: list[int] = []

    def call() -> str:
        calls.append(len(calls) + 1)
        if len(calls) <= fails:
            raise error
        return "done"

    return call, calls


def proven() -> Outages:
    outages = Outages()
    outages.outlast("write", lambda: None)
    return outages


def caused_by(cause: Exception) -> FullStoryStorageError:
    error = FullStoryStorageError("It failed.")
    error.__cause__ = cause
    return error


def test_an_outage_is_waited_out(warnings: Callable[[], list[str]]) -> None:
    call, calls = use(caused_by(ConnectionError("reset")), fails=3)
    assert proven().outlast("write", call) == "done"
    assert calls == [1, 2, 3, 4]
    assert len(warnings()) == 3
    assert warnings()[0].startswith("It failed. Trying again in ")


def test_an_outage_that_lasts_too_long_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OUTAGE_SECONDS", 0.0)
    error = caused_by(ConnectionError("reset"))
    call, calls = use(error, fails=1000)
    with pytest.raises(FullStoryStorageError) as caught:
        proven().outlast("write", call)
    assert caught.value is error
    assert calls == [1]


def test_the_first_use_of_each_kind_is_not_repeated() -> None:
    outages = proven()
    for kind in ("read", "remove"):
        call, calls = use(caused_by(ConnectionError("reset")), fails=1)
        with pytest.raises(FullStoryStorageError):
            outages.outlast(kind, call)
        assert calls == [1]


@pytest.mark.parametrize(
    "cause",
    [
        PermissionError("AccessDenied"),
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        OSError(errno.EROFS, "Read-only file system"),
    ],
)
def test_a_storage_that_refuses_is_not_asked_again(cause: Exception) -> None:
    call, calls = use(caused_by(cause), fails=1)
    with pytest.raises(FullStoryStorageError):
        proven().outlast("write", call)
    assert calls == [1]


def test_other_errors_are_not_waited_out() -> None:
    call, calls = use(FullStoryLedgerError("It is damaged."), fails=1)
    with pytest.raises(FullStoryLedgerError):
        proven().outlast("write", call)
    assert calls == [1]


def test_nothing_is_waited_out_once_the_task_was_told_to_end() -> None:
    outages = proven()
    outages.close()
    call, calls = use(caused_by(ConnectionError("reset")), fails=1)
    with pytest.raises(FullStoryStorageError):
        outages.outlast("write", call)
    assert calls == [1]


@pytest.fixture
def on_signal() -> Iterator[Callable[[Callable[[], None]], None]]:
    """Set what happens at SIGUSR1, in a signal handler as Airflow calls ``on_kill``."""
    before = signal.getsignal(signal.SIGUSR1)
    yield lambda act: signal.signal(signal.SIGUSR1, lambda *_: act()) and None
    signal.signal(signal.SIGUSR1, before)


def test_a_signal_ends_the_wait(
    monkeypatch: pytest.MonkeyPatch, on_signal: Callable[[Callable[[], None]], None]
) -> None:
    # Were the pause not ended, the test would take ten minutes.
    monkeypatch.setattr(module, "OUTAGE_SECONDS", 600.0)
    monkeypatch.setattr(module.tenacity, "wait_random_exponential", lambda **_: lambda _: 600.0)
    outages = proven()
    on_signal(outages.close)

    class Signalling(logging.Handler):
        def emit(self, _: logging.LogRecord) -> None:
            signal.raise_signal(signal.SIGUSR1)

    handler = Signalling()
    module.log.addHandler(handler)
    call, calls = use(caused_by(ConnectionError("reset")), fails=1000)
    try:
        with pytest.raises(FullStoryStorageError):
            outages.outlast("write", call)
    finally:
        module.log.removeHandler(handler)
    assert calls == [1, 2]


def test_a_damaged_ledger_is_not_read_again(warnings: Callable[[], list[str]]) -> None:
    folder = Folder(ObjectStoragePath(attached(Storage(Outage(OSError())))), outages=Outages())
    folder.write("ledger/batch_1.json", b"{}")
    store = FolderStore(folder)
    assert store.get("batch_1") == {}
    folder.write("ledger/batch_1.json", b"{")
    with pytest.raises(FullStoryLedgerError, match="is damaged"):
        store.get("batch_1")
    assert warnings() == []


def test_a_file_is_written_from_its_start_after_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder(ObjectStoragePath(attached(Storage(Outage(OSError())))), outages=Outages())
    folder.write("before", b"")
    copy, failures = Folder._copy, [1, 2]

    def break_off(self: Folder, source: Any, target: Any) -> None:
        if failures:
            failures.pop()
            source.read(3)
            raise ConnectionError("reset")
        copy(self, source, target)

    monkeypatch.setattr(Folder, "_copy", break_off)
    content = io.BytesIO(b"not this: 0123456789")
    content.seek(len(b"not this: "))
    folder.write("file", content)
    assert folder.read("file") == b"0123456789"
    assert failures == []


def check_import(emulator: EmulatorClient, report: dict[str, Any], outage: Outage) -> None:
    assert outage.left == 0
    assert report["imported"] == 30
    assert numbers(emulator) == list(range(30))
    assert len(posts(emulator)) == 3


@pytest.mark.parametrize("deferrable", [False, True])
def test_an_import_outlasts_an_outage_of_the_task_state_store(
    emulator: EmulatorClient, warnings: Callable[[], list[str]], task_state_store: Any, *, deferrable: bool
) -> None:
    outage = Outage(RuntimeError("API_SERVER_ERROR"))
    task = Task(Store(outage), None)
    check_import(emulator, task.attempt(events=orders(30), deferrable=deferrable), outage)
    assert len(warnings()) == 3
    assert warnings()[0].startswith("The ledger in Airflow's task state store could not be ")


@pytest.mark.parametrize("begins_after", ["ledger/batch_1", "bodies/", "manifest.json", "ledger/batch_3"])
def test_an_import_outlasts_an_outage_of_its_state_folder(
    emulator: EmulatorClient, warnings: Callable[[], list[str]], begins_after: str
) -> None:
    outage = Outage(ConnectionError("reset"))
    task = Task(None, attached(Storage(outage, begins_after)), stage_batches=True)
    check_import(emulator, task.attempt(events=orders(30)), outage)
    assert len(warnings()) == 3


def test_a_task_that_is_told_to_end_waits_out_no_outage(
    emulator: EmulatorClient, task_state_store: Any
) -> None:
    class Kill(Outage):
        """An outage in which the task is stopped."""

        def __call__(self) -> None:
            if self.has_begun:
                operator.on_kill()
            super().__call__()

    outage = Kill(RuntimeError("API_SERVER_ERROR"), uses=1000)
    task = Task(Store(outage), None)
    operator = task.operator(events=orders(30), max_parallel_uploads=1)
    with pytest.raises(FullStoryKilledError, match="The task was stopped"):
        run(operator, task.next_context())
    join_uploads()
    assert outage.left == 999
    # Its job was not noted: the next try repeats the request, and is answered with the same job.
    outage.left, outage.has_begun = 0, False
    assert task.attempt(events=orders(30))["imported"] == 30
    assert numbers(emulator) == list(range(30))


@pytest.mark.parametrize("begins_after", [".sent/", "sent/import.json"])
def test_refused_records_are_written_after_an_outage(
    emulator: EmulatorClient, make_task: Callable[..., Task], begins_after: str
) -> None:
    outage = Outage(ConnectionError("reset"))
    storage = Storage(outage, begins_after)
    uri = f"{attached(storage)}/refused.ndjson"
    task = make_task("state", rejected_uri=uri)
    with pytest.raises(AirflowFailException, match="1 of 31 records"):
        task.attempt(events=[*orders(30), REFUSED_HERE])
    assert outage.left == 0
    assert numbers(emulator) == list(range(30))
    assert len(posts(emulator)) == 3
    assert len(ObjectStoragePath(uri).read_text().splitlines()) == 1


def test_a_file_of_refused_records_that_is_out_of_reach_is_said_at_once(
    emulator: EmulatorClient, warnings: Callable[[], list[str]], make_task: Callable[..., Task]
) -> None:
    outage = Outage(FileNotFoundError("The specified bucket does not exist"), uses=1000)
    outage.has_begun = True
    task = make_task("state", rejected_uri=f"{attached(Storage(outage))}/refused.ndjson")
    with pytest.raises(FullStoryStorageError, match="rejected_uri"):
        task.attempt(events=orders(30))
    assert (warnings(), posts(emulator)) == ([], [])


def test_a_try_that_begins_in_an_outage_fails_at_once_and_sends_nothing(
    emulator: EmulatorClient, warnings: Callable[[], list[str]], task_state_store: Any
) -> None:
    outage = Outage(RuntimeError("API_SERVER_ERROR"))
    outage.has_begun = True
    with pytest.raises(FullStoryStorageError):
        Task(Store(outage), None).attempt(events=orders(30))
    assert (outage.left, warnings(), posts(emulator)) == (2, [], [])
