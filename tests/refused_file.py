"""Imports with a file of refused records, in each way that a task can wait, and what their files hold."""

from __future__ import annotations

import dataclasses
import datetime
import gzip
import json
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_fullstory.batch_import.sending.importer import Importer
from airflow_provider_fullstory.operators.fullstory import FullStoryImportEventsOperator
from airflow_provider_fullstory.sensors.fullstory import FullStoryImportJobSensor
from tests.accounting import check_accounted
from tests.conftest import run
from tests.tries import numbers, posts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from airflow_provider_fullstory.emulator.client import EmulatorClient

MANY: Final = 10**6


def importing(**arguments: Any) -> FullStoryImportEventsOperator:
    given = {"task_id": "import", "poll_interval": 0.01, "max_rejected": MANY, **arguments}
    return FullStoryImportEventsOperator(**given)


def in_the_task(context: Any, **arguments: Any) -> dict[str, Any]:
    return dict(run(importing(deferrable=False, **arguments), context))


def in_the_triggerer(context: Any, **arguments: Any) -> dict[str, Any]:
    # A job that is finished at the first poll needs no deferral.
    with patch.object(Importer, "poll", lambda _, job_ids: None if job_ids else []):
        return dict(run(importing(deferrable=True, **arguments), context))


def in_the_sensor(context: Any, **arguments: Any) -> dict[str, Any]:
    submitted = run(importing(wait_for_completion=False, **arguments), context)
    names = ("max_rejected", "log_values")
    sensor = FullStoryImportJobSensor(
        **{
            "task_id": "wait",
            "job_ids": json.loads(json.dumps(submitted)),
            "poke_interval": 0.01,
            "deferrable": True,
            "max_rejected": MANY,
            **{name: arguments[name] for name in names if name in arguments},
        }
    )
    with patch.object(FullStoryImportJobSensor, "_poll"):
        return dict(run(sensor, context))


WAYS = pytest.mark.parametrize("import_in", [in_the_task, in_the_triggerer, in_the_sensor])


def content_of(uri: str) -> bytes:
    path = ObjectStoragePath(uri)
    content: bytes = path.read_bytes()
    return gzip.decompress(content) if uri.endswith(".gz") else content


def lines_of(uri: str) -> list[dict[str, Any]]:
    content = content_of(uri)
    assert content.endswith(b"\n")
    return [json.loads(line) for line in content.splitlines()]


def write(uri: str, content: bytes) -> None:
    ObjectStoragePath(uri).parent.mkdir(parents=True, exist_ok=True)
    ObjectStoragePath(uri).write_bytes(gzip.compress(content) if uri.endswith(".gz") else content)


def files_below(uri: str) -> list[str]:
    """Return the names of all files, those of side folders included."""
    root = ObjectStoragePath(uri)
    return sorted(path.name for path in root.rglob("*") if path.is_file()) if root.exists() else []


def record(position: int, **more: Any) -> dict[str, Any]:
    return {"name": "Order", "user.uid": f"u{position}", "number": position, **more}


def source(count: int, invalid: Iterable[int] = (), rejected: Iterable[int] = ()) -> list[dict[str, Any]]:
    """Return records, some of them invalid, some to be rejected by FullStory; each knows its place."""
    made_records: list[dict[str, Any]] = []
    for position in range(1, count + 1):
        made = record(position)
        if position in set(rejected):
            made["only_fullstory_refuses"] = True
        if position in set(invalid):
            del made["name"]
        made_records.append(made)
    return made_records


def check_file(
    report: dict[str, Any],
    emulator: EmulatorClient,
    count: int,
    invalid: Iterable[int],
    rejected: Iterable[int],
    *,
    batch_size: int = 10,
) -> None:
    """Hold report, file and emulator to each other for records made by ``source``."""
    check_accounted(report)
    invalid, rejected = sorted(invalid), sorted(set(rejected) - set(invalid))
    refused = {*invalid, *rejected}
    assert (report["records"], report["invalid"], report["rejected"]) == (count, len(invalid), len(rejected))
    assert numbers(emulator) == [position for position in range(1, count + 1) if position not in refused]
    expected_codes = {"required_field": len(invalid), "user_not_found": len(rejected)}
    assert report["codes"] == {code: number for code, number in expected_codes.items() if number}
    if not refused:
        assert report["rejected_uri"] is None
        return
    lines = lines_of(report["rejected_uri"])
    assert sorted(line["refusal"]["position"] for line in lines) == sorted(refused)
    sent = [position for position in range(1, count + 1) if position not in set(invalid)]
    for line in lines:
        assert set(line) == {"event", "refusal"}
        refusal, event = line["refusal"], line["event"]
        position = refusal["position"]
        assert event["properties"]["number"] == position
        assert event["user"] == {"uid": f"u{position}"}
        assert refusal["import"]
        if position in set(invalid):
            assert (refusal["outcome"], refusal["code"]) == ("invalid", "required_field")
            assert "name is missing" in refusal["message"]
            assert set(refusal) == {"outcome", "code", "message", "position", "import"}
        else:
            batch = sent.index(position) // batch_size + 1
            assert set(refusal) == {"outcome", "code", "message", "position", "job_id", "batch", "import"}
            assert (refusal["outcome"], refusal["code"]) == ("rejected", "user_not_found")
            assert (refusal["job_id"], refusal["batch"]) == (report["job_ids"][batch - 1], str(batch))


COUNT = 35
PLACES: dict[str, tuple[set[int], set[int]]] = {
    "none": (set(), set()),
    "first": (set(), {1}),
    "first here": ({1}, set()),
    "last": (set(), {COUNT}),
    "last here": ({COUNT}, set()),
    "a whole batch": (set(), set(range(11, 21))),
    "a whole batch's worth here": (set(range(11, 21)), set()),
    "all": (set(), set(range(1, COUNT + 1))),
    "all here": (set(range(1, COUNT + 1)), set()),
    "all, some here and some there": (set(range(1, COUNT + 1, 2)), set(range(2, COUNT + 1, 2))),
    "borders of batches": (set(), {1, 10, 11, 20, 21, 30, 31, 35}),
    "here and there in turn": ({2, 3, 9, 10, 12, 34}, {1, 4, 8, 11, 13, 33, 35}),
}


BERLIN = datetime.timezone(datetime.timedelta(hours=2))
NAIVE = datetime.datetime(2026, 7, 1, 12, 0, 0)  # noqa: DTZ001 - That is the point.


@dataclasses.dataclass
class Opaque:
    x: int = 1


def fix(uri: str, changes: dict[int, Callable[[Any], Any]]) -> None:
    """Fix records in the file, by their places."""
    lines = lines_of(uri)
    for line in lines:
        change = changes.get(line["refusal"]["position"])
        if change is not None:
            line["event"] = change(line["event"])
    write(uri, b"".join(json.dumps(line).encode() + b"\n" for line in lines))


def seen_posts(emulator: EmulatorClient) -> int:
    return len(posts(emulator))


def sensor_of(report: dict[str, Any], **arguments: Any) -> FullStoryImportJobSensor:
    given = {"task_id": "wait", "job_ids": report, "poke_interval": 0.01, "max_rejected": MANY, **arguments}
    return FullStoryImportJobSensor(**given)
