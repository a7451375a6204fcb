"""How an import ends in Airflow's terms; what the operator and the sensor share."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_fullstory.exceptions import FullStoryInputError, FullStoryRecordsRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_fullstory.batch_import.report import ImportReport
    from airflow_provider_fullstory.batch_import.waiting import JobOutcome
    from airflow_provider_fullstory.hooks.fullstory import FullStoryHook


@contextmanager
def without_retry() -> Iterator[None]:
    """Fail the task at once for what a retry cannot mend: bad input, and records that were refused."""
    try:
        yield
    except (FullStoryInputError, FullStoryRecordsRefusedError) as error:
        raise AirflowFailException(str(error)) from error


def conclude(
    hook: FullStoryHook, report: ImportReport, outcomes: Sequence[JobOutcome], context: Context
) -> dict[str, Any]:
    """
    Complete the report of a finished import, and judge it.

    :param hook: Reads the codes of refused records.
    :param report: The report so far.
    :param outcomes: What became of all jobs.
    :param context: The task's context.
    :raises FullStoryRecordsRefusedError: Where records are not in FullStory.
    """
    from airflow_provider_fullstory.batch_import.report import refusal_codes

    report.add_codes(refusal_codes(hook, report.resource, outcomes))
    report.finish(outcomes)
    return judge(report, context)


def judge(report: ImportReport, context: Context) -> dict[str, Any]:
    """
    Return the report as XCom where no record was refused.

    :param report: The report.
    :param context: The task's context.
    :raises FullStoryRecordsRefusedError: Where records are not in FullStory.
    """
    try:
        report.judge()
    except FullStoryRecordsRefusedError:
        # A task that fails returns nothing, yet its jobs and counts are what one needs then.
        context["ti"].xcom_push(key="return_value", value=report.to_xcom())
        raise
    return report.to_xcom()
