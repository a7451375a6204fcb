"""Answers about jobs: status, counts, imported records and rejected records."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING

import msgspec

from airflow_provider_fullstory.emulator.answers import Answer, json_answer, not_found
from airflow_provider_fullstory.emulator.clock import Clock, month_of, timestamp
from airflow_provider_fullstory.emulator.organization.descriptions import (
    describe_event,
    describe_user,
    without_null,
)
from airflow_provider_fullstory.emulator.organization.pages import page, place_of
from airflow_provider_fullstory.emulator.organization.users import SentUser, id_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_fullstory.emulator.organization.imports import Resource
    from airflow_provider_fullstory.emulator.settings import Settings
    from airflow_provider_fullstory.emulator.store.entries import Job, StoredRecord, StoredRejection
    from airflow_provider_fullstory.emulator.store.jobs import JobStore
    from airflow_provider_fullstory.emulator.store.users import UserStore

_BEFORE_ALL = -1


@dataclasses.dataclass
class Results:
    """Answer questions about jobs and quotas."""

    jobs: JobStore
    users: UserStore
    clock: Clock
    settings: Settings

    def status(self, resource: Resource, job_id: str) -> Answer:
        """Return the status and the counts of a job."""
        job = self._find(resource, job_id)
        described: dict[str, object] = {
            "id": job.id,
            "status": self.state(job),
            "created": timestamp(job.created),
        }
        if not self._is_finished(job):
            return json_answer({"imports": 0, "job": described})
        described["finished"] = timestamp(job.finished)
        counts = {"imports": job.imports} | ({"errors": job.errors} if job.errors else {})
        return json_answer({**counts, "job": described})

    def imported(self, resource: Resource, job_id: str, page_token: str, *, include_schema: bool) -> Answer:
        """Return a page of the imported records of a job, the first one for an empty token."""
        job = self._find(resource, job_id)
        describe = describe_event if resource == "events" else self._describe_user

        def read(after: int, size: int) -> list[tuple[int, dict[str, object]]]:
            records = itertools.islice(self.jobs.imported(job, after), size)
            return [
                (record.ordinal, describe(job, record, include_schema=include_schema)) for record in records
            ]

        return self._page(job, page_token, job.imports, read)

    def rejected(self, resource: Resource, job_id: str, page_token: str) -> Answer:
        """Return a page of the rejected records of a job, each as it was sent; see :meth:`imported`."""
        job = self._find(resource, job_id)
        # Unknown: whether shared data is returned with every rejection, as here, or with conflicts only.
        shared = {"shared": msgspec.Raw(job.shared)} if job.shared else {}
        item = resource.removesuffix("s")

        def describe(rejection: StoredRejection, text: msgspec.Raw) -> dict[str, object]:
            said = without_null({"message": rejection.message, "code": rejection.code})
            return {**said, item: text, **shared}

        def read(after: int, size: int) -> list[tuple[int, dict[str, object]]]:
            rejections = self.jobs.rejections(job, after, size)
            return [(rejection.ordinal, describe(rejection, text)) for rejection, text in rejections]

        return self._page(job, page_token, job.errors, read)

    def quotas(self) -> Answer:
        """Return the usage of the monthly quotas."""
        start, end = month_of(self.clock.now())
        period = {"period_start": timestamp(start), "period_end": timestamp(end)}
        used = self.jobs.imported_events(start)
        return json_answer(
            {
                "session_quota": {"usage": "0", "limit": "5000", **period},
                "server_event_quota": {"usage": str(used), "limit": str(self.settings.event_quota), **period},
            }
        )

    def state(self, job: Job) -> str:
        """Return the status of a job in the API; a single rejected record makes it ``FAILED``."""
        if not self._is_finished(job):
            return "PROCESSING"
        return "FAILED" if job.errors or not job.records else "COMPLETED"

    def _describe_user(self, job: Job, record: StoredRecord, *, include_schema: bool) -> dict[str, object]:
        user = msgspec.json.decode(record.text, type=SentUser)
        user_id = id_of(self.users, user, job.number, record.ordinal)
        return describe_user(user_id, user, include_schema=include_schema)

    def _is_finished(self, job: Job) -> bool:
        return job.finished <= self.clock.now()

    def _find(self, resource: Resource, job_id: str) -> Job:
        job = self.jobs.find(job_id)
        if job is None or job.resource != resource:
            raise not_found()
        return job

    def _page(
        self,
        job: Job,
        page_token: str,
        total: int,
        read: Callable[[int, int], list[tuple[int, dict[str, object]]]],
    ) -> Answer:
        if not self._is_finished(job):
            return json_answer({}, status=202)
        results = read(place_of(page_token, int, _BEFORE_ALL), self.settings.page_size + 1)
        return json_answer(page(results, total, page_token, self.settings, _BEFORE_ALL))
