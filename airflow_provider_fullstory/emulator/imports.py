"""Accepting batches, and telling what became of them."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import itertools
import secrets
from typing import TYPE_CHECKING, Literal

import msgspec

from airflow_provider_fullstory.emulator.answers import Answer, ApiError, invalid, json_answer, not_found
from airflow_provider_fullstory.emulator.bodies import Batch, read_events, read_one, read_users
from airflow_provider_fullstory.emulator.clock import Clock, month_of, timestamp
from airflow_provider_fullstory.emulator.entries import Job, StoredRecord, StoredRefusal
from airflow_provider_fullstory.emulator.properties import RecordError
from airflow_provider_fullstory.emulator.records import Event, NewUser, check_event, check_user
from airflow_provider_fullstory.emulator.results import describe_event, describe_user, without_null
from airflow_provider_fullstory.emulator.users import anonymous_user_id, upserted_user

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_fullstory.emulator.refusals import OrderedRefusals
    from airflow_provider_fullstory.emulator.settings import Settings
    from airflow_provider_fullstory.emulator.store import Store

Resource = Literal["events", "users"]


@dataclasses.dataclass
class Imports:
    """
    Import events and users.

    :param store: Where they are kept.
    :param clock: What tells the time.
    :param settings: The limits in force.
    :param ordered: The refusals that were ordered.
    """

    store: Store
    clock: Clock
    settings: Settings
    ordered: OrderedRefusals

    def create_batch(
        self, resource: Resource, body: bytes, idempotency_key: str | None, arrived: float
    ) -> Answer:
        """
        Accept a batch. To be called within a transaction.

        :param resource: What the batch holds.
        :param body: Bytes of the request.
        :param idempotency_key: The key it came under.
        :param arrived: When it had arrived: waiting for others, and checking its records, is part of the work
            on a batch.
        """
        read = read_events if resource == "events" else read_users
        batch = read(body, self.settings.max_batch_records)
        self._check_limits(arrived, len(batch.texts))
        if self.settings.fail_jobs:
            batch.texts.clear()
            batch.refusals.clear()
        started = self.store.start_of_next(arrived, self.settings.concurrent_batches)
        finished = started + self.settings.processing_seconds
        times = (arrived, started, finished)
        batch.ordered.update(self.ordered.hits(batch.texts, batch.refusals))
        job = self._judged(resource, batch, times, _new_job_id(), idempotency_key)
        self._save(job, batch)
        answer = json_answer({"job": {"id": job.id, "status": "PROCESSING", "created": timestamp(arrived)}})
        return dataclasses.replace(answer, records=job.records)

    def create_one(self, resource: Resource, body: bytes, idempotency_key: str | None) -> Answer:
        """
        Import a single record at once. To be called within a transaction.

        :param resource: What it is.
        :param body: Bytes of the request.
        :param idempotency_key: The key it came under.
        """
        if resource == "events":
            batch = read_one(body, Event, lambda event: check_event(event, None))
        else:
            batch = read_one(body, NewUser, check_user)
        now = self.clock.now()
        job = self._judged(resource, batch, (now, now, now), None, idempotency_key)
        for refusal in batch.refusals.values():
            raise invalid(refusal.message, refusal.code)
        self._save(job, batch)
        user_id = describe_user(job, StoredRecord(0, batch.texts[0]), include_schema=False)["id"]
        value = {} if resource == "events" else {"id": user_id}
        return dataclasses.replace(json_answer(value), records=1)

    def status(self, resource: Resource, job_id: str) -> Answer:
        """
        Tell how far a job is.

        :param resource: What the job imports.
        :param job_id: Its id.
        """
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
        """
        Return a page of what a job imported.

        :param resource: What the job imports.
        :param job_id: Its id.
        :param page_token: Token of the page; empty for the first one.
        :param include_schema: Whether to tell the types of the properties.
        """
        job = self._find(resource, job_id)
        describe = describe_event if resource == "events" else describe_user

        def read(after: int, size: int) -> list[tuple[int, dict[str, object]]]:
            records = itertools.islice(self.store.imported(job, after), size)
            return [
                (record.ordinal, describe(job, record, include_schema=include_schema)) for record in records
            ]

        return self._page(job, page_token, job.imports, read)

    def refused(self, resource: Resource, job_id: str, page_token: str) -> Answer:
        """
        Return a page of what a job refused, each record as it was sent.

        :param resource: What the job imports.
        :param job_id: Its id.
        :param page_token: Token of the page; empty for the first one.
        """
        job = self._find(resource, job_id)
        # Unknown: whether shared data is returned with every refusal, as here, or with conflicts only.
        shared = {"shared": msgspec.Raw(job.shared)} if job.shared else {}
        item = resource.removesuffix("s")

        def describe(refusal: StoredRefusal, text: msgspec.Raw) -> dict[str, object]:
            said = without_null({"message": refusal.message, "code": refusal.code})
            return {**said, item: text, **shared}

        def read(after: int, size: int) -> list[tuple[int, dict[str, object]]]:
            refusals = self.store.refusals(job, after, size)
            return [(refusal.ordinal, describe(refusal, text)) for refusal, text in refusals]

        return self._page(job, page_token, job.errors, read)

    def quotas(self) -> Answer:
        """Tell how much of the monthly quotas is used."""
        start, end = month_of(self.clock.now())
        period = {"period_start": timestamp(start), "period_end": timestamp(end)}
        used = self.store.imported_events(start)
        return json_answer(
            {
                "session_quota": {"usage": "0", "limit": "5000", **period},
                "server_event_quota": {"usage": str(used), "limit": str(self.settings.event_quota), **period},
            }
        )

    def state(self, job: Job) -> str:
        """
        Return the status of a job as the API names it: one refused record is enough for ``FAILED``.

        :param job: The job.
        """
        if not self._is_finished(job):
            return "PROCESSING"
        return "FAILED" if job.errors or not job.records else "COMPLETED"

    def _is_finished(self, job: Job) -> bool:
        return job.finished <= self.clock.now()

    def _find(self, resource: Resource, job_id: str) -> Job:
        job = self.store.find_job(job_id)
        if job is None or job.resource != resource:
            raise not_found()
        return job

    def _check_limits(self, now: float, new_records: int) -> None:
        # Unknown: whether users and events count together. The limits are "per org", so here they do.
        batches, records = self.store.unfinished(now)
        full = batches >= self.settings.max_unfinished_batches
        if full or records + new_records > self.settings.max_unfinished_records:
            message = "Too many requests. Client has exceeded the rate limit for this endpoint."
            headers = {"Retry-After": str(self.settings.retry_after_seconds)}
            raise ApiError(429, "too_many_requests", message, headers)

    def _judged(
        self,
        resource: Resource,
        batch: Batch,
        times: tuple[float, float, float],
        job_id: str | None,
        idempotency_key: str | None,
    ) -> Job:
        """Refuse what depends on more than the record itself, and return the job."""
        number = self.store.next_job_number()
        if resource == "events":
            self._refuse_over_quota(batch)
        else:
            self._upsert_users(number, batch)
        records = len(batch.texts)
        imports = records - len(batch.refusals) - len(batch.ordered)
        return Job(number, job_id, resource, *times, records, imports, batch.shared, idempotency_key)

    def _save(self, job: Job, batch: Batch) -> None:
        refusals = (
            StoredRefusal(ordinal, refusal.code, refusal.message)
            for ordinal, refusal in (batch.refusals | batch.ordered).items()
        )
        self.store.add_job(job, batch.texts, refusals)

    def _refuse_over_quota(self, batch: Batch) -> None:
        # Unknown: what happens to events above the monthly quota. Here they are refused one by one.
        month, _ = month_of(self.clock.now())
        left = max(self.settings.event_quota - self.store.imported_events(month), 0)
        if len(batch.texts) - len(batch.refusals) <= left:
            return
        for ordinal in range(len(batch.texts)):
            if ordinal in batch.refusals:
                continue
            if left == 0:
                batch.refusals[ordinal] = _OVER_QUOTA
                batch.ordered.pop(ordinal, None)
            elif ordinal not in batch.ordered:
                left -= 1

    def _upsert_users(self, number: int, batch: Batch) -> None:
        for ordinal, text in enumerate(batch.texts):
            if ordinal not in batch.refusals:
                try:
                    user = upserted_user(self.store, text, anonymous_user_id(number, ordinal))
                except RecordError as error:
                    batch.refusals[ordinal] = error.with_traceback(None)
                    batch.ordered.pop(ordinal, None)
                else:
                    if ordinal not in batch.ordered:
                        self.store.save_user(user)

    def _page(
        self,
        job: Job,
        page_token: str,
        total: int,
        read: Callable[[int, int], list[tuple[int, dict[str, object]]]],
    ) -> Answer:
        if not self._is_finished(job):
            return json_answer({}, status=202)
        size = self.settings.page_size
        # One more than fits tells whether there is a next page.
        results = read(_read_page_token(page_token), size + 1)
        value: dict[str, object] = {"results": [described for _, described in results[:size]]}
        if not self.settings.omit_total_records:
            value["total_records"] = str(total)
        if len(results) > size:
            last, _ = results[size - 1]
            value["next_page_token"] = _page_token(last)
        elif self.settings.repeat_last_page_token:
            value["next_page_token"] = page_token or _page_token(_BEFORE_ALL)
        return json_answer(value)


_BEFORE_ALL = -1
_OVER_QUOTA = RecordError("quota_exceeded", "the monthly quota of server events is used up")


def _new_job_id() -> str:
    # Documented ids look like Base64. These bytes make sure that every id holds "/" and "=", so that a client
    # which does not percent-encode it finds out here.
    return base64.b64encode(b"\x03\xff" + secrets.token_bytes(8)).decode()


def _page_token(ordinal: int) -> str:
    return base64.b64encode(f"after:{ordinal}".encode()).decode()


def _read_page_token(token: str) -> int:
    if not token:
        return _BEFORE_ALL
    try:
        return int(base64.b64decode(token, validate=True).removeprefix(b"after:"))
    except (ValueError, binascii.Error) as error:
        raise invalid("page_token is not one that this API gave out") from error
