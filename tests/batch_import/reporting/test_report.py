"""A report's counts add up, or it says so."""

from __future__ import annotations

import datetime
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_fullstory.api.jobs import Page, RecordError
from airflow_provider_fullstory.batch_import.batching.submissions import Submission
from airflow_provider_fullstory.batch_import.reporting.rejections import rejections
from airflow_provider_fullstory.batch_import.reporting.report import ImportReport
from airflow_provider_fullstory.batch_import.waiting.outcomes import JobOutcome
from airflow_provider_fullstory.exceptions import (
    FullStoryAccountingError,
    FullStoryInputError,
    FullStoryNotReadyError,
    FullStoryPermissionError,
    FullStoryRecordsRefusedError,
)
from airflow_provider_fullstory.records.refusals import InvalidRecord, Refusal
from airflow_provider_fullstory.records.timestamps import summary

if TYPE_CHECKING:
    from collections.abc import Iterator


def sent(records: int = 10, invalid: int = 0) -> ImportReport:
    report = ImportReport("events")
    report.add_invalid([InvalidRecord(n, Refusal("required_field", "name")) for n in range(invalid)])
    report.add_submissions([Submission((1,), "a", records - 1, 0), Submission((2,), "b", 1, 0)])
    return report


MOMENT = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)


def outcome(job_id: str, imports: int, errors: int = 0) -> JobOutcome:
    return JobOutcome(job_id, "COMPLETED", imports, errors)


def test_counts_of_a_finished_import_add_up() -> None:
    report = sent(10, invalid=2)
    report.add_codes(["required_field", "user_not_found", "required_field"])
    report.finish([outcome("a", 7, 2), outcome("b", 0, 1)])

    assert report.to_xcom() == {
        "resource": "events", "job_ids": ["a", "b"], "records": 12, "imported": 7, "invalid": 2,
        "rejected": 3, "skipped": 0, "rejected_uri": None,
        "batches": 2, "codes": {"required_field": 4, "user_not_found": 1},
        "reasons": {"required_field: name": 2}, "earliest": None, "latest": None, "without_timestamp": 0,
        "dropped_properties": {}, "watermark": None,
    }  # fmt: skip
    assert report.records == 7 + 2 + 3


@pytest.mark.parametrize("outcomes", [[outcome("a", 9)], [outcome("a", 9), outcome("b", 2)], []], ids=len)
def test_counts_that_do_not_add_up_are_no_success(outcomes: list[JobOutcome]) -> None:
    with pytest.raises(FullStoryAccountingError, match=r"^FullStory was sent 10 records, but"):
        sent(10).finish(outcomes)


def test_only_fullstory_knows_the_count_of_jobs_that_others_started() -> None:
    report = ImportReport("events", job_ids=["a"], records=None)
    report.finish([outcome("a", 3, 1)])

    assert (report.records, report.imported, report.rejected) == (4, 3, 1)


def test_a_report_survives_xcom() -> None:
    report = sent(3, invalid=1)

    report.timestamps = summary([MOMENT, None])
    report.watermark = "2026-01-01"
    assert ImportReport.from_xcom(json.loads(json.dumps(report.to_xcom()))) == report
    assert ImportReport.from_xcom(report.to_xcom() | {"added_later": 1}) == report


def test_a_report_of_a_version_that_knew_no_watermark_is_read() -> None:
    left = sent(3).to_xcom()
    del left["watermark"]
    assert ImportReport.from_xcom(left) == sent(3)


@pytest.mark.parametrize("value", [{}, {"resource": "events"}, None, [], ["a"], "a", 5], ids=repr)
def test_what_is_no_report_is_refused(value: Any) -> None:
    with pytest.raises(FullStoryInputError, match=r"^This is not the report of a FullStory import"):
        ImportReport.from_xcom(value)


def test_an_import_of_all_records_is_a_success() -> None:
    report = sent(10)
    report.check_refused()
    report.finish([outcome("a", 9), outcome("b", 1)])
    report.check_refused()


def test_refused_records_are_no_success_and_the_message_names_them() -> None:
    report = sent(10, invalid=2)
    report.add_rejected([RecordError(code="user_not_found")])
    report.finish([outcome("a", 8, 1), outcome("b", 1)])

    with pytest.raises(FullStoryRecordsRefusedError) as caught:
        report.check_refused()

    assert str(caught.value).splitlines() == [
        "3 of 12 records are not in FullStory.",
        "Fix the records, then send only those; rejected_uri= writes them to a file.",
        "2 records: required_field: name",
        "1 record: user_not_found, says FullStory",
        "2 invalid, never sent, 1 rejected by FullStory.",
        "9 imported (2 jobs: a, b).",
    ]


def test_codes_that_nobody_could_read_are_said_to_be_unknown() -> None:
    report = sent(1)
    report.finish([outcome("a", 0, 1)])

    with pytest.raises(
        FullStoryRecordsRefusedError,
        match=r"^1 of 1 records is not in FullStory\.\nWhich 1 record FullStory rejected, and why, could not",
    ):
        report.check_refused()


def test_records_refused_here_fail_an_import_that_nobody_waits_for() -> None:
    with pytest.raises(FullStoryRecordsRefusedError, match="FullStory is still working on the others"):
        sent(3, invalid=1).check_refused()


class Errors:
    """Answer for the refused records of jobs: with pages of codes, another list each time, or an error."""

    def __init__(self, **answers: list[list[str]] | list[list[list[str]]] | Exception) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def iter_errors(self, job_id: str) -> Iterator[Page[RecordError]]:
        answer: Any = self.answers[job_id]
        if isinstance(answer, Exception):
            self.asked.append(job_id)
            raise answer
        if isinstance(answer[0][0], list):
            answer = answer[min(self.asked.count(job_id), len(answer) - 1)]
        self.asked.append(job_id)
        for codes in answer:
            yield Page([RecordError(code=code) for code in codes])


def read(
    errors: Errors, *outcomes: JobOutcome, is_required: bool = False, pauses: list[float] | None = None
) -> list[tuple[str, str | None]]:
    pause = [].append if pauses is None else pauses.append
    pages = rejections(errors, outcomes, is_required=is_required, pause=pause)
    return [(job_id, record.code) for job_id, records in pages for record in records]


def test_refused_records_are_read_of_jobs_with_errors_only() -> None:
    errors = Errors(b=[["x"], [""]], c=[["y"]])

    found = read(errors, outcome("a", 1), outcome("b", 0, 2), outcome("c", 0, 1))

    assert (found, errors.asked) == ([("b", "x"), ("b", ""), ("c", "y")], ["b", "c"])


@pytest.mark.parametrize("is_required", [False, True])
def test_a_key_that_may_not_read_refused_records_is_asked_once(is_required: bool) -> None:
    errors = Errors(a=FullStoryPermissionError("level"), b=[["x"]])

    assert not read(errors, outcome("a", 0, 1), outcome("b", 0, 1), is_required=is_required)
    assert errors.asked == ["a"]


def test_a_job_whose_refused_records_are_not_ready_keeps_no_other_from_telling() -> None:
    errors = Errors(a=FullStoryNotReadyError("wait"), b=[["x"]])

    assert read(errors, outcome("a", 0, 1), outcome("b", 0, 1)) == [("b", "x")]


def test_refused_records_that_a_file_is_to_hold_have_to_be_read() -> None:
    errors = Errors(a=FullStoryNotReadyError("wait"), b=[["x"]])

    with pytest.raises(FullStoryNotReadyError, match=r"(?s)Job a is finished.*\nA retry reads them again"):
        read(errors, outcome("a", 3, 1), outcome("b", 0, 1), is_required=True)


def test_a_list_that_is_shorter_than_the_count_is_said_to_be(caplog: pytest.LogCaptureFixture) -> None:
    assert read(Errors(a=[["x"]]), outcome("a", 0, 2)) == [("a", "x")]
    assert "FullStory counts 2 rejected records in job a, and lists 1." in caplog.text


def test_a_list_that_is_shorter_than_the_count_is_read_again_where_a_file_is_to_hold_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What was read is not read twice, wherever the rest comes to stand."""
    caplog.set_level(logging.INFO)
    errors, pauses = Errors(a=[[["x"]], [["w", "x"]], [["w"], ["v", "x"]]]), []
    assert read(errors, outcome("a", 0, 3), is_required=True, pauses=pauses) == [
        ("a", "x"),
        ("a", "w"),
        ("a", "v"),
    ]
    assert len(errors.asked) == 3
    assert pauses == sorted(set(pauses))
    assert "FullStory counts 3 rejected records in job a, and lists 2. It is read again in " in caplog.text


def test_a_list_that_stays_shorter_than_the_count_fails_the_try() -> None:
    errors, pauses = Errors(a=[["x"]], b=[["y"]]), []
    with pytest.raises(
        FullStoryAccountingError,
        match=r"^FullStory counts 2 rejected records in job a, and lists 1\.\n"
        r"Job a is finished, and so is the import: 5 of its records are in FullStory, 2 are not\.\n"
        r".*\nA retry reads them again, and sends nothing\.$",
    ):
        read(errors, outcome("a", 5, 2), outcome("b", 0, 1), is_required=True, pauses=pauses)
    assert errors.asked == ["a"] * (len(pauses) + 1)
    assert len(pauses) > 1


@pytest.mark.parametrize("is_required", [False, True])
@pytest.mark.parametrize(
    ("pages", "count", "expected"),
    [
        ([["x", "y"], ["y", "z"]], 3, "xyz"),
        ([["x", "y"], ["x", "y"], ["z"]], 3, "xyz"),
        ([["x", "x", "y"]], 2, "xy"),
        ([["x", "x"], ["y"]], 3, "xxy"),
        ([["x"], ["x"], ["x"]], 3, "xxx"),
        ([["x"], ["x"], ["x"]], 2, "xx"),
        ([["x"], ["x"], ["x"]], 1, "x"),
        ([["x", "x", "y"], ["x", "x", "y"]], 3, "xxy"),
    ],
)
def test_a_record_that_is_listed_twice_is_read_as_often_as_the_job_counts(
    *, pages: list[list[str]], count: int, expected: str, is_required: bool
) -> None:
    found = read(Errors(a=pages), outcome("a", 0, count), is_required=is_required)
    assert sorted(code or "" for _, code in found) == sorted(expected)


def test_equal_records_that_a_later_list_has_are_read_too() -> None:
    errors = Errors(a=[[["x"]], [["x", "y"]], [["x", "y"], ["x"]]])
    assert read(errors, outcome("a", 0, 3), is_required=True) == [("a", "x"), ("a", "y"), ("a", "x")]


def test_pages_that_lead_in_a_circle_come_to_an_end() -> None:
    class Circle:
        def iter_errors(self, *_: str) -> Iterator[Page[RecordError]]:
            while True:
                yield Page([RecordError(code="x")])

    pages = rejections(Circle(), [outcome("a", 0, 3)], is_required=False)
    assert [record.code for _, records in pages for record in records] == ["x"] * 3


def refusal_of(report: ImportReport, **options: Any) -> str:
    with pytest.raises(FullStoryRecordsRefusedError) as caught:
        report.check_refused(**options)
    return str(caught.value)


@pytest.mark.parametrize("invalid", [0, 2])
def test_a_file_that_could_not_be_written_is_not_advised(invalid: int) -> None:
    """Only the list of what FullStory refused takes a key of a higher level."""
    report = sent(10, invalid=invalid)
    report.rejected_uri = "file:///x" if invalid else None
    report.finish([outcome("a", 8, 1), outcome("b", 1)])
    text = refusal_of(report)
    assert (
        "\nWhich 1 record FullStory rejected, and why, could not be read:\n"
        "that takes an API key of level Architect or above.\n"
    ) in text
    assert ("The invalid records are in file:///x." in text) == bool(invalid)
    assert "rejected_uri=" not in text


def test_a_file_is_advised_where_there_is_none() -> None:
    report = sent(10, invalid=1)
    report.finish([outcome("a", 9), outcome("b", 1)])
    assert "rejected_uri= writes them to a file." in refusal_of(report)


def test_what_is_read_again_may_be_corrected_in_the_source() -> None:
    report = sent(10, invalid=1)
    report.finish([outcome("a", 9), outcome("b", 1)])
    text = refusal_of(report, correcting="a clear sends them.")
    assert "\nCorrect them in the source: a clear sends them.\n" in text
    assert "rejected_uri=" not in text


def test_a_file_of_a_sync_is_imported_for_that_sync() -> None:
    report = sent(10, invalid=1)
    report.finish([outcome("a", 9), outcome("b", 1)])
    text = refusal_of(report, files=["file:///x"], sync="sync_name='a.b'", correcting="a clear sends them.")
    assert (
        "and import that file (events=),\n"
        "with sync_name='a.b':\n"
        "file:///x\n"
        "Or correct them in the source: a clear sends them.\n"
    ) in text


def test_all_files_are_named() -> None:
    report = sent(10, invalid=1)
    report.finish([outcome("a", 9), outcome("b", 1)])
    text = refusal_of(report, files=["file:///x", "file:///y"])
    assert "Fix them in their file, where each has its reason, and import that file (events=):\n" in text
    assert "\nfile:///x, file:///y\n" in text


def test_the_file_is_imported_by_the_operator_of_its_kind() -> None:
    report = ImportReport(
        "users", records=1, invalid=1, codes={"required_field": 1}, rejected_uri="file:///x"
    )
    assert "and import that file (users=):\nfile:///x\n" in refusal_of(report)


def invalid_for(*reasons: str) -> list[InvalidRecord]:
    return [InvalidRecord(n, Refusal("invalid_argument", reason)) for n, reason in enumerate(reasons)]


def test_the_five_most_frequent_reasons_are_named_and_all_are_counted() -> None:
    report = ImportReport("events")
    for count in range(1, 8):
        report.add_invalid(invalid_for(*[f"reason {count}"] * count))

    expected = {f"invalid_argument: reason {count}": count for count in range(7, 2, -1)} | {
        "other reasons": 3
    }
    assert list(report.to_xcom()["reasons"].items()) == list(expected.items())
    table = [line.split(maxsplit=2) for line in report.lines() if line.startswith("  reason")]
    assert {reason: int(count) for _, count, reason in table} == expected
    assert "\n7 records: invalid_argument: reason 7\n6 records: " in refusal_of(report)
    assert "\n3 records: other reasons\n" in refusal_of(report)


def test_reasons_without_number_take_little_room() -> None:
    report = ImportReport("events")
    report.add_invalid(invalid_for(*(f"column {n}: " + "x" * 5_000 for n in range(2_000))))

    assert sum(report.reasons.values()) == 2_000
    assert len(report.reasons) == 1_001
    assert report.reasons["other reasons"] == 1_000
    assert len(json.dumps(report.to_xcom())) < 3_000


def test_a_message_of_fullstory_which_may_hold_a_value_is_no_reason() -> None:
    report = ImportReport("events")
    report.add_rejected([RecordError(code="user_not_found", message="no user secret"), RecordError()])
    assert report.reasons == {"user_not_found, says FullStory": 1, "unknown, says FullStory": 1}


def test_the_table_shows_the_span_of_timestamps_and_how_many_events_have_none() -> None:
    report = sent(10)
    report.timestamps = summary([MOMENT, None, MOMENT.replace(year=1970), MOMENT.replace(year=2999)])

    lines = report.lines()
    assert "  earliest timestamp  1970-01-02T03:04:05+00:00" in lines
    assert "  latest timestamp    2999-01-02T03:04:05+00:00" in lines
    assert "  undated              1  sent without a timestamp" in lines


def test_the_table_says_nothing_of_timestamps_where_none_is_known() -> None:
    assert not any("timestamp" in line for line in sent(10).lines())


def test_merged_reports_have_the_span_and_the_reasons_of_all() -> None:
    first, second = sent(10, invalid=2), sent(10, invalid=1)
    first.timestamps = summary([MOMENT, None])
    second.timestamps = summary([MOMENT.replace(year=1970), None, None])

    merged = ImportReport.merged([first, second])

    assert (merged.earliest, merged.latest) == ("1970-01-02T03:04:05+00:00", "2026-01-02T03:04:05+00:00")
    assert merged.without_timestamp == 3
    assert merged.reasons == {"required_field: name": 3}


def test_lines_fit_into_the_log_view() -> None:
    report = sent(10**9, invalid=3)
    report.timestamps = summary([MOMENT, None])
    assert all(len(line) <= 100 for line in [*report.lines(), *refusal_of(report).splitlines()])
