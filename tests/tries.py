"""The tries of one task: each a fresh operator with a fresh context, which share only what outlives a try."""

from __future__ import annotations

import datetime
import json
import sqlite3
import threading
import time
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from unittest.mock import patch
from urllib.parse import urlsplit

import pytest
from airflow.models import baseoperator
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_fullstory.batch_import.storage.folder import Folder
from airflow_provider_fullstory.hooks.fullstory import FullStoryHook
from airflow_provider_fullstory.operators.fullstory import FullStoryImportEventsOperator
from tests.conftest import FakeDagRun, FakeTaskInstance, FakeTaskStateStore, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_fullstory.emulator.client import EmulatorClient
    from airflow_provider_fullstory.exceptions import FullStoryError

#: What FullStory refuses alone, though the checks of this package let it pass.
REFUSED_BY_FULLSTORY = {
    "name": "Order",
    "user.uid": "u",
    "only_fullstory_refuses": True,
    "number": -1,
}
#: What the checks of this package refuse.
REFUSED_HERE = {"user.uid": "u", "number": -2}
DAY = 24 * 60 * 60.0


class Clock:
    """The time of everything in this process, the emulator too, that passes only where it is said."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = time.time()
        monkeypatch.setattr(time, "time", lambda: self.now)


class Crash(BaseException):
    """The process is gone."""


class Breaking:
    """
    Break at one write of a try and at all that follow, as a process does that dies.

    :param at: Number of the write, from 1, among those that match.
    :param error: What is raised.
    :param matches: Which writes count: given a name, and the value where it is one of the ledger.
    :param is_done: Whether the write at which it breaks takes effect.
    """

    def __init__(
        self,
        error: type[BaseException] = Crash,
        *,
        at: int = 1,
        matches: Callable[[str, dict[str, Any]], bool] = lambda *_: True,
        is_done: bool = False,
    ) -> None:
        self.at = at
        self.error = error
        self.matches = matches
        self.is_done = is_done
        self.count = 0
        self._lock = threading.Lock()

    @property
    def has_happened(self) -> bool:
        """Whether there were so many writes."""
        return self.count >= self.at

    def __call__(self, name: str, value: dict[str, Any], write: Callable[[], Any]) -> None:
        with self._lock:
            is_dead = self.has_happened
            self.count += is_dead or self.matches(name, value)
            breaks = not is_dead and self.has_happened
        if not is_dead and (not breaks or self.is_done):
            write()
        if is_dead or breaks:
            raise self.error("The process is gone.")


def noting_job(name: str | int) -> Callable[[str, dict[str, Any]], bool]:
    """Match the write that notes a batch's job."""
    return lambda key, value: key == f"batch_{name}" and "job_id" in value


def entering(name: str | int) -> Callable[[str, dict[str, Any]], bool]:
    """Match the write that enters a batch."""
    return lambda key, _: key == f"batch_{name}"


def noting_stage(stage: str) -> Callable[[str, dict[str, Any]], bool]:
    """Match the write that says how far the import is."""
    return lambda key, value: key == "import" and value.get("stage") == stage


def noting_end(key: str, value: dict[str, Any]) -> bool:
    """Match the write that says that the import has ended, well or not."""
    return key == "import" and value.get("stage") in ("ended", "succeeded")


class BreakingStore:
    """What one try sees of a task state store whose writes break."""

    def __init__(self, store: FakeTaskStateStore, breaking: Breaking) -> None:
        self._store = store
        self._breaking = breaking

    def get(self, key: str, default: Any = None) -> Any:
        return self._store.get(key, default)

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        self._breaking(_without_prefix(key), value, lambda: self._store.set(key, value, retention=retention))


def _without_prefix(key: str) -> str:
    """Return what the ledger calls a key, without what tells it from those of other imports."""
    return key.removeprefix("fullstory_").partition("_")[2] or "history"


class Task:
    """
    One task of one run.

    :param store: Airflow's task state store, None on an Airflow that has none.
    :param state_uri: Folder of the state, None where there is none.
    :param arguments: Arguments of the operator in all tries.
    """

    def __init__(
        self, store: FakeTaskStateStore | None, state_uri: str | None, map_index: int = -1, **arguments: Any
    ) -> None:
        self.store = store
        self.state_uri = state_uri
        self.map_index = map_index
        self.arguments = {"poll_interval": 0.01, "batch_size": 10} | arguments
        self.tries = 0
        self.context: dict[str, Any] = {}
        self.run = FakeDagRun()

    def operator(self, **arguments: Any) -> FullStoryImportEventsOperator:
        """Return the operator of the next try."""
        given = {"task_id": "import", "state_uri": self.state_uri} | self.arguments | arguments
        return FullStoryImportEventsOperator(**given)

    def next_context(self, breaking: Breaking | None = None) -> dict[str, Any]:
        """Return the context of the next try."""
        self.tries += 1
        instance = FakeTaskInstance(map_index=self.map_index)
        instance.try_number = self.tries
        self.context = {
            "ti": instance,
            "task_instance": instance,
            "run_id": instance.run_id,
            "dag_run": self.run,
        }
        if self.store is not None:
            store = self.store if breaking is None else BreakingStore(self.store, breaking)
            self.context["task_state_store"] = store
        return self.context

    def attempt(self, *, breaking: Breaking | None = None, **arguments: Any) -> dict[str, Any]:
        """Run the next try and return its report."""
        operator = self.operator(**arguments)
        with ExitStack() as stack:
            if breaking is not None:
                stack.enter_context(breaking_writes(breaking))
            try:
                report: dict[str, Any] = run(operator, self.next_context(breaking))
            finally:
                join_uploads()
        return report

    def clear(self) -> None:
        """Do what Airflow does when a person clears a task of a run that has ended."""
        self.run.clear_number += 1
        self.run.start_date = datetime.datetime.fromtimestamp(time.time(), datetime.UTC)

    def delete_run(self) -> None:
        """Do what Airflow does when a person deletes a run and makes it anew under its id."""
        self.tries = 0
        self.run = FakeDagRun()
        if self.store is not None:
            self.store.texts.clear()

    @property
    def folder(self) -> Path:
        """The folder of its batches and ledger."""
        assert self.state_uri is not None
        imports = Path(urlsplit(self.state_uri).path) / "imports"
        [folder] = imports.glob(f"dag/task/run-1.{self.map_index}.*/*/ledger")
        return folder.parent

    @property
    def is_staged(self) -> bool:
        """Whether any batch is left in the state folder."""
        assert self.state_uri is not None
        return any(Path(urlsplit(self.state_uri).path).rglob("bodies/*"))

    @property
    def all_runs(self) -> list[Path]:
        """The folders of all runs of the task."""
        assert self.state_uri is not None
        return list((Path(urlsplit(self.state_uri).path) / "imports").glob("dag/task/run-1.*"))

    @property
    def is_in_store(self) -> bool:
        """Whether its ledger is in Airflow's task state store."""
        return self.state_uri is None

    @property
    def ledger(self) -> dict[str, Any]:
        """All that the ledger holds."""
        if self.is_in_store:
            assert self.store is not None
            texts = dict(self.store.texts)
            return {
                _without_prefix(key): json.loads(text)
                for key, text in texts.items()
                if key != "fullstory_history"
            }
        return {path.stem: json.loads(path.read_text()) for path in self.folder.glob("ledger/*.json")}

    def entry(self, name: str | int) -> dict[str, Any]:
        """Return the ledger's entry of a batch."""
        entry: dict[str, Any] = self.ledger[f"batch_{name}"]
        return entry

    def edit(self, name: str | int, **changes: Any) -> None:
        """Change the ledger's entry of a batch; None takes a value out."""
        changed = self.entry(name) | changes
        self.put(f"batch_{name}", {key: value for key, value in changed.items() if value is not None})

    def put(self, key: str, value: Any) -> None:
        """Put a value into the ledger."""
        if self.is_in_store:
            assert self.store is not None
            [prefix] = [
                known.removesuffix("import") for known in self.store.texts if known.endswith("import")
            ]
            self.store.texts[f"{prefix}{key}"] = json.dumps(value)
        else:
            (self.folder / "ledger" / f"{key}.json").write_text(json.dumps(value))


def clear_later(task: Task, clock: Clock, passed: float) -> None:
    """Clear a task some seconds later."""
    clock.now += passed
    task.clear()


def crash(task: Task, matches: Callable[[str, dict[str, Any]], bool], **arguments: Any) -> None:
    """Let a try die before the first of some writes to its ledger."""
    with pytest.raises(Crash):
        task.attempt(breaking=Breaking(matches=matches), **arguments)


def crash_after_all_were_sent(task: Task, **arguments: Any) -> None:
    """Let a try die as the first poll of its jobs is answered: it has noted that all were sent."""
    crash(task, noting_end, **arguments)
    assert task.ledger["import"]["stage"] == "sent"


def failure_of(task: Task, error: type[FullStoryError], **arguments: Any) -> str:
    """Return the message of a try that fails without a retry."""
    with pytest.raises(AirflowFailException) as caught:
        task.attempt(**arguments)
    # Airflow fails the task for it, a callback finds the type, and the log shows the message once.
    assert isinstance(caught.value, error)
    assert type(caught.value).__name__ == error.__name__
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    return str(caught.value)


def breaking_writes(breaking: Breaking) -> Any:
    """Let the writes to folders break."""
    original = Folder.write

    def write(folder: Folder, name: str, content: bytes) -> None:
        path = PurePosixPath(name)
        value = json.loads(content) if path.parent.name == "ledger" else {}
        breaking(path.stem if value else name, value, lambda: original(folder, name, content))

    return patch.object(Folder, "write", write)


def join_uploads() -> None:
    """Wait until no thread of a try is left: the next try begins when the process of the last is gone."""
    for thread in threading.enumerate():
        if thread.name.startswith("fullstory-upload"):
            thread.join(60)
            assert not thread.is_alive()


def prepare_thread() -> None:
    """Let a thread execute operators, for which Airflow 2 prepares only the one that imports it."""
    safeguard = getattr(baseoperator, "ExecutorSafeguard", None)
    if safeguard is not None:
        safeguard._sentinel.callers = {}


@contextmanager
def creating_imports(create: Callable[..., Any]) -> Iterator[None]:
    """
    Come between the engine and its hook.

    :param create: Called with the hook's real method for one body, and the body.
    """
    original = FullStoryHook.create_import

    def create_import(hook: FullStoryHook, resource: str, body: bytes, key: str, **options: Any) -> Any:
        return create(lambda: original(hook, resource, body, key, **options), body)

    with patch.object(FullStoryHook, "create_import", create_import):
        yield


def orders(count: int, start: int = 0) -> list[dict[str, Any]]:
    return [{"name": "Order", "user.uid": f"u{n}", "number": n} for n in range(start, start + count)]


def numbers(emulator: EmulatorClient) -> list[int]:
    """Return which orders FullStory has, each as often as it has it."""
    return sorted(event["event"]["properties"]["number"] for event in emulator.iterate_events())


def posts(emulator: EmulatorClient) -> list[dict[str, Any]]:
    """Return the requests that carried batches."""
    return [request for request in emulator.requests() if request["method"] == "POST"]


def without_jobs(report: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in report.items() if name != "job_ids"}


def make_warehouse(path: Path, count: int, start: int = 0) -> None:
    """Write orders into a SQLite database."""
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE IF NOT EXISTS orders (number INTEGER PRIMARY KEY)")
        database.executemany("INSERT INTO orders VALUES (?)", [(n,) for n in range(start, start + count)])


def change_warehouse(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(statement)


#: A query of the orders above, as arguments of the operator.
QUERY = {
    "sql": """SELECT number, 'u' || number AS "user.uid" FROM orders ORDER BY number""",
    "sql_conn_id": "warehouse",
    "event_name": "Order",
}


def breaking_source(events: list[dict[str, Any]], after: int, error: BaseException) -> Iterator[Any]:
    """Yield some events, and then break."""
    yield from events[:after]
    raise error
