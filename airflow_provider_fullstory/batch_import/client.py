"""What an import needs of FullStory's API; a hook provides it, bound to one resource."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_fullstory.api.http import Content
    from airflow_provider_fullstory.api.jobs import Job, JobStatus, Page, RecordError


class ImportClient(Protocol):
    """
    Create and follow the imports of one resource; used from several threads.

    A poll is sent once, since an import decides itself when to poll again. Other requests are sent again if
    that can help.
    """

    def create_import(
        self, body: bytes | Content, idempotency_key: str, *, sent_before: float | None = None
    ) -> Job:
        """Start an import of a batch."""

    def get_job_status(self, job_id: str) -> JobStatus:
        """Return the status of a job."""

    def iter_errors(self, job_id: str) -> Iterator[Page[RecordError]]:
        """Yield the records of a job that FullStory rejected."""
