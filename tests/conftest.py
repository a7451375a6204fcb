"""What all tests share: a context to execute tasks in, without a database."""

from __future__ import annotations

import asyncio
import datetime
import importlib
import json
import logging
import os
import sys
import tempfile
import time
import types
import uuid
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_fullstory.emulator.client import EmulatorClient
    from demo.warehouse import Warehouse
    from tests.logs import Log
    from tests.tries import Clock, Task

# Before anything imports Airflow: it reads its configuration once.
_HOME = tempfile.TemporaryDirectory(prefix="airflow-")
os.environ["AIRFLOW_HOME"] = _HOME.name
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "False"
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"


def pytest_configure(config: pytest.Config) -> None:
    """Take a use of what providers gave up as an error; set in pyproject.toml, it would import Airflow."""
    config.addinivalue_line("filterwarnings", "error::airflow.exceptions.AirflowProviderDeprecationWarning")


@pytest.fixture(scope="module")
def postgresql_directory() -> Iterator[Path]:
    """Give a directory for PostgreSQL's data, which the user that it runs as can enter."""
    # Not tmp_path: the path of a socket is limited to about 100 characters.
    with tempfile.TemporaryDirectory(prefix="pg-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        yield directory


@pytest.fixture
def temporary_directory() -> Iterator[Path]:
    """Give a directory with a short path, unlike `tmp_path`, for PostgreSQL's socket."""
    with tempfile.TemporaryDirectory(prefix="demo-test-") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def postgresql(postgresql_directory: Path) -> Iterator[Warehouse]:
    """Run PostgreSQL for the tests of a module."""
    from demo.warehouse import Warehouse

    warehouse = Warehouse(postgresql_directory)
    try:
        warehouse.start()
        yield warehouse
    finally:
        warehouse.stop()


class FakeTaskInstance:
    """The part of a task instance that the package uses."""

    def __init__(self, run_id: str = "run-1", map_index: int = -1) -> None:
        self.dag_id = "dag"
        self.run_id = run_id
        self.task_id = "task"
        self.map_index = map_index
        self.try_number = 1
        self.xcoms: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value


class FakeDagRun:
    """The part of a DAG run that the package uses: one that has just started, and was due then."""

    def __init__(self) -> None:
        self.start_date: datetime.datetime | None = datetime.datetime.fromtimestamp(time.time(), datetime.UTC)
        self.run_after = self.start_date
        self.clear_number = 0


class FakeTaskStateStore:
    """Airflow's task state store, which is there in a running task only: JSON by key, shared by all tries."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        #: Key, size of the value and retention of each write.
        self.writes: list[tuple[str, int, Any]] = []

    def get(self, key: str, default: Any = None) -> Any:
        text = self.texts.get(key)
        return default if text is None else json.loads(text)

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        if value is None:
            raise ValueError("Cannot set value as None")
        text = json.dumps(value, allow_nan=False)
        self.texts[key] = text
        self.writes.append((key, len(text), retention))

    def delete(self, key: str) -> None:
        self.texts.pop(key, None)


@pytest.fixture(autouse=True)
def every_finished_import_is_accounted_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hold the report of every import that a test finishes to the one rule, wherever it was finished."""
    from airflow_provider_fullstory.batch_import.reporting.report import ImportReport
    from tests.accounting import check_accounted

    finish = ImportReport.finish

    def checked(report: ImportReport, outcomes: Any) -> None:
        finish(report, outcomes)
        check_accounted(report.to_xcom())

    monkeypatch.setattr(ImportReport, "finish", checked)


@pytest.fixture
def task_state_store(monkeypatch: pytest.MonkeyPatch) -> FakeTaskStateStore:
    """Give a store as Airflow 3.3 has it, on older ones too."""
    try:
        from airflow.sdk import NEVER_EXPIRE  # noqa: F401
    except ImportError:
        sdk = types.ModuleType("airflow.sdk")
        sdk.NEVER_EXPIRE = "never"  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "airflow.sdk", sdk)
    return FakeTaskStateStore()


@pytest.fixture
def make_context() -> Callable[..., Any]:
    """Make the context of one run of a task."""

    def make(**identity: Any) -> dict[str, Any]:
        instance = FakeTaskInstance(**identity)
        return {
            "ti": instance,
            "task_instance": instance,
            "run_id": instance.run_id,
            "dag_run": FakeDagRun(),
        }

    return make


@pytest.fixture
def context(make_context: Callable[..., Any]) -> Any:
    """Give the context of a run."""
    return make_context()


def run(operator: Any, context: Any) -> Any:
    """
    Run a task as Airflow does, deferrals included.

    The trigger is made anew from what Airflow stores of it, and so is the operator's state: only the event
    comes back.
    """
    from airflow.providers.common.compat.sdk import TaskDeferred

    try:
        return operator.execute(context)
    except TaskDeferred as deferral:
        path, arguments = deferral.trigger.serialize()
        module, _, name = path.rpartition(".")
        trigger = getattr(importlib.import_module(module), name)(**json.loads(json.dumps(arguments)))
        event = json.loads(json.dumps(asyncio.run(anext(trigger.run())).payload))
        return getattr(operator, deferral.method_name)(context, event=event)


@pytest.fixture(autouse=True)
def workers_exit_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker has to end before a trigger that a test runs may fire."""
    monkeypatch.setattr("airflow_provider_fullstory.triggers.fullstory._worker_exit_seconds", lambda: 0.0)


@pytest.fixture(autouse=True)
def outages_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that a test breaks stays broken."""
    monkeypatch.setattr("airflow_provider_fullstory.batch_import.storage.outages.OUTAGE_SECONDS", 0.05)


@pytest.fixture(scope="session")
def fullstory_emulator_server() -> Iterator[EmulatorClient]:
    """Run an emulator whose quota is no reason to hold an import back; tests of the quota set their own."""
    from airflow_provider_fullstory.emulator.embedded import EmulatorServer

    with EmulatorServer(event_quota=10**9) as emulator:
        yield emulator


def refuse_what_is_marked(emulator: EmulatorClient) -> None:
    """Let the emulator refuse records that pass all checks of this package; a reset of it forgets that."""
    emulator.order_rejection("properties.only_fullstory_refuses", code="user_not_found")


@pytest.fixture
def emulator(fullstory_emulator: EmulatorClient, monkeypatch: pytest.MonkeyPatch) -> EmulatorClient:
    """Give an emulator that the connection fullstory_default leads to, and that refuses what a test marks."""
    refuse_what_is_marked(fullstory_emulator)
    monkeypatch.setenv("AIRFLOW_CONN_FULLSTORY_DEFAULT", fullstory_emulator.connection_json())
    return fullstory_emulator


@pytest.fixture
def make_task(task_state_store: FakeTaskStateStore, tmp_path: Path) -> Callable[..., Task]:
    """
    Make a task by where its state is kept.

    ``store``: its ledger is in Airflow's task state store. ``state``: it is under ``state_uri``. ``folder``:
    there, with staged batches. ``both``: the same, on an Airflow that has a store.
    """
    from tests.tries import Task

    def make(kept: str, **arguments: Any) -> Task:
        store = task_state_store if kept in ("store", "both") else None
        state_uri = f"file://{tmp_path / 'state'}" if kept in ("state", "folder", "both") else None
        if kept in ("folder", "both"):
            arguments.setdefault("stage_batches", True)
        return Task(store, arguments.pop("state_uri", state_uri), **arguments)

    return make


@pytest.fixture(params=["store", "folder"])
def task(request: pytest.FixtureRequest, make_task: Callable[..., Task]) -> Task:
    """Give a task whose ledger is in Airflow's store, and one that stages, with its ledger there too."""
    return make_task(request.param)


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the path of a SQLite database, still to be made, that the connection 'warehouse' leads to."""
    path = tmp_path / "warehouse.db"
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    return path


@pytest.fixture
def retry_for(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Give a function that sets for how many seconds an import repeats requests that fail for a moment."""
    return partial(monkeypatch.setattr, "airflow_provider_fullstory.task.import_run.RETRY_FOR")


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch, retry_for: Callable[[float], None]) -> None:
    """Let requests that fail for a moment be repeated at once, and not for long."""
    monkeypatch.setattr("airflow_provider_fullstory.api.protocol.FIRST_RETRY_SECONDS", 0.01)
    retry_for(0.05)


@pytest.fixture
def unknown_jobs_are_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a job that FullStory does not know count as lost at once, however young it is."""
    monkeypatch.setattr("airflow_provider_fullstory.batch_import.waiting.polling.YOUNG_SECONDS", 0.0)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Give the time of the task and of FullStory, which passes only where a test says so."""
    from tests.tries import Clock

    return Clock(monkeypatch)


@pytest.fixture
def uri(tmp_path: Path) -> str:
    """Give the URI of a file of refused records, whose folder is still to be made."""
    return f"file://{tmp_path}/refused/file.ndjson"


def attached(storage: Any) -> str:
    """Return a URI that leads to a storage, as one of a connection does."""
    try:
        from airflow.sdk.io import attach
    except ImportError:
        from airflow.io.store import attach

    conn_id = uuid.uuid4().hex
    attach("memory", conn_id=conn_id, fs=storage)
    return f"memory://{conn_id}@bucket"


@pytest.fixture
def memory() -> str:
    """Give the URI of an empty bucket of an object storage."""
    from fsspec.implementations.memory import MemoryFileSystem

    class Storage(MemoryFileSystem):
        store: ClassVar[dict[str, Any]] = {}
        pseudo_dirs: ClassVar[list[str]] = [""]

    return attached(Storage())


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[Log]:
    """Give the log of the package; where operators log through structlog, that too."""
    from airflow_provider_fullstory.hooks.fullstory import FullStoryHook
    from tests.logs import Log

    log = Log()

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            log.lines.append(record.getMessage())

    package = logging.getLogger("airflow_provider_fullstory")
    handler = Handler()
    package.addHandler(handler)
    before = package.level
    package.setLevel(logging.DEBUG)

    from airflow.providers.common.compat.sdk import BaseOperator
    from airflow.triggers.base import BaseTrigger

    logger = logging.getLogger("airflow_provider_fullstory.test")
    for kind in (BaseOperator, BaseTrigger, FullStoryHook):
        monkeypatch.setattr(kind, "log", property(lambda _: logger), raising=False)
    yield log
    package.removeHandler(handler)
    package.setLevel(before)
