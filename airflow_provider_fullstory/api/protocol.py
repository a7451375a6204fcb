"""
FullStory's HTTP protocol without any I/O.

A function here turns an endpoint into a Call: the request to send and the way to read its answer. A transport
sends the request and hands the answer to ``Call.result``, which gives the result or raises a typed error.
Both hooks are such transports, so every rule stands here once.
"""

from __future__ import annotations

import dataclasses
import email.utils
import functools
import math
import random
import time
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar
from urllib.parse import quote

import msgspec

from airflow_provider_fullstory import __version__
from airflow_provider_fullstory.api.encoding import Digits
from airflow_provider_fullstory.api.models import (
    Account,
    Job,
    JobCreated,
    JobStatus,
    JobStatusAnswer,
    Page,
    Quotas,
    RecordError,
    Resource,
)
from airflow_provider_fullstory.api.quoting import quoted
from airflow_provider_fullstory.exceptions import (
    FullStoryApiError,
    FullStoryAuthenticationError,
    FullStoryBadRequestError,
    FullStoryBodyTooLargeError,
    FullStoryConflictError,
    FullStoryError,
    FullStoryNotFoundError,
    FullStoryNotReadyError,
    FullStoryPermissionError,
    FullStoryProtocolError,
    FullStoryRateLimitError,
    FullStoryServerError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

FIRST_RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 60.0
#: How long a request may be sent again under its idempotency key. FullStory remembers keys for 24 hours
#: (developer.fullstory.com/server/idempotent-requests); clocks differ, and requests take their time.
IDEMPOTENCY_SECONDS = 24 * 60 * 60.0 - 15 * 60.0
#: Bytes of an answer, unpacked, after which reading it ends: far more than a page of results has.
LONGEST_ANSWER = 256 * 1024 * 1024
#: What reading JSON of any kind may raise: nothing else comes of odd bytes, numbers and depths.
_UNREADABLE = (msgspec.MsgspecError, ValueError, ArithmeticError, RecursionError)
_LONGEST_CODE = 100

T = TypeVar("T")


class Content(Protocol):
    """The bytes of a request that come piece by piece, anew each time they are asked for."""

    def __len__(self) -> int:
        """Return the number of bytes."""

    def __iter__(self) -> Iterator[bytes]:
        """Begin anew."""

    def __bytes__(self) -> bytes:
        """Return all of them."""


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, all but the host and the API key."""

    method: str
    path: str
    query: Mapping[str, str] = dataclasses.field(default_factory=dict)
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    body: bytes | Content | None = dataclasses.field(default=None, repr=False)


@dataclasses.dataclass(frozen=True, slots=True)
class Response:
    """One HTTP answer; ``headers`` must be case-insensitive."""

    status: int
    headers: Mapping[str, str]
    body: bytes = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """
    One use of an endpoint.

    :param request: What to send. Sending it again never does the work twice: it reads, or carries an
        idempotency key.
    :param read: Turns the bytes of a good answer into the result.
    :param purpose: What the call is for, as a person would say it; part of every error message.
    :param level: The lowest level of API key that may make it.
    """

    request: Request
    read: Callable[[bytes], T]
    purpose: str
    level: str = "Standard"

    def result(self, response: Response, secrets: Collection[str] = ()) -> T:
        """
        Return what the answer says.

        :param response: The answer to ``request``.
        :param secrets: What no error may show, should the answer hold it.
        :raises FullStoryError: The type that fits the answer.
        """
        if response.status == 202:
            raise FullStoryNotReadyError(
                f"FullStory is still working: it could not {self.purpose} yet (HTTP 202).",
                status_code=202,
                retry_after=_retry_after(response),
            )
        if response.status != 200:
            raise _error(self, response, secrets)
        if len(response.body) > LONGEST_ANSWER:
            reason = f"it has more than {LONGEST_ANSWER:,} bytes"
        else:
            try:
                return self.read(response.body)
            except _UNREADABLE as error:
                reason = quoted(error, secrets)
        # Raised here, since the error of a decoder may hold the answer.
        raise FullStoryProtocolError(
            f"The answer to the request to {self.purpose} is not FullStory's: {reason}. "
            "Check the host of the connection, and any proxy on the way.",
            status_code=response.status,
        )


def user_agent() -> str:
    """Return the User-Agent of all requests."""
    return f"airflow-provider-fullstory/{__version__}"


def authorization(api_key: str) -> str:
    """
    Return the Authorization header for a key.

    FullStory takes the key as it is after the word Basic, not base64 of a name and a password
    (developer.fullstory.com/server/authentication).
    """
    return f"Basic {api_key}"


def create_import(resource: Resource, body: bytes | Content, idempotency_key: str) -> Call[Job]:
    """Send a batch of records; FullStory answers with the job that imports them."""
    return Call(
        Request(
            "POST",
            f"/v2/{resource}/batch",
            headers={"Content-Type": "application/json", "Idempotency-Key": idempotency_key},
            body=body,
        ),
        lambda content: _decoder(JobCreated).decode(content).job,
        f"create an import of {resource}",
    )


def job_status(resource: Resource, job_id: str) -> Call[JobStatus]:
    """Ask how far a job is."""
    return Call(
        Request("GET", _job_path(resource, job_id)),
        lambda content: _decoder(JobStatusAnswer).decode(content).status,
        f"read the status of job {job_id!r} ({resource})",
    )


def imports_page(
    resource: Resource, job_id: str, page_token: str | None = None, *, include_schema: bool = False
) -> Call[Page[dict[str, Any]]]:
    """Read a page of the records that a finished job imported; needs an Architect key."""
    query = {"include_schema": "true"} if include_schema else {}
    return Call(
        Request("GET", f"{_job_path(resource, job_id)}/imports", query | _page(page_token)),
        _decoder(Page[dict[str, Any]]).decode,
        f"read the imported records of job {job_id!r} ({resource})",
        level="Architect",
    )


def errors_page(resource: Resource, job_id: str, page_token: str | None = None) -> Call[Page[RecordError]]:
    """Read a page of the records that a finished job refused; needs an Architect key."""
    return Call(
        Request("GET", f"{_job_path(resource, job_id)}/errors", _page(page_token)),
        _decoder(Page[RecordError]).decode,
        f"read the refused records of job {job_id!r} ({resource})",
        level="Architect",
    )


def quotas() -> Call[Quotas]:
    """Ask for the organization's quotas."""
    return Call(
        Request("GET", "/v2/organization/quotas"), _decoder(Quotas).decode, "read the organization's quotas"
    )


def me() -> Call[Account]:
    """Ask whose API key it is."""
    return Call(Request("GET", "/me"), _decoder(Account).decode, "identify the API key")


def retry_seconds(error: BaseException, attempt: int) -> float:
    """
    Return how long to wait before a transient failure is tried again.

    ``Retry-After`` counts first, unless it asks for no wait at all; else the wait doubles from 1 second up to
    60, of which a random half is left out so that many tasks do not come back at the same moment.

    :param error: What the last attempt failed with.
    :param attempt: How many attempts were made, from 1.
    """
    retry_after = getattr(error, "retry_after", None)
    if retry_after:
        return float(retry_after)
    longest = min(LONGEST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2.0 ** min(attempt - 1, 10))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - Spreads load, guards nothing.


def is_transient(error: BaseException) -> bool:
    """Return whether the same request may succeed later."""
    return isinstance(error, FullStoryError) and error.is_transient


@functools.cache
def _decoder(wire_type: type[T]) -> msgspec.json.Decoder[T]:
    # total_records, usage and limit come as strings of digits; echoed numbers keep their digits.
    return msgspec.json.Decoder(wire_type, strict=False, float_hook=Digits)


def _job_path(resource: Resource, job_id: str) -> str:
    # Job ids hold characters such as = and / that mean something in a URL.
    return f"/v2/{resource}/batch/{quote(job_id, safe='')}"


def _page(page_token: str | None) -> dict[str, str]:
    return {"page_token": page_token} if page_token else {}


_REFUSED = "The request itself is refused; the same request will be refused again."
_ERRORS: dict[int, tuple[type[FullStoryApiError], str]] = {
    400: (FullStoryBadRequestError, _REFUSED),
    401: (FullStoryAuthenticationError, "The API key is unknown: check the password of the connection."),
    403: (
        FullStoryPermissionError,
        "The API key's level is too low: this takes a key of level {level} or above.",
    ),
    404: (FullStoryNotFoundError, "{missing}"),
    408: (FullStoryServerError, "The request took too long to arrive."),
    409: (FullStoryConflictError, "The same request is being worked on at this moment."),
    413: (FullStoryBodyTooLargeError, "The batch has too many bytes: set a smaller max_batch_bytes."),
    422: (FullStoryBadRequestError, _REFUSED),
    429: (
        FullStoryRateLimitError,
        "Too many requests, or 200 batches or 500,000 records of the organization are unfinished.",
    ),
}
_NO_JOB = "No such job in this organization: check the id, and the connection that created it."
_NO_ENDPOINT = "FullStory has no such endpoint: check the host of the connection."


def _error(call: Call[Any], response: Response, secrets: Collection[str]) -> FullStoryError:
    if 300 <= response.status < 400:
        return FullStoryProtocolError(
            f"Asked to {call.purpose}, the host answered with a redirect (HTTP {response.status}). It is not "
            "followed because it would carry the API key elsewhere. Check the host of the connection.",
            status_code=response.status,
        )
    code, message = _error_body(response.body, secrets)
    error_type, advice = _ERRORS.get(response.status, (FullStoryApiError, ""))
    if response.status >= 500:
        error_type, advice = FullStoryServerError, "FullStory failed; the request may be sent again."
    missing = _NO_JOB if "/batch/" in call.request.path else _NO_ENDPOINT
    advice = advice.format(level=call.level, missing=missing)
    retry_after = _retry_after(response)
    if retry_after is not None:
        advice += f" FullStory asks to wait {retry_after:g} s."
    said = f"{message} ({code})" if code else message
    error = error_type(
        f"FullStory refused to {call.purpose}: HTTP {response.status}, {said}.\n{advice}".rstrip(),
        status_code=response.status,
        code=code,
        retry_after=retry_after,
    )
    # A success that is none of this API's may be that of something in between.
    error.is_ambiguous = error.is_ambiguous or response.status < 300
    return error


def _error_body(body: bytes, secrets: Collection[str]) -> tuple[str | None, str]:
    """Return FullStory's code and message; an answer in another form gives neither of its bytes to a log."""
    try:
        content = msgspec.json.decode(body)
    except _UNREADABLE:
        return None, "with no message in FullStory's form"
    if not isinstance(content, dict):
        return None, "with no message in FullStory's form"
    code, message = content.get("code"), content.get("message")
    return (
        quoted(code, secrets, _LONGEST_CODE) if code else None,
        quoted(message or "with no message", secrets).rstrip("."),
    )


def _retry_after(response: Response) -> float | None:
    value = response.headers.get("Retry-After")
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, OverflowError, TypeError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
