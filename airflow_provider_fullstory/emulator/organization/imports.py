"""Accept batches and single records, and decide what becomes of each record."""

from __future__ import annotations

import base64
import dataclasses
import secrets
from typing import TYPE_CHECKING, Literal

import msgspec

from airflow_provider_fullstory.emulator.answers import Answer, ApiError, invalid, json_answer
from airflow_provider_fullstory.emulator.clock import Clock, month_of, timestamp
from airflow_provider_fullstory.emulator.organization.users import (
    SentUser,
    anonymous_user_id,
    id_of,
    upserted_user,
)
from airflow_provider_fullstory.emulator.rules.bodies import Batch, read_events, read_one, read_users
from airflow_provider_fullstory.emulator.rules.properties import RecordError
from airflow_provider_fullstory.emulator.rules.records import Event, NewUser, check_event, check_user
from airflow_provider_fullstory.emulator.store.entries import Job, StoredRejection

if TYPE_CHECKING:
    from airflow_provider_fullstory.emulator.injection.rejections import OrderedRejections
    from airflow_provider_fullstory.emulator.settings import Settings
    from airflow_provider_fullstory.emulator.store.jobs import JobStore
    from airflow_provider_fullstory.emulator.store.users import UserStore

Resource = Literal["events", "users"]


@dataclasses.dataclass
class Imports:
    """Import events and users."""

    jobs: JobStore
    users: UserStore
    clock: Clock
    settings: Settings
    ordered: OrderedRejections

    def create_batch(
        self, resource: Resource, body: bytes, idempotency_key: str | None, arrived: float
    ) -> Answer:
        """
        Accept a batch. Call it within a transaction.

        :param resource: ``events`` or ``users``.
        :param body: Bytes of the request.
        :param idempotency_key: Its idempotency key.
        :param arrived: When the whole request had arrived, in seconds since 1970. Processing starts then: it
            includes the wait for other requests and the checks of the records.
        """
        read = read_events if resource == "events" else read_users
        batch = read(body, self.settings.max_batch_records)
        self._check_limits(arrived, len(batch.texts))
        if self.settings.fail_jobs:
            batch.texts.clear()
            batch.rejections.clear()
        started = self.jobs.start_of_next(arrived, self.settings.concurrent_batches)
        finished = started + self.settings.processing_seconds
        times = (arrived, started, finished)
        batch.ordered.update(self.ordered.hits(batch.texts, batch.rejections))
        job = self._job(resource, batch, times, _new_job_id(), idempotency_key)
        self._save(job, batch)
        answer = json_answer({"job": {"id": job.id, "status": "PROCESSING", "created": timestamp(arrived)}})
        return dataclasses.replace(answer, records=job.records)

    def create_one(self, resource: Resource, body: bytes, idempotency_key: str | None) -> Answer:
        """Import a single record at once. Call it within a transaction."""
        if resource == "events":
            batch = read_one(body, Event, lambda event: check_event(event, None))
        else:
            batch = read_one(body, NewUser, check_user)
        now = self.clock.now()
        job = self._job(resource, batch, (now, now, now), None, idempotency_key)
        for rejection in batch.rejections.values():
            raise invalid(rejection.message, rejection.code)
        self._save(job, batch)
        if resource == "events":
            return dataclasses.replace(json_answer({}), records=1)
        user = msgspec.json.decode(batch.texts[0], type=SentUser)
        return dataclasses.replace(json_answer({"id": id_of(self.users, user, job.number, 0)}), records=1)

    def _check_limits(self, now: float, new_records: int) -> None:
        # Unknown: whether users and events count together. The limits are "per org", so here they do.
        batches, records = self.jobs.unfinished(now)
        full = batches >= self.settings.max_unfinished_batches
        if full or records + new_records > self.settings.max_unfinished_records:
            message = "Too many requests. Client has exceeded the rate limit for this endpoint."
            headers = {"Retry-After": str(self.settings.retry_after_seconds)}
            raise ApiError(429, "too_many_requests", message, headers)

    def _job(
        self,
        resource: Resource,
        batch: Batch,
        times: tuple[float, float, float],
        job_id: str | None,
        idempotency_key: str | None,
    ) -> Job:
        """Apply the rules that need more than the record itself, and return the job."""
        number = self.jobs.next_number()
        if resource == "events":
            self._reject_over_quota(batch)
        else:
            self._upsert_users(number, batch)
        records = len(batch.texts)
        imports = records - len(batch.rejections) - len(batch.ordered)
        return Job(number, job_id, resource, *times, records, imports, batch.shared, idempotency_key)

    def _save(self, job: Job, batch: Batch) -> None:
        rejections = (
            StoredRejection(ordinal, rejection.code, rejection.message)
            for ordinal, rejection in (batch.rejections | batch.ordered).items()
        )
        self.jobs.add(job, batch.texts, rejections)

    def _reject_over_quota(self, batch: Batch) -> None:
        # Unknown: what happens to events above the monthly quota. Here they are rejected one by one.
        month, _ = month_of(self.clock.now())
        left = max(self.settings.event_quota - self.jobs.imported_events(month), 0)
        if len(batch.texts) - len(batch.rejections) <= left:
            return
        for ordinal in range(len(batch.texts)):
            if ordinal in batch.rejections:
                continue
            if left == 0:
                batch.rejections[ordinal] = _OVER_QUOTA
                batch.ordered.pop(ordinal, None)
            elif ordinal not in batch.ordered:
                left -= 1

    def _upsert_users(self, number: int, batch: Batch) -> None:
        for ordinal, text in enumerate(batch.texts):
            if ordinal not in batch.rejections:
                try:
                    sent = msgspec.json.decode(text, type=SentUser)
                    user = upserted_user(self.users, sent, anonymous_user_id(number, ordinal))
                except RecordError as error:
                    batch.rejections[ordinal] = error.with_traceback(None)
                    batch.ordered.pop(ordinal, None)
                else:
                    if ordinal not in batch.ordered:
                        self.users.save(user)


_OVER_QUOTA = RecordError("quota_exceeded", "the monthly quota of server events is used up")


def _new_job_id() -> str:
    # Documented ids look like Base64. These bytes make sure that every id holds "/" and "=", so that a client
    # which does not percent-encode it finds out here.
    return base64.b64encode(b"\x03\xff" + secrets.token_bytes(8)).decode()
