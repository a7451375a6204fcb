"""How many records may be refused, how many there must be, and what a task that fails for it leaves."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from airflow_provider_fullstory.batch_import.reporting.report import ImportReport
from airflow_provider_fullstory.batch_import.sending.importer import Importer
from airflow_provider_fullstory.exceptions import FullStoryRecordsRefusedError, FullStoryTooFewRecordsError
from airflow_provider_fullstory.operators.fullstory import FullStoryImportEventsOperator
from airflow_provider_fullstory.sensors.fullstory import FullStoryImportJobSensor
from tests.accounting import check_accounted
from tests.conftest import run
from tests.tries import QUERY, make_warehouse, numbers, orders, posts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provider_fullstory.emulator.client import EmulatorClient
    from tests.tries import Task

MANY: Final = 10**6


def importing(**arguments: Any) -> FullStoryImportEventsOperator:
    return FullStoryImportEventsOperator(**{"task_id": "import", "poll_interval": 0.01, **arguments})


def waiting(report: Any, **arguments: Any) -> FullStoryImportJobSensor:
    given = {"task_id": "wait", "job_ids": report, "poke_interval": 0.01, **arguments}
    return FullStoryImportJobSensor(**given)


def in_the_task(context: Any, **arguments: Any) -> Any:
    return run(importing(deferrable=False, **arguments), context)


def in_the_triggerer(context: Any, **arguments: Any) -> Any:
    # A job that is finished at the first poll needs no deferral.
    with patch.object(Importer, "poll", lambda _, job_ids: None if job_ids else []):
        return run(importing(deferrable=True, **arguments), context)


def in_the_sensor(context: Any, max_rejected: Any = 0, **arguments: Any) -> Any:
    submitted = run(importing(wait_for_completion=False, max_rejected=MANY, **arguments), context)
    assert (submitted["imported"], submitted["rejected"]) == (None, None) or not submitted["job_ids"]
    given = json.loads(json.dumps(submitted))
    with patch.object(FullStoryImportJobSensor, "_poll"):
        return run(waiting(given, deferrable=True, max_rejected=max_rejected), context)


WAYS = pytest.mark.parametrize("import_in", [in_the_task, in_the_triggerer, in_the_sensor])


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return f"file://{tmp_path}/refused.ndjson"


def source(count: int, invalid: int = 0, rejected: int = 0) -> list[dict[str, Any]]:
    """Return records, the first of them to be found invalid here, the next to be rejected by FullStory."""
    records = orders(count)
    for record in records[:invalid]:
        del record["name"]
    for record in records[invalid : invalid + rejected]:
        record["only_fullstory_refuses"] = True
    return records


def left_in(context: Any) -> dict[str, Any]:
    report = context["ti"].xcoms["return_value"]
    assert json.loads(json.dumps(report)) == report
    return dict(report)


SPLITS = pytest.mark.parametrize("split", [(1.0, 0.0), (0.0, 1.0), (0.5, 0.5)], ids=["here", "there", "both"])


def divided(refused: int, split: tuple[float, float]) -> tuple[int, int]:
    here = math.ceil(refused * split[0])
    return here, refused - here


@WAYS
@SPLITS
@pytest.mark.parametrize(
    ("max_rejected", "allowed"), [(0, 0), (1, 1), (4, 4), (0.0, 0), (0.1, 2), (0.2, 4), (0.05, 1), (0.24, 4)]
)
def test_what_is_allowed_passes_and_one_more_fails(
    emulator: EmulatorClient,
    make_context: Callable[..., Any],
    *,
    import_in: Any,
    split: tuple[float, float],
    max_rejected: float,
    allowed: int,
) -> None:
    invalid, rejected = divided(allowed, split)
    report = import_in(
        make_context(), events=source(20, invalid, rejected), max_rejected=max_rejected, batch_size=7
    )
    check_accounted(report)
    assert (report["invalid"], report["rejected"], report["imported"]) == (invalid, rejected, 20 - allowed)

    invalid, rejected = divided(allowed + 1, split)
    context = make_context(run_id="2")
    with pytest.raises(AirflowFailException) as caught:
        import_in(context, events=source(20, invalid, rejected), max_rejected=max_rejected, batch_size=7)
    message = str(caught.value)
    assert f"{allowed + 1} of 20 records {'are' if allowed else 'is'} not in FullStory" in message
    assert f"{invalid} invalid, never sent" in message
    assert f"{rejected} rejected by FullStory" in message
    report = left_in(context)
    check_accounted(report)
    assert (report["invalid"], report["rejected"], report["imported"]) == (invalid, rejected, 19 - allowed)
    assert len(emulator.events()) == 39 - 2 * allowed


@pytest.mark.parametrize("percent", range(1, 100))
def test_a_share_that_is_met_exactly_passes(percent: int) -> None:
    """29 of 100 is no more than 0.29, though 0.29 * 100 is less than 29 for floats."""
    for records in (100, 200, 1000, 100_000):
        share, allowed = percent / 100, percent * records // 100
        assert Fraction(allowed, records) == Fraction(percent, 100)
        ImportReport(
            "events", records=records, imported=records - allowed, invalid=0, rejected=allowed
        ).check_refused(share)
        more = ImportReport(
            "events", records=records, imported=records - allowed - 1, invalid=1, rejected=allowed
        )
        with pytest.raises(FullStoryRecordsRefusedError):
            more.check_refused(share)


@WAYS
def test_a_share_that_is_met_exactly_passes_end_to_end(
    emulator: EmulatorClient, context: Any, import_in: Any
) -> None:
    report = import_in(context, events=source(100, 9, 20), max_rejected=0.29)
    assert (report["invalid"], report["rejected"]) == (9, 20)


NO_LIMITS = [True, False, -1, -0.1, 1.0, 2.5, "", "five", "-1", None, math.nan, math.inf, [1]]


@pytest.mark.parametrize("value", NO_LIMITS, ids=repr)
def test_what_is_no_limit_is_refused_before_anything_is_sent(
    emulator: EmulatorClient, context: Any, value: Any
) -> None:
    for way in (in_the_task, in_the_triggerer):
        with pytest.raises(AirflowFailException, match="max_rejected"):
            way(context, events=source(3), max_rejected=value)
    assert posts(emulator) == []
    submitted = importing(events=source(3), wait_for_completion=False).execute(context)
    with pytest.raises(AirflowFailException, match="max_rejected"):
        run(waiting(submitted, max_rejected=value), context)


@WAYS
@pytest.mark.parametrize("has_file", [False, True])
def test_a_failure_says_all_that_one_needs(
    emulator: EmulatorClient, context: Any, uri: str, *, import_in: Any, has_file: bool
) -> None:
    for number, code in enumerate(["c1", "c2", "c3", "c4", "c5", "c6"], 1):
        emulator.order_rejection("properties.kind", [number], code=code)
    events = source(60, 1)
    for number in range(1, 7):
        for record in [record for record in events if "name" in record and "kind" not in record][:number]:
            record["kind"] = number
    where = {"rejected_uri": uri} if has_file else {}
    with pytest.raises(AirflowFailException) as caught:
        import_in(context, events=events, batch_size=25, max_rejected=21, **where)
    message = str(caught.value)
    report = left_in(context)
    check_accounted(report)
    assert (report["records"], report["imported"]) == (60, 38)
    expected = {"c1": 1, "c2": 2, "c3": 3, "c4": 4, "c5": 5, "c6": 6, "required_field": 1}
    assert report["codes"] == expected
    assert "22 of 60 records are not in FullStory, more than max_rejected=21 allows" in message
    assert "1 invalid, never sent, 21 rejected by FullStory" in message
    for code in ("c6", "c5", "c4", "c3", "c2"):
        assert f"\n{code[1]} records: {code}, says FullStory\n" in message
    for text in ("\n2 records: other reasons\n", "38 imported", *report["job_ids"]):
        assert text in message
    assert "u1" not in message.split()
    if has_file:
        assert report["rejected_uri"] == uri
        assert f"import that file (events=):\n{uri}\n" in message
    else:
        assert report["rejected_uri"] is None


@WAYS
def test_a_standard_key_has_the_gate_too(
    emulator: EmulatorClient, context: Any, uri: str, monkeypatch: pytest.MonkeyPatch, import_in: Any
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_FULLSTORY_DEFAULT", emulator.connection_json(emulator.standard_key))
    with pytest.raises(AirflowFailException, match="5 of 10 records"):
        import_in(context, events=source(10, 2, 3), max_rejected=4, rejected_uri=uri)
    report = left_in(context)
    assert (report["invalid"], report["rejected"], report["codes"]) == (2, 3, {"required_field": 2})


# -- Submitted, not waited for ----------------------------------------------------------------------------


@pytest.mark.parametrize(("max_rejected", "passes"), [(2, True), (1, False), (0.2, True), (0.19, False)])
def test_too_many_refused_here_fail_at_once(
    emulator: EmulatorClient, context: Any, uri: str, tmp_path: Path, *, max_rejected: float, passes: bool
) -> None:
    emulator.configure(processing_seconds=3600)
    operator = importing(
        events=source(10, 2), wait_for_completion=False, max_rejected=max_rejected, rejected_uri=uri
    )
    if passes:
        report = operator.execute(context)
    else:
        with pytest.raises(AirflowFailException, match="2 of 10 records") as caught:
            operator.execute(context)
        assert "FullStory is still working on the others" in str(caught.value)
        report = left_in(context)
        assert report["job_ids"][0] in str(caught.value)
        assert uri in str(caught.value)
    assert (report["invalid"], report["imported"], report["rejected"]) == (2, None, None)
    assert report["rejected_uri"] == uri
    assert report["codes"] == {"required_field": 2}
    assert len((tmp_path / "refused.ndjson").read_text().splitlines()) == 2


def test_nothing_but_refused_records_needs_no_wait(emulator: EmulatorClient, context: Any, uri: str) -> None:
    report = importing(
        events=source(3, 3), wait_for_completion=False, max_rejected=3, rejected_uri=uri
    ).execute(context)
    check_accounted(report)
    assert (report["invalid"], report["imported"], report["job_ids"]) == (3, 0, [])
    again = run(waiting(report, max_rejected=3), context)
    assert again == report
    with pytest.raises(AirflowFailException, match="3 of 3"):
        run(waiting(report, max_rejected=2), context)


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize(("max_rejected", "passes"), [(5, True), (4, False), (0.5, True), (0.49, False)])
def test_the_sensor_counts_what_was_refused_on_both_sides(
    emulator: EmulatorClient, context: Any, uri: str, *, deferrable: bool, max_rejected: float, passes: bool
) -> None:
    submitted = importing(
        events=source(10, 2, 3), wait_for_completion=False, max_rejected=2, rejected_uri=uri
    ).execute(context)
    sensor = waiting(submitted, max_rejected=max_rejected, deferrable=deferrable)
    if passes:
        report = run(sensor, context)
    else:
        with pytest.raises(
            AirflowFailException, match=r"(?s)5 of 10 records .*2 invalid, never sent.* 3 rejected"
        ):
            run(sensor, context)
        report = left_in(context)
    check_accounted(report)
    assert (report["invalid"], report["rejected"], report["rejected_uri"]) == (2, 3, uri)


@pytest.mark.parametrize("soft_fail", [False, True])
def test_the_sensor_fails_or_skips(
    emulator: EmulatorClient, make_context: Callable[..., Any], *, soft_fail: bool
) -> None:
    submitted = importing(events=source(3, 0, 1), wait_for_completion=False).execute(make_context())
    emulator.advance_clock(1)
    context = make_context()
    error = AirflowSkipException if soft_fail else AirflowFailException
    with pytest.raises(error):
        waiting(submitted, soft_fail=soft_fail, max_rejected=0).execute(context)
    assert left_in(context)["rejected"] == 1


def test_the_sensor_for_jobs_by_id_has_the_gate(emulator: EmulatorClient, context: Any) -> None:
    submitted = importing(events=source(10, 0, 2), wait_for_completion=False).execute(context)
    assert run(waiting(submitted["job_ids"], max_rejected=0.2, deferrable=True), context)["rejected"] == 2
    with pytest.raises(AirflowFailException):
        run(waiting(submitted["job_ids"], max_rejected=1, deferrable=True), context)


# -- How many there must be -------------------------------------------------------------------------------


@WAYS
@pytest.mark.parametrize("kind", ["list", "query", "iterator"])
@pytest.mark.parametrize("count", [9, 10, 11])
def test_fewer_records_than_there_must_be_are_not_sent(
    emulator: EmulatorClient, context: Any, database: Path, *, import_in: Any, kind: str, count: int
) -> None:
    make_warehouse(database, count)
    given = {"list": {"events": orders(count)}, "query": QUERY, "iterator": {"events": iter(orders(count))}}
    if count >= 10:
        assert import_in(context, min_records=10, **given[kind])["records"] == count
        return
    # A query may give more at the next try; a list never does.
    error = FullStoryTooFewRecordsError if kind == "query" else AirflowFailException
    with pytest.raises(error, match="gave 9 records, fewer than min_records=10"):
        import_in(context, min_records=10, **given[kind])
    assert posts(emulator) == []


@WAYS
def test_refused_records_are_records_too(emulator: EmulatorClient, context: Any, import_in: Any) -> None:
    report = import_in(context, events=source(10, 4, 3), min_records=10, max_rejected=7)
    assert report["records"] == 10


@pytest.mark.parametrize("count", [20, 25, 30, 31])
def test_of_several_batches_the_last_is_held_back(emulator: EmulatorClient, context: Any, count: int) -> None:
    """Full batches go out before the end of the source is seen."""
    with pytest.raises(AirflowFailException, match=f"gave {count} records"):
        importing(events=orders(count), min_records=32, batch_size=10).execute(context)
    assert len(emulator.events()) <= count // 10 * 10


def test_what_is_staged_is_not_sent_at_all(
    emulator: EmulatorClient, make_task: Callable[..., Task], database: Path
) -> None:
    make_warehouse(database, 25)
    task = make_task("folder", **QUERY, min_records=26)
    with pytest.raises(FullStoryTooFewRecordsError):
        task.attempt()
    assert posts(emulator) == []
    assert task.attempt(min_records=25)["imported"] == 25
    assert numbers(emulator) == list(range(25))


@pytest.mark.parametrize("value", [True, "5", 2.5, None, -1], ids=repr)
def test_what_is_no_number_of_records_is_refused(emulator: EmulatorClient, context: Any, value: Any) -> None:
    with pytest.raises(AirflowFailException, match="min_records"):
        importing(events=orders(3), min_records=value).execute(context)
    assert posts(emulator) == []


def test_a_source_that_grew_is_imported_by_the_next_try(
    emulator: EmulatorClient, make_task: Callable[..., Task], database: Path
) -> None:
    make_warehouse(database, 5)
    task = make_task("store", **QUERY, min_records=8)
    with pytest.raises(FullStoryTooFewRecordsError):
        task.attempt()
    make_warehouse(database, 5, start=5)
    assert task.attempt()["imported"] == 10


# -- Nothing at all ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("import_in", [in_the_task, in_the_triggerer])
@pytest.mark.parametrize("kind", ["list", "query", "iterator", "file"])
def test_an_empty_source_skips_the_task_where_that_is_wanted(
    emulator: EmulatorClient, context: Any, database: Path, *, import_in: Any, kind: str, tmp_path: Path
) -> None:
    make_warehouse(database, 0)
    (tmp_path / "empty.ndjson").write_text("\n")
    given: dict[str, dict[str, Any]] = {
        "list": {"events": []},
        "query": QUERY,
        "iterator": {"events": iter(())},
        "file": {"events": f"file://{tmp_path}/empty.ndjson"},
    }
    with pytest.raises(AirflowSkipException):
        import_in(context, skip_if_empty=True, min_records=5, **given[kind])
    report = left_in(context)
    check_accounted(report)
    assert (report["records"], report["job_ids"]) == (0, [])
    assert posts(emulator) == []


def test_an_empty_source_skips_what_only_submits(emulator: EmulatorClient, context: Any) -> None:
    with pytest.raises(AirflowSkipException):
        importing(events=[], skip_if_empty=True, wait_for_completion=False).execute(context)


@WAYS
def test_an_empty_source_is_a_success_by_default(
    emulator: EmulatorClient, context: Any, import_in: Any
) -> None:
    assert import_in(context, events=[])["records"] == 0


@WAYS
def test_nothing_but_refused_records_is_not_empty(
    emulator: EmulatorClient, context: Any, import_in: Any
) -> None:
    report = import_in(context, events=source(2, 2), max_rejected=2)
    assert (report["records"], report["invalid"]) == (2, 2)
    with pytest.raises(AirflowFailException):
        importing(events=source(2, 2), skip_if_empty=True).execute(context)


@pytest.mark.parametrize("kept", ["store", "folder", "both"])
def test_a_task_that_is_skipped_leaves_nothing(
    emulator: EmulatorClient, make_task: Callable[..., Task], tmp_path: Path, database: Path, kept: str
) -> None:
    make_warehouse(database, 0)
    task = make_task(kept, **QUERY, skip_if_empty=True, rejected_uri=f"file://{tmp_path}/refused.ndjson")
    with pytest.raises(AirflowSkipException):
        task.attempt()
    assert not list(tmp_path.glob("refused.ndjson*"))
    assert kept == "store" or not task.is_staged
    # What comes later is imported once the task is cleared.
    make_warehouse(database, 3)
    task.clear()
    assert task.attempt()["imported"] == 3


# -- Tries after a gate -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", ["store", "folder", "both"])
@pytest.mark.parametrize("deferrable", [False, True])
def test_a_cleared_task_that_allows_more_imports_again_into_the_same_file(
    emulator: EmulatorClient,
    make_task: Callable[..., Task],
    uri: str,
    tmp_path: Path,
    *,
    kept: str,
    deferrable: bool,
) -> None:
    task = make_task(kept, events=source(25, 2, 3), rejected_uri=uri, deferrable=deferrable)
    with pytest.raises(AirflowFailException) as caught:
        task.attempt(max_rejected=4)
    assert uri in str(caught.value)
    before = (tmp_path / "refused.ndjson").read_bytes()
    assert len(before.splitlines()) == 5
    assert not (tmp_path / "refused.ndjson.sent").exists()
    task.clear()
    report = task.attempt(max_rejected=5)
    assert (report["invalid"], report["rejected"]) == (2, 3)
    after = (tmp_path / "refused.ndjson").read_bytes()
    assert positions(after) == positions(before) == [1, 2, 3, 4, 5]


def positions(content: bytes) -> list[Any]:
    return sorted((json.loads(line)["refusal"]["position"] for line in content.splitlines()), key=str)


def test_counts_in_the_metrics_of_a_failure(
    emulator: EmulatorClient, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.providers.common.compat.sdk import Stats

    seen: dict[str, Any] = {}
    monkeypatch.setattr(Stats, "incr", lambda name, count=1, **_: seen.update({name: count}))
    monkeypatch.setattr(Stats, "timing", lambda *_, **__: None)
    with pytest.raises(AirflowFailException):
        in_the_task(context, events=source(10, 2, 3))
    counted = {name.rpartition("records.")[2]: count for name, count in seen.items() if "records." in name}
    assert counted == {"accepted": 8, "imported": 5, "invalid": 2, "rejected": 3, "skipped": 0}
