"""The command looks at syncs and changes them, on storages of connections too."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from airflow_provider_fullstory.exceptions import FullStoryStorageError
from airflow_provider_fullstory.syncs import holders
from airflow_provider_fullstory.syncs.command import main
from airflow_provider_fullstory.syncs.folders import sync_folder
from airflow_provider_fullstory.syncs.hold import take
from airflow_provider_fullstory.syncs.holders import Holder
from airflow_provider_fullstory.syncs.record import (
    IdsFile,
    InsertIdsRecord,
    OpenImport,
    StoredValue,
    SyncRecord,
    WatermarkRecord,
    read_record,
    write_record,
)

if TYPE_CHECKING:
    from collections.abc import Callable

VALUE = "2026-01-01T00:00:00.000000+00:00"
MOVED_AT = "2026-01-02T03:04:05+00:00"
ORDERS = SyncRecord(
    "sales.orders",
    format=1,
    organization="ORG",
    watermark=WatermarkRecord(
        "timestamp", StoredValue("timestamp", VALUE), MOVED_AT, "run 'a' of DAG 'sales'"
    ),
    imports=12,
)
IDS = InsertIdsRecord(["order_id", "timestamp"], IdsFile("ids/old.ids", 1234), [IdsFile("ids/new.ids", 1)])
OPEN = OpenImport(
    12,
    "sales",
    "run-1",
    "orders",
    -1,
    MOVED_AT,
    column="timestamp",
    highest=StoredValue("timestamp", "2026-01-03"),
    invalid=2,
)
WITH_IDS = msgspec.structs.replace(ORDERS, insert_ids=IDS)
OPEN_IMPORT = msgspec.structs.replace(ORDERS, open=OPEN)


class Command:
    """The command, on a state."""

    def __init__(self, state_uri: str, output: pytest.CaptureFixture[str]) -> None:
        self.state_uri = state_uri
        self._output = output
        self.out = self.err = ""

    def __call__(self, *arguments: str) -> int:
        with pytest.raises(SystemExit) as ended:
            main(["--state-uri", self.state_uri, *arguments])
        self.out, self.err = self._output.readouterr()
        return ended.value.code  # type: ignore[return-value]

    def write(self, record: SyncRecord) -> None:
        folder = sync_folder(self.state_uri, record.name)
        write_record(folder, record)
        for file in record.insert_ids.files if record.insert_ids else []:
            folder.write(file.name, b"")

    def read(self, name: str = ORDERS.name) -> SyncRecord:
        record = read_record(sync_folder(self.state_uri, name))
        assert record is not None
        return record


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Give the command on an empty state."""
    # It is set by the command.
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")
    return Command(f"file://{tmp_path}/state", capsys)


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Give a function that lets a person at a terminal answer."""

    def answer(text: str) -> None:
        monkeypatch.setattr("sys.stdin.isatty", lambda: True)
        monkeypatch.setattr("builtins.input", lambda _: text)

    return answer


def test_syncs_are_listed(command: Command) -> None:
    command.write(msgspec.structs.replace(WITH_IDS, open=OPEN))
    command.write(SyncRecord("a.b"))
    with take(sync_folder(command.state_uri, "a.b"), "run 'x'", deadline=time.time()):
        assert command("list") == 0
    assert command.out.splitlines() == [
        f"{'NAME':12}  {'WATERMARK':42}  INSERT IDS  {'OPEN IMPORT':43}  HELD BY",
        f"{'a.b':12}  {'-':42}  -           {'-':43}  run 'x'",
        f"sales.orders  timestamp 2026-01-01T00:00:00.000000+00:00  1,235       {OPEN}  -",
    ]


def test_a_record_that_cannot_be_read_hides_no_other(command: Command) -> None:
    command.write(ORDERS)
    sync_folder(command.state_uri, "a.b").write("sync.json", b"{")
    assert command("list") == 1
    assert "sales.orders" in command.out
    assert command.err.startswith("fullstory-sync: The record of the sync in ")


def test_a_sync_is_shown_with_all_that_it_remembers(command: Command) -> None:
    command.write(msgspec.structs.replace(WITH_IDS, open=OPEN))
    assert command("show", ORDERS.name) == 0
    assert command.out.splitlines() == [
        "Sync:         sales.orders",
        "Imports:      events into organization ORG; 12 imports begun",
        f"Watermark:    timestamp {VALUE} (timestamp), since {MOVED_AT} by run 'a' of DAG 'sales'",
        "Insert ids:   1,235 of order_id, timestamp, in 2 files",
        (
            f"Open import:  import 12, {OPEN}, since {MOVED_AT}, highest value 2026-01-03; "
            "it has sent all but 2 invalid records"
        ),
        "Held by:      nobody",
        f"Folder:       {sync_folder(command.state_uri, ORDERS.name)}",
    ]


def test_the_latest_content_of_each_user_is_shown_and_forgotten(command: Command) -> None:
    ids = InsertIdsRecord(["*"], IdsFile("ids/old.ids", 3), [IdsFile("ids/new.ids", 1)], id_bytes=16)
    command.write(SyncRecord("a.users", resource="users", insert_ids=ids))
    assert command("show", "a.users") == 0
    assert "Insert ids:   4 of *, in 2 files; of each key, the latest counts\n" in command.out
    assert command("list") == 0
    assert command.out.splitlines()[1].split() == ["a.users", "-", "4", "-", "-"]
    assert command("forget", "a.users", "--yes") == 0
    assert command.read("a.users").insert_ids == InsertIdsRecord(["*"], id_bytes=16)


def test_a_sync_that_remembers_nothing_is_shown(command: Command) -> None:
    command.write(SyncRecord("a.b"))
    assert command("show", "a.b") == 0
    assert "into FullStory; 0 imports begun\nWatermark:    none\nInsert ids:   none\nOpen import:  none" in (
        command.out
    )


def test_a_sync_is_shown_as_json_with_its_holder(command: Command) -> None:
    command.write(WITH_IDS)
    with take(sync_folder(command.state_uri, ORDERS.name), "run 'x'", deadline=time.time()):
        assert command("show", ORDERS.name, "--json") == 0
    shown = json.loads(command.out)
    assert shown["watermark"]["value"]["value"] == "2026-01-01T00:00:00.000000+00:00"
    assert (shown["insert_id_count"], shown["open"], shown["held_by"]["who"]) == (1235, None, "run 'x'")
    assert "token" not in command.out


def test_the_watermark_is_set_to_a_value_of_its_type(command: Command) -> None:
    command.write(ORDERS)
    assert command("set", ORDERS.name, "2026-02-01T00:00:00Z") == 0
    assert "from 2026-01-01T00:00:00.000000+00:00 to 2026-02-01T00:00:00.000000+00:00" in command.out
    assert "are sent again, since the sync has no insert ids.\nDone.\n" in command.out
    watermark = command.read().watermark
    assert watermark is not None
    assert (watermark.column, watermark.value.type) == ("timestamp", "timestamp")
    assert watermark.value.value == "2026-02-01T00:00:00.000000+00:00"
    assert watermark.moved_by.startswith("fullstory-sync set (")


def test_the_watermark_is_set_in_another_column(command: Command) -> None:
    command.write(WITH_IDS)
    assert command("set", ORDERS.name, "5", "--column", "id") == 2
    assert "give its type with --type" in command.err
    assert command("set", "--column", "id", "--type", "integer", ORDERS.name, "--", "-5") == 0
    watermark = command.read().watermark
    assert watermark is not None
    assert (watermark.column, watermark.value) == ("id", StoredValue("integer", "-5"))
    assert "sent again" not in command.out


def test_a_first_watermark_needs_its_column(command: Command) -> None:
    command.write(SyncRecord("a.b"))
    assert command("set", "a.b", "5", "--type", "integer") == 2
    assert command.err.endswith("name its column with --column.\n")
    command.write(SyncRecord("a.b", open=OPEN, insert_ids=IDS))
    assert command("set", "a.b", "5", "--type", "integer") == 0
    assert command.read("a.b").watermark.column == "timestamp"  # type: ignore[union-attr]


def test_a_value_of_another_type_changes_nothing(command: Command) -> None:
    command.write(ORDERS)
    assert command("set", ORDERS.name, "yesterday") == 2
    assert command.err.startswith("fullstory-sync: 'yesterday' is no timestamp")
    assert command.read() == ORDERS


@pytest.mark.parametrize("change", [["set", ORDERS.name, "2026-02-01T00:00:00Z"], ["reset", ORDERS.name]])
def test_a_new_watermark_closes_an_open_import_only_if_a_person_agrees(
    command: Command, change: list[str]
) -> None:
    command.write(OPEN_IMPORT)
    assert command(*change) == 2
    assert command.read() == OPEN_IMPORT
    assert (
        "Import 12 (run 'run-1' of task 'orders' in DAG 'sales') is closed, and not accounted" in command.out
    )
    assert command(*change, "--yes") == 0
    assert command.read().open is None
    assert command.read().watermark != ORDERS.watermark


def test_an_open_import_of_a_sync_with_insert_ids_stays_open(command: Command) -> None:
    command.write(msgspec.structs.replace(WITH_IDS, open=OPEN))
    assert command("set", ORDERS.name, "2026-02-01T00:00:00Z") == 0
    assert "stays open: the next run settles it first. It does not move the watermark" in command.out
    assert command("reset", ORDERS.name, "--yes") == 0
    left = msgspec.structs.replace(OPEN, highest=None)
    assert (command.read().open, command.read().insert_ids, command.read().watermark) == (left, IDS, None)


def test_a_person_is_asked_before_a_reset(command: Command, answer: Callable[[str], None]) -> None:
    command.write(ORDERS)
    answer("")
    assert command("reset", ORDERS.name) == 1
    assert command.out.endswith("since the sync has no insert ids.\nNothing was changed.\n")
    assert command.read() == ORDERS
    answer(" Y ")
    assert command("reset", ORDERS.name) == 0
    assert command.read() == msgspec.structs.replace(ORDERS, watermark=None)


def test_insert_ids_are_forgotten_with_their_files(command: Command) -> None:
    command.write(WITH_IDS)
    assert command("forget", ORDERS.name) == 2
    assert command("forget", ORDERS.name, "--yes") == 0
    assert "All insert ids are forgotten, 1,235 in number." in command.out
    record = command.read()
    assert record == msgspec.structs.replace(ORDERS, insert_ids=InsertIdsRecord(IDS.definition))
    assert sync_folder(command.state_uri, ORDERS.name).names("ids") == []


def test_insert_ids_are_forgotten_although_their_files_cannot_be_removed(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise FullStoryStorageError("It may not be removed.")

    command.write(WITH_IDS)
    monkeypatch.setattr("airflow_provider_fullstory.batch_import.storage.folder.Folder.remove", fail)
    assert command("forget", ORDERS.name, "--yes") == 0
    assert command.read().insert_ids == InsertIdsRecord(IDS.definition)


def test_insert_ids_of_an_open_import_are_forgotten_only_with_it(command: Command) -> None:
    record = msgspec.structs.replace(WITH_IDS, open=OPEN)
    command.write(record)
    assert command("forget", ORDERS.name, "--yes") == 2
    assert "Run the sync first, which settles it." in command.err
    assert command.read() == record
    assert command("forget", ORDERS.name, "--yes", "--abandon") == 0
    assert "is abandoned: its records are not accounted for" in command.out
    assert command.read().open is None


def test_what_was_never_there_cannot_be_forgotten(command: Command) -> None:
    command.write(ORDERS)
    assert command("forget", ORDERS.name, "--yes") == 2
    assert "has no insert ids" in command.err


def test_a_sync_that_is_held_is_not_changed(command: Command) -> None:
    command.write(ORDERS)
    with take(sync_folder(command.state_uri, ORDERS.name), "run 'x'", deadline=time.time()):
        assert command("reset", ORDERS.name, "--yes") == 1
    assert command.out == ""
    assert command.err.startswith("fullstory-sync: The sync 'sales.orders' is held by run 'x', since 20")
    assert command.read() == ORDERS


def test_a_run_that_begins_while_a_person_is_asked_is_seen(
    command: Command, monkeypatch: pytest.MonkeyPatch, answer: Callable[[str], None]
) -> None:
    folder = sync_folder(command.state_uri, ORDERS.name)
    command.write(ORDERS)
    answer("y")

    def begun(_: str) -> str:
        now = time.time()
        holders.write(folder, Holder(1, "run 'x'", "token", now, now))
        return "y"

    with monkeypatch.context() as patch:
        patch.setattr("builtins.input", begun)
        assert command("reset", ORDERS.name) == 1
    assert "is held by run 'x', since" in command.err

    def done(_: str) -> str:
        command.write(OPEN_IMPORT)
        return "y"

    folder.remove("holds")
    monkeypatch.setattr("builtins.input", done)
    assert command("reset", ORDERS.name) == 1
    assert "has changed meanwhile, so nothing was changed" in command.err
    assert command.read() == OPEN_IMPORT
    assert holders.holder_of(folder) is None


def test_an_unknown_name_is_answered_with_close_ones(command: Command) -> None:
    assert command("show", "sales.order") == 2
    assert command.err.endswith("There are no syncs at all: one is made when it runs first.\n")
    command.write(ORDERS)
    command.write(SyncRecord("a.b"))
    assert command("show", "sales.order") == 2
    assert command.err.endswith("Close names: sales.orders.\n")
    assert command("show", "x") == 2
    assert command.err.endswith("There are: a.b, sales.orders.\n")


def test_an_interrupt_ends_it_quietly(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: str) -> str:
        raise KeyboardInterrupt

    command.write(ORDERS)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", interrupt)
    assert command("reset", ORDERS.name) == 1
    assert command.err == "fullstory-sync: interrupted\n"


def test_without_a_state_it_says_what_to_give(command: Command) -> None:
    command.state_uri = ""
    assert command("list") == 2
    assert "give --state-uri, or set [fullstory] state_uri" in command.err
    command.state_uri = "state"
    assert command("list") == 2
    assert "neither an absolute path nor a URI" in command.err


def as_process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    code = "from airflow_provider_fullstory.syncs.command import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_as_a_process_it_takes_the_state_from_the_configuration_of_airflow(command: Command) -> None:
    command.write(ORDERS)
    place = {"AIRFLOW__FULLSTORY__STATE_URI": command.state_uri}
    shown = as_process("show", "--json", ORDERS.name, **place)
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout)["name"] == ORDERS.name
    refused = as_process("reset", ORDERS.name, **place)
    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr
    assert as_process("frobnicate").returncode == 2


PROVIDER = """
from airflow.providers.common.compat.sdk import BaseHook
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem

schemes = ["s3"]

def provider_info():
    name = "stand-in"
    return {"package-name": name, "name": name, "description": name, "filesystems": ["stand_in.storage"]}

def get_fs(conn_id, storage_options=None):
    return DirFileSystem(BaseHook.get_connection(conn_id).host, LocalFileSystem(auto_mkdir=True))
"""
DATABASE = """
from airflow import settings
from airflow.models import Connection, import_all_models

import_all_models()
settings.configure_orm()
tables = Connection.metadata.tables
needed = [tables[name] for name in ("team", "connection") if name in tables]
Connection.metadata.create_all(settings.engine, needed)
with settings.Session() as session:
    session.add(Connection("shelf", "generic", host={host!r}))
    session.commit()
"""


def test_a_connection_in_the_database_of_airflow_leads_to_the_state(tmp_path: Path, command: Command) -> None:
    (tmp_path / "stand_in").mkdir()
    (tmp_path / "stand_in" / "storage.py").write_text(PROVIDER)
    distribution = tmp_path / "stand_in-1.0.dist-info"
    distribution.mkdir()
    (distribution / "METADATA").write_text("Metadata-Version: 2.1\nName: stand-in\nVersion: 1.0\n")
    (distribution / "entry_points.txt").write_text(
        "[apache_airflow_provider]\nprovider_info = stand_in.storage:provider_info\n"
    )
    environment = {
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])]),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/airflow.db",
        "_AIRFLOW_PROCESS_CONTEXT": "",
    }
    subprocess.run(
        [sys.executable, "-c", DATABASE.format(host=str(tmp_path))], env=os.environ | environment, check=True
    )
    del environment["_AIRFLOW_PROCESS_CONTEXT"]
    command.write(ORDERS)
    place = ["--state-uri", "s3://shelf@state"]
    done = as_process(*place, "reset", "--yes", ORDERS.name, **environment)
    assert done.returncode == 0, done.stderr
    assert command.read().watermark is None
    missing = as_process("--state-uri", "s3://nobody@state", "list", **environment)
    assert missing.returncode == 2
    assert "`nobody` isn't defined" in missing.stderr
