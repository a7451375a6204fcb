"""Errors of an import for Airflow and its callbacks."""

from __future__ import annotations

import copy
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_fullstory.exceptions import (
    FullStoryAmbiguousError,
    FullStoryError,
    FullStoryInputError,
    FullStoryNotFoundError,
    FullStoryQuotaError,
    FullStoryRecordsRefusedError,
    FullStorySourceChangedError,
    FullStorySourceError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_fullstory.batch_import.reporting.report import ImportReport

#: Failures that no retry fixes.
FINAL: Final = (
    FullStoryInputError,
    FullStoryRecordsRefusedError,
    FullStorySourceChangedError,
    FullStoryAmbiguousError,
    FullStoryQuotaError,
)


@contextmanager
def without_retry() -> Iterator[None]:
    """
    Fail the task at once for errors that no retry fixes, such as bad input and refused records.

    The exception is both the error and Airflow's AirflowFailException, so that a callback finds the type, the
    codes and the report. Messages name their cause, so the log shows each message once and without a chain of
    tracebacks; only the error of a source keeps its traceback.
    """
    try:
        yield
    except AirflowFailException:
        raise
    except FINAL as error:
        raise airflow_error(error, AirflowFailException) from None
    except FullStorySourceError:
        raise
    except FullStoryError as error:
        raise copy.copy(error) from None


def airflow_error(error: FullStoryError, kind: type[Exception]) -> Exception:
    """
    Return an error that is also of a type of Airflow's.

    :param kind: Airflow's type, which says how the task ends.
    """
    return _made(type(error), kind, error.args, vars(error))


def _made(
    ours: type[FullStoryError], airflows: type[Exception], args: tuple[Any, ...], attributes: dict[str, Any]
) -> Exception:
    made: Exception = _type_of_both(ours, airflows)(*args)
    vars(made).update(attributes)
    return made


def _type_of_both(ours: type[FullStoryError], airflows: type[Exception]) -> type[Exception]:
    def reduce(error: Exception) -> tuple[Any, ...]:
        return _made, (ours, airflows, error.args, vars(error))

    # The log shows the name of our type, which says more.
    attributes = {"__module__": ours.__module__, "__doc__": ours.__doc__, "__reduce__": reduce}
    return type(ours.__name__, (ours, airflows), attributes)


@contextmanager
def with_report(report: ImportReport) -> Iterator[None]:
    """Attach a report to errors, for callbacks."""
    try:
        yield
    except FullStoryError as error:
        error.report = report.to_xcom()
        raise


@contextmanager
def explaining_unknown_jobs() -> Iterator[None]:
    """Explain what to do about a job that FullStory does not know."""
    try:
        yield
    except FullStoryNotFoundError as error:
        raise FullStoryAmbiguousError(
            f"{error}\nSo the outcome of its batch is unknown.\n"
            'To send only the batches of unknown jobs again, set on_ambiguous="resend" and clear the task.',
            status_code=error.status_code,
            code=error.code,
        ) from None
