"""What FullStory says of an import job, and how it is asked."""

from __future__ import annotations

import enum
from typing import Annotated, Any, Generic, TypeVar
from urllib.parse import quote

import msgspec
from msgspec import Meta

from airflow_provider_fullstory.api.encoding import decoder
from airflow_provider_fullstory.api.http import Content, Request
from airflow_provider_fullstory.api.protocol import Call

#: Most records that one batch may hold.
MAX_BATCH_RECORDS = 50_000


T = TypeVar("T")


class Resource(enum.StrEnum):
    """Name what a batch import carries; the value is its part of the URL."""

    EVENTS = "events"
    USERS = "users"


class JobState(enum.StrEnum):
    """
    Name the documented states of an import job.

    It says whether FullStory still works, never how it went: FAILED covers partial success, and COMPLETED
    has been documented with errors. Counts decide.
    """

    PROCESSING = "PROCESSING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


#: An id goes into URLs and logs: one without characters, with spaces or with line breaks is none.
JobId = Annotated[str, Meta(min_length=1, max_length=1_000, pattern=r"\A[^\x00-\x20\x7f]+\Z")]


class Job(msgspec.Struct, frozen=True):
    """
    Identify an import job.

    ``status`` is FullStory's word, usually one of :class:`JobState`; empty where the answer has none.
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
    Say how far a job is.

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
    """Answer of a job's status; FullStory leaves a count out where there is nothing to count."""

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

    ``event`` or ``user`` holds the record, whichever the import was of.
    """

    message: str | None = None
    code: str | None = None
    event: dict[str, Any] | None = None
    user: dict[str, Any] | None = None
    shared: dict[str, Any] | None = None

    @property
    def record(self) -> dict[str, Any] | None:
        """The record, whatever the import was of."""
        return self.event or self.user


class Page(msgspec.Struct, Generic[T], frozen=True):
    """
    One page of a job's results.

    ``total_records`` counts all pages together; None where FullStory leaves it out.
    """

    results: list[T] = []
    total_records: int | None = None
    next_page_token: str | None = None


def create_import(resource: Resource, body: bytes | Content, idempotency_key: str) -> Call[Job]:
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
    )


def job_status(resource: Resource, job_id: str) -> Call[JobStatus]:
    """Ask how far a job is."""
    return Call(
        Request("GET", _job_path(resource, job_id)),
        lambda content: decoder(JobStatusAnswer).decode(content).status,
        f"read the status of job {job_id!r} ({resource})",
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
    )


def errors_page(resource: Resource, job_id: str, page_token: str | None = None) -> Call[Page[RecordError]]:
    """Read a page of the records that a finished job rejected; needs an Architect key."""
    return Call(
        Request("GET", f"{_job_path(resource, job_id)}/errors", _page(page_token)),
        decoder(Page[RecordError]).decode,
        f"read the refused records of job {job_id!r} ({resource})",
        level="Architect",
    )


def _job_path(resource: Resource, job_id: str) -> str:
    # Job ids hold characters such as = and / that mean something in a URL.
    return f"/v2/{resource}/batch/{quote(job_id, safe='')}"


def _page(page_token: str | None) -> dict[str, str]:
    return {"page_token": page_token} if page_token else {}
