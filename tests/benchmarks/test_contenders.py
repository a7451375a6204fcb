"""The contenders of the benchmark send the same orders, and the sink takes them as FullStory would."""

from __future__ import annotations

import datetime
import importlib
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest
import requests

from benchmarks import flat, orders, process
from benchmarks.peers import PEERS
from benchmarks.pipeline import CONTENDERS, place_of, running_sink

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_fullstory.emulator.client import EmulatorClient
    from benchmarks.place import Place
    from demo.warehouse import Warehouse

ROWS = 700
MODULES = [module for module in CONTENDERS.values() if module and module not in PEERS]


@pytest.fixture(scope="module")
def directory(postgresql_directory: Path, postgresql: Warehouse) -> Path:
    """Give the directory of a server that has the orders."""
    orders.create(postgresql, ROWS)
    return postgresql_directory


def sent(emulator: EmulatorClient) -> list[tuple[Any, ...]]:
    """Return what is in FullStory, without what the contenders spell in their own way."""
    return sorted(
        (
            event["properties"]["order_id"],
            event["name"],
            datetime.datetime.fromisoformat(event["timestamp"]),
            event["user"]["uid"],
            event["context"]["browser"]["url"],
            float(event["properties"]["total"]),
            str({name: event["properties"].get(name) for name in ("status", "quantity", "coupon", "note")}),
            str(sorted(event["properties"]["details"].items())),
        )
        for event in (entry["event"] for entry in emulator.events())
    )


@pytest.mark.parametrize("module", MODULES)
def test_all_contenders_send_the_same(module: str, directory: Path, emulator: EmulatorClient) -> None:
    if module == "pandas_chunks":
        pytest.importorskip("pandas")
    place = place_of(directory, emulator.url)
    engine = importlib.import_module("benchmarks.contenders.engine")
    assert engine.send(place) == ROWS
    expected = sent(emulator)
    assert len(expected) == ROWS
    emulator.reset()
    assert importlib.import_module(f"benchmarks.contenders.{module}").send(place) == ROWS
    assert sent(emulator) == expected


@pytest.mark.parametrize("module", PEERS)
def test_public_tools_send_the_same_from_their_own_environments(
    module: str, directory: Path, emulator: EmulatorClient
) -> None:
    peer = PEERS[module]
    if not peer.python.exists():
        pytest.skip(f"The environment of {peer.name} is missing.")
    place = place_of(directory, emulator.url)
    importlib.import_module("benchmarks.contenders.engine").send(place)
    expected = sent(emulator)
    emulator.reset()
    measured = process.measure(
        f"benchmarks.contenders.{module}",
        "send",
        place,
        python=peer.python,
        environment=peer.environment,
    )
    assert measured.result == ROWS
    assert sent(emulator) == expected


def test_the_sink_answers_what_the_operator_asks_first() -> None:
    with running_sink(0) as sink, requests.Session() as session:
        session.trust_env = False
        assert session.get(f"{sink}/me").json()["role"] == "ADMIN"
        assert session.get(f"{sink}/v2/organization/quotas").json()["server_event_quota"]


def test_the_sink_takes_all_in_a_process_of_its_own(directory: Path) -> None:
    with running_sink(0) as sink:
        measurement = process.measure("benchmarks.contenders.engine", "send", place_of(directory, sink))
    assert measurement.result == ROWS
    assert measurement.peak_bytes >= measurement.before_bytes > 0


@pytest.mark.parametrize("source", [source for source in flat.SOURCES if source != flat.ON_S3])
def test_every_source_is_sent_and_counted(
    source: str, directory: Path, tmp_path: Path, emulator: EmulatorClient
) -> None:
    place: Place = place_of(directory, emulator.url)
    file = tmp_path / "orders.ndjson"
    flat.write_file(place, file, 40)
    told = flat.send(place, source, "40", str(file))
    assert told["sent"] == len(emulator.events()) == 40
    assert told["batches"] == 1
    assert told["ledger_writes"] > 0


@pytest.mark.celery
@pytest.mark.skipif(find_spec("moto") is None, reason="The group celery is not installed.")
def test_a_file_on_s3_is_sent_within_its_memory(directory: Path, tmp_path: Path) -> None:
    file = tmp_path / "orders.ndjson"
    times = flat.S3_ROWS[0] // ROWS
    with running_sink(0) as sink, flat.running_s3(tmp_path) as s3:
        place = place_of(directory, sink)
        flat.write_file(place, file, ROWS)
        file.write_bytes(file.read_bytes() * times)
        one = flat.measure_source(place, flat.ON_S3, ROWS * times, s3.upload(file), s3.environment())
    assert one.result["sent"] == ROWS * times


def test_a_source_that_sends_less_or_takes_too_much_memory_fails(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_sink(0) as sink:
        place = place_of(directory, sink)
        with pytest.raises(RuntimeError, match=f"query has sent {ROWS} orders"):
            flat.measure_source(place, "query", ROWS + 1, "")
        monkeypatch.setitem(flat.MOST_BYTES, "query", 1)
        with pytest.raises(RuntimeError, match=f"MB for {ROWS} rows"):
            flat.measure_source(place, "query", ROWS, "")
