"""A sensor with the files of refused records of the imports that it waits for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, ObjectStoragePath, TaskDeferred

from airflow_provider_fullstory.batch_import.reporting import rejections
from airflow_provider_fullstory.batch_import.storage.folder import Folder
from airflow_provider_fullstory.exceptions import FullStoryAccountingError, FullStoryError
from airflow_provider_fullstory.hooks.fullstory import FullStoryHook
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
from tests.sensors.test_fullstory import submit
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
    assert not any(path.name.endswith((".sent", ".claim")) for path in tmp_path.rglob("*"))


def test_a_sensor_for_jobs_by_id_writes_what_fullstory_reports(
    emulator: EmulatorClient, make_context: Callable[..., Any], uri: str
) -> None:
    submitted = run(importing(events=source(15, (), {3, 12}), wait_for_completion=False), make_context())
    for _ in range(2):
        report = run(sensor_of(submitted["job_ids"], rejected_uri=uri), make_context())
        lines = lines_of(uri)
        assert [line["event"]["properties"]["number"] for line in lines] == [3, 12]
        assert [line["refusal"]["position"] for line in lines] == [None, None]
        assert (report["records"], report["rejected_uri"]) == (15, uri)


def test_rejected_users_are_written_with_the_types_that_they_were_taken_for(
    emulator: EmulatorClient, make_context: Callable[..., Any], uri: str
) -> None:
    user = {"uid": "", "properties": {"seats": 5, "limits": [1, 2]}}
    job_ids = submit([user, {"uid": "v"}], resource="users")

    report = run(sensor_of(job_ids, resource="users", rejected_uri=uri), make_context())

    assert (report["imported"], report["rejected"]) == (1, 1)
    # FullStory would take numbers for real as well when the file is imported.
    types = {"properties": {"seats": "real", "limits": "reals"}}
    assert [line["user"] for line in lines_of(uri)] == [user | {"schema": types}]


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
    with patch.object(FullStoryImportJobSensor, "_poll"), pytest.raises(TaskDeferred) as deferral:
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
    assert not any(path.name.endswith((".sent", ".claim")) for path in tmp_path.rglob("*"))


def waiting(make_context: Callable[..., Any]) -> Any:
    """Return the context of a sensor."""
    context = make_context()
    context["ti"].task_id = "wait"
    return context


def submitted_imports(
    make_context: Callable[..., Any], *uris: str | None, **arguments: Any
) -> list[dict[str, Any]]:
    """Return the reports of mapped tasks that did not wait: each has 3 records, of which 2 are refused."""
    return [
        run(
            importing(
                events=[{**event, "of": index} for event in source(3, {1}, {2})],
                rejected_uri=uri,
                wait_for_completion=False,
                **arguments,
            ),
            make_context(map_index=index),
        )
        for index, uri in enumerate(uris)
    ]


def found_in(*uris: str) -> list[tuple[int, int]]:
    """Return which records of which import are in files."""
    return sorted(
        (line["event"]["properties"]["of"], line["event"]["properties"]["number"])
        for uri in uris
        for line in lines_of(uri)
    )


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_file_of_the_sensor_holds_what_fullstory_refused_of_all_imports(
    emulator: EmulatorClient, make_context: Callable[..., Any], tmp_path: Path, *, deferrable: bool
) -> None:
    """What was refused here, and so was never sent, stays in the files of the tasks that found it."""
    files = [f"file://{tmp_path}/{index}.ndjson" for index in range(2)]
    reports = submitted_imports(make_context, *files, None)
    own = f"file://{tmp_path}/own.ndjson"
    report = run(sensor_of(reports, rejected_uri=own, deferrable=deferrable), waiting(make_context))
    assert found_in(own) == [(0, 2), (1, 2), (2, 2)]
    assert found_in(*files) == [(0, 1), (1, 1)]
    assert [line["refusal"]["position"] for line in lines_of(own)] == [2, 2, None]
    assert (report["records"], report["invalid"], report["rejected"]) == (9, 3, 3)
    assert report["codes"] == {"required_field": 3, "user_not_found": 3}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.ndjson", "1.ndjson", "own.ndjson"]


def test_the_file_of_one_import_may_take_what_was_refused_of_others(
    emulator: EmulatorClient, make_context: Callable[..., Any], tmp_path: Path
) -> None:
    """The sensor names the file that one of its imports has too."""
    uri = f"file://{tmp_path}/file.ndjson"
    reports = submitted_imports(make_context, uri, None)
    for _ in range(2):
        report = run(sensor_of(reports, rejected_uri=uri), waiting(make_context))
        assert found_in(uri) == [(0, 1), (0, 2), (1, 2)]
    assert report["rejected_uri"] == uri
    assert [path.name for path in tmp_path.iterdir()] == ["file.ndjson"]


def test_an_import_that_was_waited_for_without_a_file_is_in_the_one_of_the_sensor(
    emulator: EmulatorClient, make_context: Callable[..., Any], tmp_path: Path
) -> None:
    finished = in_the_task(make_context(), events=[{**event, "of": 7} for event in source(3, {1}, {2})])
    reports = submitted_imports(make_context, None)
    own = f"file://{tmp_path}/own.ndjson"
    report = run(sensor_of([finished, *reports], rejected_uri=own), waiting(make_context))
    assert found_in(own) == [(0, 2), (7, 2)]
    assert report["codes"] == {"required_field": 2, "user_not_found": 2}
    assert report["rejected_uri"] == own


def test_a_finished_import_keeps_its_file_beside_one_that_is_not(
    emulator: EmulatorClient, make_context: Callable[..., Any], tmp_path: Path
) -> None:
    files = [f"file://{tmp_path}/{index}.ndjson" for index in range(2)]
    finished = in_the_task(
        make_context(), events=[{**event, "of": 7} for event in source(3, {1}, {2})], rejected_uri=files[0]
    )
    reports = [finished, *submitted_imports(make_context, files[1])]
    report = run(sensor_of(reports), waiting(make_context))
    assert found_in(files[0]) == [(7, 1), (7, 2)]
    assert found_in(files[1]) == [(0, 1), (0, 2)]
    assert report["rejected_uri"] is None
    with pytest.raises(
        AirflowFailException, match=rf"import that file \(events=\):\n{files[0]}, {files[1]}\n"
    ) as caught:
        run(sensor_of(reports, max_rejected=0), waiting(make_context))
    assert "\n2 records: user_not_found, says FullStory\n" in str(caught.value)
    assert "\n2 records: required_field: name is missing; " in str(caught.value)


def test_mapped_imports_with_one_file_leave_it_to_the_first(
    emulator: EmulatorClient, make_context: Callable[..., Any], uri: str
) -> None:
    [report] = submitted_imports(make_context, uri)
    with pytest.raises(AirflowFailException, match=r"Give each run its own.* \{\{ ti.map_index \}\}"):
        run(importing(events=source(3, {1}, {2}), rejected_uri=uri), make_context(map_index=1))
    assert run(sensor_of([report]), waiting(make_context))["rejected_uri"] == uri
    assert found_in(uri) == [(0, 1), (0, 2)]


def test_sensors_with_one_file_lose_no_line(
    emulator: EmulatorClient, make_context: Callable[..., Any], tmp_path: Path
) -> None:
    own = f"file://{tmp_path}/own.ndjson"
    first, second = submitted_imports(make_context, None, None)
    run(sensor_of(first, rejected_uri=own), waiting(make_context))
    other = waiting(make_context)
    other["ti"].map_index = 1
    with pytest.raises(AirflowFailException, match="holds the refused records of dag/run-1/wait/-1"):
        run(sensor_of(second, rejected_uri=own), other)
    assert found_in(own) == [(0, 2)]
    report = run(sensor_of(second, rejected_uri=f"file://{tmp_path}/{{}}/".format("all")), other)
    assert found_in(report["rejected_uri"]) == [(1, 2)]


@pytest.mark.parametrize("value", ["None", "refused.ndjson", "", "{{ run_id }}"])
def test_a_file_of_the_sensor_that_is_none_is_refused_before_the_wait(
    emulator: EmulatorClient, make_context: Callable[..., Any], value: str
) -> None:
    [report] = submitted_imports(make_context, None)
    asked = len(emulator.requests())
    with pytest.raises(AirflowFailException, match=r"^rejected_uri is "):
        run(sensor_of(report, rejected_uri=value), waiting(make_context))
    assert len(emulator.requests()) == asked


def test_a_list_that_is_short_for_now_is_read_again_by_a_sensor(
    emulator: EmulatorClient, make_context: Callable[..., Any], uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FullStory's list may be complete later than its job."""
    monkeypatch.setattr(rejections, "_SECONDS_BETWEEN_LISTS", (0.0, 0.0))
    [report] = submitted_imports(make_context, uri)
    with (
        patch.object(FullStoryHook, "iter_errors", lambda *_: iter([])),
        pytest.raises(
            FullStoryAccountingError,
            match=r"(?s)counts 1 rejected record in job .*, and lists 0\..*sends nothing",
        ),
    ):
        run(sensor_of(report), waiting(make_context))
    assert found_in(uri) == [(0, 1)]
    assert run(sensor_of(report), waiting(make_context))["rejected"] == 1
    assert found_in(uri) == [(0, 1), (0, 2)]
