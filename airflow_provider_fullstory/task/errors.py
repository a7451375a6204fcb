"""Errors of an import, in Airflow's terms."""

from __future__ import annotations

import copy
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_fullstory.exceptions import (
    FullStoryAmbiguousError,
    FullStoryError,
    FullStoryInputError,
    FullStoryQuotaError,
    FullStoryRecordsRefusedError,
    FullStorySourceChangedError,
    FullStorySourceError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_fullstory.batch_import.reporting.report import ImportReport

#: Failures that no retry fixes.
_FINAL: Final = (
    FullStoryInputError,
    FullStoryRecordsRefusedError,
    FullStorySourceChangedError,
    FullStoryAmbiguousError,
    FullStoryQuotaError,
)


@contextmanager
def without_retry() -> Iterator[None]:
    """
    Fail the task at once for what a retry cannot fix, such as bad input and records that were refused.

    What is raised is both the error and Airflow's AirflowFailException, so that a callback finds the type,
    the codes and the report. Messages say what an error was caused by, so the log shows each of them once,
    without what led to it; only what a source raised keeps its own traceback.
    """
    try:
        yield
    except AirflowFailException:
        raise
    except _FINAL as error:
        raise airflow_error(error, AirflowFailException) from None
    except FullStorySourceError:
        raise
    except FullStoryError as error:
        raise copy.copy(error) from None


def airflow_error(error: FullStoryError, kind: type[Exception]) -> Exception:
    """
    Return an error that Airflow takes for one of its own, and callbacks for ours.

    :param error: The error.
    :param kind: The type by which Airflow knows what to do.
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

    # The log shows the name of ours, which says more.
    attributes = {"__module__": ours.__module__, "__doc__": ours.__doc__, "__reduce__": reduce}
    return type(ours.__name__, (ours, airflows), attributes)


@contextmanager
def with_report(report: ImportReport) -> Iterator[None]:
    """
    Let errors carry a report, for callbacks.

    :param report: The report as far as it is known.
    """
    try:
        yield
    except FullStoryError as error:
        error.report = report.to_xcom()
        raise
