"""
FullStory's wire types: what goes into a request and what comes back.

The request types are the one list of fields that an event can have; the mapping of columns reads its paths
and kinds from here. Field order is the order of the bytes in a body. A field that is UNSET is not
sent. Sources: developer.fullstory.com/server/events (create events batch import) and
developer.fullstory.com/server/users (create users batch import).
"""

from __future__ import annotations

import datetime
import enum
from collections.abc import Mapping
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

#: Most records that one batch may hold.
MAX_BATCH_RECORDS = 50_000

Properties = Mapping[str, Any]

T = TypeVar("T")


class Resource(enum.StrEnum):
    """Name what a batch import carries; the value is its part of the URL."""

    EVENTS = "events"
    USERS = "users"


class RequestPart(msgspec.Struct, gc=False, omit_defaults=True):
    """Base of all that is sent."""


class User(RequestPart):
    """Name the user of an event, by the application's id or by FullStory's own."""

    uid: str | UnsetType = UNSET
    id: str | UnsetType = UNSET


class Session(RequestPart):
    """Name the session of an event."""

    id: str | UnsetType = UNSET
    use_most_recent: bool | UnsetType = UNSET
    uid: str | UnsetType = UNSET


class Browser(RequestPart):
    """Describe the page."""

    url: str | UnsetType = UNSET
    user_agent: str | UnsetType = UNSET
    initial_referrer: str | UnsetType = UNSET


class Mobile(RequestPart):
    """Describe the mobile app."""

    app_id: str | UnsetType = UNSET
    app_version: str | UnsetType = UNSET
    app_name: str | UnsetType = UNSET
    build_variant: str | UnsetType = UNSET


class Device(RequestPart):
    """Describe the device; sizes in pixels."""

    manufacturer: str | UnsetType = UNSET
    model: str | UnsetType = UNSET
    screen_width: int | UnsetType = UNSET
    screen_height: int | UnsetType = UNSET
    viewport_width: int | UnsetType = UNSET
    viewport_height: int | UnsetType = UNSET


class Location(RequestPart):
    """Describe the place: country as ISO 3166-1 alpha-2, region as ISO 3166-2."""

    country: str | UnsetType = UNSET
    region: str | UnsetType = UNSET
    city: str | UnsetType = UNSET
    latitude: float | UnsetType = UNSET
    longitude: float | UnsetType = UNSET
    ip_address: str | UnsetType = UNSET


class Context(RequestPart):
    """Describe where an event took place."""

    browser: Browser | UnsetType = UNSET
    mobile: Mobile | UnsetType = UNSET
    device: Device | UnsetType = UNSET
    location: Location | UnsetType = UNSET


class Event(RequestPart):
    """
    One record of an events import.

    ``schema`` and ``page_properties_schema`` declare types for properties whose JSON form does not tell them:
    FullStory reads every JSON number as ``real`` and every string as ``str``
    (developer.fullstory.com/server/custom-properties).
    """

    name: str | UnsetType = UNSET
    timestamp: datetime.datetime | UnsetType = UNSET
    user: User | UnsetType = UNSET
    session: Session | UnsetType = UNSET
    context: Context | UnsetType = UNSET
    properties: Properties | UnsetType = UNSET
    schema: Properties | UnsetType = UNSET
    page_properties: Properties | UnsetType = UNSET
    page_properties_schema: Properties | UnsetType = UNSET


class Shared(RequestPart):
    """Hold what all events of a request have in common."""

    user: User | UnsetType = UNSET
    session: Session | UnsetType = UNSET
    context: Context | UnsetType = UNSET
    page_properties: Properties | UnsetType = UNSET
    page_properties_schema: Properties | UnsetType = UNSET


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
    One record that FullStory refused, as it echoes it.

    ``event`` or ``user`` holds the record, whichever the import was of.
    """

    message: str | None = None
    code: str | None = None
    event: dict[str, Any] | None = None
    user: dict[str, Any] | None = None
    shared: dict[str, Any] | None = None


class Page(msgspec.Struct, Generic[T], frozen=True):
    """
    One page of a job's results.

    ``total_records`` counts all pages together; None where FullStory leaves it out.
    """

    results: list[T] = []
    total_records: int | None = None
    next_page_token: str | None = None


class Account(msgspec.Struct, frozen=True, rename="camel"):
    """Tell whose API key it is; ``email`` is blank for keys made before keys had owners."""

    org_id: str
    role: str = "UNKNOWN"
    email: str = ""

    @property
    def level(self) -> str:
        """The key's level, in the words of FullStory's documentation."""
        return {"USER": "Standard", "ARCHITECT": "Architect", "ADMIN": "Admin"}.get(self.role, self.role)

    @property
    def reads_results(self) -> bool:
        """Tell whether the key may read a job's imported and refused records (Architect and above)."""
        return self.role in ("ARCHITECT", "ADMIN")


class Quota(msgspec.Struct, frozen=True):
    """Tell how much of a quota is used in the period; no ``limit``, or one below 0, says there is none."""

    usage: int = 0
    limit: int | None = None
    period_start: str | None = None
    period_end: str | None = None


class Quotas(msgspec.Struct, frozen=True):
    """Tell the organization's quotas for sessions and for server events."""

    session_quota: Quota | None = None
    server_event_quota: Quota | None = None
