"""Trigger that waits for import jobs."""

from __future__ import annotations

import asyncio
import importlib
import random
import time
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_fullstory import exceptions
from airflow_provider_fullstory.exceptions import (
    FullStoryConnectionLookupError,
    FullStoryError,
    FullStoryMissingConnectionError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from airflow_provider_fullstory.batch_import.waiting.job_watch import JobWatch
    from airflow_provider_fullstory.batch_import.waiting.outcomes import JobOutcome
    from airflow_provider_fullstory.hooks.fullstory import FullStoryAsyncHook

_JOBS_AT_ONCE = 10
_DEFERRAL_SLACK = 300.0
_SECONDS_FOR_LAST_POLL = 30.0


class FullStoryImportJobTrigger(BaseTrigger):
    """
    Wait until FullStory has finished import jobs.

    The waits of a triggerer share their connections. Failures that pass are tolerated. The deadline is a
    wall-clock time, so it survives restarts of the triggerer. The event carries ids and counts only;
    ``outcomes_of`` reads it.

    :param job_ids: The jobs, in the order in which they were created: the first ten that are unfinished are
        polled, and later ones when these are finished.
    :param started_at: When the wait began, in seconds since the epoch.
    :param deadline: When to give up, in seconds since the epoch. The jobs continue: FullStory cannot
        cancel them.
    :param resource: ``events`` or ``users``.
    :param poll_interval: Shortest time between two polls, in seconds; it grows to a tenth of the time waited.
    :param report: The counts of the import so far, handed back in the event.
    :param fullstory_conn_id: The connection.
    """

    def __init__(
        self,
        *,
        job_ids: Sequence[str],
        started_at: float,
        deadline: float,
        resource: str = "events",
        poll_interval: float = 2.0,
        report: Mapping[str, Any] | None = None,
        fullstory_conn_id: str = "fullstory_default",
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.job_ids = job_ids
        self.started_at = started_at
        self.deadline = deadline
        self.resource = resource
        self.poll_interval = poll_interval
        self.report = report
        self.fullstory_conn_id = fullstory_conn_id
        self._watch: JobWatch | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the path and the arguments that make an equal trigger in another process."""
        return (
            "airflow_provider_fullstory.triggers.fullstory.FullStoryImportJobTrigger",
            {
                "job_ids": list(self.job_ids),
                "started_at": self.started_at,
                "deadline": self.deadline,
                "resource": self.resource,
                "poll_interval": self.poll_interval,
                "report": None if self.report is None else dict(self.report),
                "fullstory_conn_id": self.fullstory_conn_id,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event: all jobs are finished, or waiting for them is no use."""
        # Kept out of the import of DAG files, and out of the event loop: it takes tenths of a second.
        hooks = await asyncio.to_thread(importlib.import_module, "airflow_provider_fullstory.hooks.fullstory")
        from airflow_provider_fullstory.batch_import.waiting.job_watch import JobWatch

        self._watch = watch = JobWatch(
            self.job_ids,
            started_at=self.started_at,
            poll_interval=self.poll_interval,
            deadline=self.deadline,
        )
        event: dict[str, Any] = {"report": self.report}
        may_end_at = self.started_at + _worker_exit_seconds()
        # Before the event may be sent, only the last poll is of use; waits should not all poll at once.
        await _sleep_until(may_end_at - random.uniform(0.0, self.poll_interval))  # noqa: S311
        try:
            # The watch decides when to poll again after a fault.
            await self._follow(
                partial(
                    hooks.FullStoryAsyncHook,
                    self.fullstory_conn_id,
                    retry_for=0,
                    # Jobs may have finished in time while the triggerer was down: that takes one poll.
                    deadline=self.deadline
                    if time.time() < self.deadline
                    else time.time() + _SECONDS_FOR_LAST_POLL,
                ),
                watch,
            )
        except FullStoryError as error:
            event |= {"error": type(error).__name__, "message": str(error), "status_code": error.status_code}
        except Exception as error:  # noqa: BLE001 - A trigger that ends without an event reports no jobs.
            event |= {"error": FullStoryError.__name__, "message": _unexpected(error, watch.pending)}
        event["outcomes"] = watch.as_event()
        event["waited"] = time.time() - self.started_at
        await _sleep_until(may_end_at)
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]

    async def on_kill(self) -> None:
        """Log which jobs continue, since a user ended the task (Airflow 3.3 and newer call this)."""
        from airflow_provider_fullstory.batch_import.waiting.outcomes import still_running

        jobs = list(self.job_ids) if self._watch is None else self._watch.pending
        message = "A user ended the wait. %s Clearing the task waits for them again."
        await _without_blocking(self.log.warning, message, still_running(jobs))

    async def _log_line(self, line: str | None) -> None:
        if line:
            await _without_blocking(self.log.info, "%s", line)

    async def _follow(self, new_hook: Callable[[], FullStoryAsyncHook], watch: JobWatch) -> None:
        """Poll until all jobs are finished; a failed look-up of the connection is a failure like others."""
        async with AsyncExitStack() as stack:
            hook: FullStoryAsyncHook | None = None
            while hook is None:
                try:
                    hook = await stack.enter_async_context(new_hook())
                # The worker had the connection; Airflow also says that there is none if a backend fails.
                except (FullStoryConnectionLookupError, FullStoryMissingConnectionError) as error:
                    await _without_blocking(self.log.warning, "%s", error)
                    watch.note(None, error, now=time.time())
                    await asyncio.sleep(watch.pause(time.time()))
            await self._poll(hook, watch)
            while watch.pending:
                await asyncio.sleep(watch.pause(time.time()))
                await self._poll(hook, watch)

    async def _poll(self, hook: FullStoryAsyncHook, watch: JobWatch) -> None:
        """Poll the pending jobs, ten at the same time, up to the first ten that are not all finished."""
        from airflow_provider_fullstory.batch_import.waiting.outcomes import finished

        pending = watch.pending
        for start in range(0, len(pending), _JOBS_AT_ONCE):
            job_ids = pending[start : start + _JOBS_AT_ONCE]
            results = await asyncio.gather(
                *(hook.get_job_status(self.resource, job_id) for job_id in job_ids), return_exceptions=True
            )
            failures: dict[str, FullStoryError] = {}
            for job_id, result in zip(job_ids, results, strict=True):
                if isinstance(result, FullStoryError):
                    failures[job_id] = result
                elif isinstance(result, BaseException):
                    raise result
                else:
                    await self._log_line(watch.note(job_id, result, now=time.time()))
                    if outcome := watch.outcomes.get(job_id):
                        await self._log_line(finished(outcome, len(watch.outcomes), len(watch.job_ids)))
            # The others are likely to say the same.
            for error in list(failures.values())[:1]:
                await _without_blocking(self.log.warning, "%s", error)
            for job_id, error in failures.items():
                watch.note(job_id, error, now=time.time())
            if not watch.outcomes.keys() >= set(job_ids):
                # The wait does not end before these jobs do, so the others need not be polled yet.
                return


def outcomes_of(event: Mapping[str, Any]) -> list[JobOutcome]:
    """
    Return the outcomes of the jobs.

    :param event: Payload of the trigger's event.
    :raises FullStoryError: The failure that ended the wait before the jobs were finished.
    """
    from airflow_provider_fullstory.batch_import.waiting.outcomes import JobOutcome

    if name := event.get("error"):
        error_type = getattr(exceptions, name, FullStoryError)
        raise error_type(event["message"], status_code=event.get("status_code"))
    return [JobOutcome(**outcome) for outcome in event["outcomes"]]


def _unexpected(error: Exception, job_ids: Sequence[str]) -> str:
    from airflow_provider_fullstory.api.quoting import quoted
    from airflow_provider_fullstory.batch_import.waiting.outcomes import still_running

    reason = f"{type(error).__name__}: {quoted(error)}"
    return f"The wait ended with an unexpected error ({reason}). {still_running(job_ids)}"


def _worker_exit_seconds() -> float:
    """
    Return how long Airflow may take to notice that the worker which deferred has ended.

    A task that is resumed before that is marked as failed (apache/airflow#66374, #67287, #72716), so no event
    comes sooner.
    """
    return float(conf.getfloat("workers", "min_heartbeat_interval", fallback=5.0)) + 1.0


async def _without_blocking(log: Callable[..., None], message: str, *arguments: object) -> None:
    """Log in a thread: the log of a triggerer is a pipe, and its other end may be busy for seconds."""
    await asyncio.to_thread(log, message, *arguments)


async def _sleep_until(moment: float) -> None:
    if (seconds := moment - time.time()) > 0:
        await asyncio.sleep(seconds)


def deferral_timeout(seconds: float) -> timedelta:
    """
    Return Airflow's own limit on a deferral whose trigger has a deadline in some seconds.

    It is well after the trigger's, since Airflow's limit ends the task without a word about the jobs.
    """
    return timedelta(seconds=max(0.0, seconds) + _DEFERRAL_SLACK)
