"""How the log reports the outcomes of jobs."""

from __future__ import annotations

from airflow_provider_fullstory.batch_import.waiting.outcomes import JobOutcome, finished, still_running


def test_a_sentence_about_running_jobs_names_ten_of_them() -> None:
    assert still_running([str(number) for number in range(200)]).endswith("7, 8, 9 and 190 more.")


def test_of_many_jobs_only_some_are_logged() -> None:
    outcome = JobOutcome("job", "COMPLETED", 1, 0)
    logged = [number for number in range(1, 1001) if finished(outcome, number, 1000)]
    assert logged == [*range(1, 21), 40, 80, 160, 320, 640]
