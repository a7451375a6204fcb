"""A sensor with the files of refused records of the imports that it waits for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, ObjectStoragePath, TaskDeferred

from airflow_provider_fullstory.batch_import.folder import Folder
from airflow_provider_fullstory.exceptions import FullStoryError
from airflow_provider_fullstory.sensors.fullstory import FullStoryImportJobSensor
from tests.conftest import run
from tests.refused_file import (
    check_file,
    content_of,
    files_below,
    importing,
    in_the_task,
    lines_of,
    sensor_of,
    source,
)
from tests.tries import Crash

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provider_fullstory.emulator.client import EmulatorClient

pytestmark = pytest.mark.usefixtures("short_waits")


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_sensor_that_is_cleared_loses_nothing(
    emulator: EmulatorClient, make_context: Callable[..., Any], uri: str, deferrable: bool
) -> None:
    """It failed since too many were refused; somebody allows more and clears it."""
    submitted = run(
        importing(events=source(15, {1, 2}, {3, 12}), wait_for_completion=False, rejected_uri=uri),
        make_context(),
    )
    context = make_context()
    context["ti"].task_id = "wait"
    with pytest.raises(AirflowFailException):
        run(sensor_of(submitted, max_rejected=1, deferrable=deferrable), context)
    before = content_of(uri)
    assert len(before.splitlines()) == 4
    report = run(sensor_of(submitted, deferrable=deferrable), context)
    assert report["rejected_uri"] == uri
    assert content_of(uri) == before


def test_a_sensor_of_another_task_has_the_places(
    emulator: EmulatorClient, make_context: Callable[..., Any], uri: str
) -> None:
    submitted = run(
        importing(
            events=source(15, {1, 2}, {3, 12}), wait_for_completion=False, rejected_uri=uri, batch_size=5
        ),
        make_context(),
    )
    context = make_context()
    context["ti"].task_id = "wait"
    report = run(sensor_of(submitted), context)
    check_file(report, emulator, 15, {1, 2}, {3, 12}, batch_size=5)


@pytest.mark.parametrize(("invalid", "rejected"), [({1}, {3}), ({1}, set()), (set(), {3})])
def test_a_sensor_with_a_file_of_its_own(
    *,
    emulator: EmulatorClient,
    make_context: Callable[..., Any],
    uri: str,
    tmp_path: Path,
    invalid: set[int],
    rejected: set[int],
) -> None:
    submitted = run(
        importing(events=source(5, invalid, rejected), wait_for_completion=False, rejected_uri=uri),
        make_context(),
    )
    context = make_context()
    context["ti"].task_id = "wait"
    own = f"file://{tmp_path}/own/own.ndjson"
    report = run(sensor_of(submitted, rejected_uri=own), context)
    found = [
        line["refusal"]["position"]
        for place in (own, uri)
        if ObjectStoragePath(place).exists()
        for line in lines_of(place)
    ]
    assert sorted(found, key=str) == sorted(invalid | rejected)
    assert report["rejected_uri"] is None or ObjectStoragePath(report["rejected_uri"]).exists()
    assert not any(path.name.endswith(".sent") for path in tmp_path.rglob("*"))


def test_a_sensor_for_jobs_by_id_writes_what_fullstory_tells(
    emulator: EmulatorClient, make_context: Callable[..., Any], uri: str
) -> None:
    submitted = run(importing(events=source(15, (), {3, 12}), wait_for_completion=False), make_context())
    for _ in range(2):
        report = run(sensor_of(submitted["job_ids"], rejected_uri=uri), make_context())
        lines = lines_of(uri)
        assert [line["event"]["properties"]["number"] for line in lines] == [3, 12]
        assert [line["refusal"]["position"] for line in lines] == [None, None]
        assert (report["records"], report["rejected_uri"]) == (15, uri)


@pytest.mark.parametrize("rejected", [{5, 13}, {5}, set()])
def test_a_sensor_for_other_jobs_has_their_records_in_the_file(
    emulator: EmulatorClient, make_context: Callable[..., Any], uri: str, rejected: set[int]
) -> None:
    """Whatever made the jobs was cleared, and so is the sensor."""
    for expected in ({3, 12}, rejected):
        submitted = run(
            importing(
                events=source(15, (), expected), wait_for_completion=False, idempotency_salt=str(expected)
            ),
            make_context(),
        )
        context = make_context()
        context["ti"].task_id = "wait"
        report = run(sensor_of(submitted["job_ids"], rejected_uri=uri), context)
        assert report["rejected"] == len(expected)
        if expected:
            assert {line["event"]["properties"]["number"] for line in lines_of(uri)} == expected
        else:
            assert report["rejected_uri"] is None


@pytest.mark.parametrize("has_file", [False, True])
def test_a_sensor_for_an_import_that_was_waited_for_counts_once(
    emulator: EmulatorClient, make_context: Callable[..., Any], uri: str, *, has_file: bool
) -> None:
    where = {"rejected_uri": uri} if has_file else {}
    finished = in_the_task(make_context(), events=source(15, {1, 2}, {3, 12}), **where)
    before = content_of(uri) if has_file else b""
    context = make_context()
    context["ti"].task_id = "wait"
    assert run(sensor_of(finished), context) == finished
    assert before == (content_of(uri) if has_file else b"")


def test_a_sensor_whose_import_was_cleared_meanwhile_says_so(
    emulator: EmulatorClient, make_context: Callable[..., Any]
) -> None:
    """Airflow renders the sensor's arguments again once it comes back from the triggerer."""
    first, second = (
        run(importing(events=source(3), wait_for_completion=False, idempotency_salt=salt), make_context())
        for salt in "ab"
    )
    sensor = sensor_of(first, deferrable=True)
    with patch.object(FullStoryImportJobSensor, "_look"), pytest.raises(TaskDeferred) as deferral:
        sensor.execute(make_context())
    event = asyncio.run(anext(deferral.value.trigger.run())).payload
    sensor.job_ids = second
    try:
        report = sensor.execute_complete(make_context(), event)
    except (FullStoryError, AirflowFailException) as error:
        assert str(error)  # noqa: PT017 - Either outcome is right.
    else:
        assert report["job_ids"] in (first["job_ids"], second["job_ids"])


def test_a_sensor_that_died_while_it_tidied_up_loses_no_place(
    emulator: EmulatorClient, make_context: Callable[..., Any], uri: str, tmp_path: Path
) -> None:
    submitted = run(
        importing(events=source(15, {1}, {3, 12}), wait_for_completion=False, rejected_uri=uri, batch_size=5),
        make_context(),
    )
    context = make_context()
    context["ti"].task_id = "wait"

    def remove_half(folder: Folder, name: str = "") -> None:
        (tmp_path / "refused" / name / "00000003.msgpack").unlink()
        raise Crash

    with patch.object(Folder, "remove", remove_half), pytest.raises(Crash):
        run(sensor_of(submitted), context)
    before = content_of(uri)
    run(sensor_of(submitted), context)
    assert content_of(uri) == before
    assert files_below(f"file://{tmp_path}/refused") == ["file.ndjson"]


def test_a_sensor_for_mapped_imports_loses_no_refused_record(
    emulator: EmulatorClient, make_context: Callable[..., Any], tmp_path: Path
) -> None:
    folder = f"file://{tmp_path}/all/"
    reports = [
        run(
            importing(events=source(5, {1}, {2}), wait_for_completion=False, rejected_uri=folder),
            make_context(map_index=index),
        )
        for index in range(3)
    ]
    context = make_context()
    context["ti"].task_id = "wait"
    report = run(sensor_of(reports), context)
    assert (report["invalid"], report["rejected"]) == (3, 3)
    lines = [
        line
        for path in ObjectStoragePath(folder).rglob("*.ndjson")
        if path.is_file()
        for line in lines_of(str(path))
    ]
    assert len(lines) == 6
    assert not any(path.name.endswith(".sent") for path in tmp_path.rglob("*"))
