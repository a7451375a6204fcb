"""The endpoints of import jobs, and their answers."""

from __future__ import annotations

import enum
from typing import Annotated, Any, Generic, TypeVar
from urllib.parse import quote

import msgspec
from msgspec import Meta

from airflow_provider_fullstory.api.encoding import decoder
from airflow_provider_fullstory.api.http import Content, Request
from airflow_provider_fullstory.api.protocol import IDEMPOTENCY_SECONDS, Call

#: Most records that one batch may hold.
MAX_BATCH_RECORDS = 50_000
_MISSING = (
    "No such job in this organization: check the id, whether it imports events or users, and the connection "
    "that created it."
)

T = TypeVar("T")


class Resource(enum.StrEnum):
    """What a batch import carries; the value is its part of the URL."""

    EVENTS = "events"
    USERS = "users"


class JobState(enum.StrEnum):
    """
    The documented states of an import job.

    A state says whether FullStory still works, not how many records it imported: FAILED covers partial
    success, and COMPLETED has been documented with errors. The counts decide.
    """

    PROCESSING = "PROCESSING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


#: An id goes into URLs and logs: it has no spaces and no line breaks, and is not empty.
JobId = Annotated[str, Meta(min_length=1, max_length=1_000, pattern=r"\A[^\x00-\x20\x7f]+\Z")]


class Job(msgspec.Struct, frozen=True):
    """
    An import job.

    ``status`` is FullStory's word, usually one of :class:`JobState`; empty if the answer has none.
    """

    id: JobId
    status: str = ""
    created: str | None = None
    finished: str | None = None


class JobCreated(msgspec.Struct, frozen=True):
    """Answer of a batch import request."""

    job: Job


class JobStatus(msgspec.Struct, frozen=True):
    """
    The status of a job.

    ``imports`` and ``errors`` count records.
    """

    job: Job
    imports: int = 0
    errors: int = 0

    @property
    def is_finished(self) -> bool:
        """Return whether the counts are final."""
        return self.job.status in (JobState.COMPLETED, JobState.FAILED)

    @property
    def is_documented(self) -> bool:
        """Return whether the status is a word that FullStory's documentation has."""
        return self.job.status in set(JobState)


class JobStatusAnswer(msgspec.Struct, frozen=True):
    """Answer of a job's status; FullStory leaves a count out if there is nothing to count."""

    job: Job
    imports: Annotated[int, Meta(ge=0)] | None = None
    errors: Annotated[int, Meta(ge=0)] | None = None

    @property
    def status(self) -> JobStatus:
        """The status, with a number for each count."""
        return JobStatus(self.job, self.imports or 0, self.errors or 0)


class RecordError(msgspec.Struct, frozen=True):
    """
    One record that FullStory rejected, as it echoes it.

    ``event`` or ``user`` holds the record, depending on the import. A new kind of records needs a field here,
    named after its noun.
    """

    message: str | None = None
    code: str | None = None
    event: dict[str, Any] | None = None
    user: dict[str, Any] | None = None
    shared: dict[str, Any] | None = None

    @property
    def record(self) -> dict[str, Any] | None:
        """The record, whatever its kind."""
        return self.event or self.user


class Page(msgspec.Struct, Generic[T], frozen=True):
    """
    One page of results.

    ``total_records`` counts all pages together; None if FullStory leaves it out.
    """

    results: list[T] = []
    total_records: int | None = None
    next_page_token: str | None = None


def create_import(
    resource: Resource, body: bytes | Content, idempotency_key: str, sent_before: float | None = None
) -> Call[Job]:
    """Send a batch of records; FullStory answers with the job that imports them."""
    return Call(
        Request(
            "POST",
            f"/v2/{resource}/batch",
            headers={"Content-Type": "application/json", "Idempotency-Key": idempotency_key},
            body=body,
        ),
        lambda content: decoder(JobCreated).decode(content).job,
        f"create an import of {resource}",
        repeatable_for=IDEMPOTENCY_SECONDS,
        sent_before=sent_before,
    )


def job_status(resource: Resource, job_id: str) -> Call[JobStatus]:
    """Read the status of a job."""
    return Call(
        Request("GET", _job_path(resource, job_id)),
        lambda content: decoder(JobStatusAnswer).decode(content).status,
        f"read the status of job {job_id!r} ({resource})",
        missing=_MISSING,
    )


def imports_page(
    resource: Resource, job_id: str, page_token: str | None = None, *, include_schema: bool = False
) -> Call[Page[dict[str, Any]]]:
    """Read a page of the records that a finished job imported; needs an Architect key."""
    query = {"include_schema": "true"} if include_schema else {}
    return Call(
        Request("GET", f"{_job_path(resource, job_id)}/imports", query | _page(page_token)),
        decoder(Page[dict[str, Any]]).decode,
        f"read the imported records of job {job_id!r} ({resource})",
        level="Architect",
        missing=_MISSING,
    )


def errors_page(resource: Resource, job_id: str, page_token: str | None = None) -> Call[Page[RecordError]]:
    """Read a page of the records of a finished job that FullStory rejected; needs an Architect key."""
    return Call(
        Request("GET", f"{_job_path(resource, job_id)}/errors", _page(page_token)),
        decoder(Page[RecordError]).decode,
        f"read the rejected records of job {job_id!r} ({resource})",
        level="Architect",
        missing=_MISSING,
    )


def _job_path(resource: Resource, job_id: str) -> str:
    # Job ids hold characters such as = and / that have a meaning in a URL.
    return f"/v2/{resource}/batch/{quote(job_id, safe='')}"


def _page(page_token: str | None) -> dict[str, str]:
    return {"page_token": page_token} if page_token else {}
