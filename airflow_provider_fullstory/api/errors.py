"""The error that an answer of FullStory's stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from airflow_provider_fullstory.api.encoding import UNREADABLE
from airflow_provider_fullstory.api.quoting import quoted
from airflow_provider_fullstory.exceptions import (
    FullStoryApiError,
    FullStoryAuthenticationError,
    FullStoryBadRequestError,
    FullStoryBodyTooLargeError,
    FullStoryConflictError,
    FullStoryError,
    FullStoryNotFoundError,
    FullStoryPermissionError,
    FullStoryProtocolError,
    FullStoryRateLimitError,
    FullStoryServerError,
)

if TYPE_CHECKING:
    from collections.abc import Collection

    from airflow_provider_fullstory.api.http import Response

_LONGEST_CODE = 100
_WRONG = "The request itself is wrong; the same request will fail again."
_ERRORS: dict[int, tuple[type[FullStoryApiError], str]] = {
    400: (FullStoryBadRequestError, _WRONG),
    401: (FullStoryAuthenticationError, "The API key is unknown: check the password of the connection."),
    403: (
        FullStoryPermissionError,
        "The API key's level is too low: this takes a key of level {level} or above.",
    ),
    404: (FullStoryNotFoundError, "{missing}"),
    408: (FullStoryServerError, "The request took too long to arrive."),
    409: (FullStoryConflictError, "The same request is being worked on at this moment."),
    413: (FullStoryBodyTooLargeError, "It has too many bytes: for an import, set a smaller max_batch_bytes."),
    422: (FullStoryBadRequestError, _WRONG),
    429: (
        FullStoryRateLimitError,
        "Too many requests, or 200 batches or 500,000 records of the organization are unfinished.",
    ),
}
_FAILED = "FullStory failed; a later request may succeed."
#: What is known of a request that FullStory may have got, and would not recognize.
NOT_ASKED_AGAIN = "FullStory may have done the work all the same, so it is not asked again."
#: What to do if FullStory does not know an endpoint.
NO_ENDPOINT = "FullStory has no such endpoint: check the host of the connection."


def error_of(
    response: Response,
    secrets: Collection[str] = (),
    *,
    purpose: str,
    level: str,
    missing: str,
    is_repeatable: bool,
) -> FullStoryError:
    """
    Return the error of an answer that reports no success; it shows none of the secrets.

    :param purpose: What the request is for.
    :param level: The lowest level of API key that may make it.
    :param missing: What to do if FullStory does not find what it names.
    :param is_repeatable: Whether it may be sent again although FullStory may have done the work.
    """
    if 300 <= response.status < 400:
        return FullStoryProtocolError(
            f"Asked to {purpose}, the host answered with a redirect (HTTP {response.status}). It is not "
            "followed because it would carry the API key elsewhere. Check the host of the connection.",
            status_code=response.status,
        )
    code, message = _error_body(response.body, secrets)
    error_type, advice = _ERRORS.get(response.status, (FullStoryApiError, ""))
    if response.status >= 500:
        error_type, advice = FullStoryServerError, _FAILED
    # A proxy may have answered with another kind of success.
    is_ambiguous = error_type.is_ambiguous or response.status < 300
    advice = advice.format(level=level, missing=missing)
    if is_ambiguous and not is_repeatable:
        advice = NOT_ASKED_AGAIN
    elif response.retry_after is not None:
        # To the hundredth, and without an exponent.
        seconds = f"{response.retry_after:.2f}".rstrip("0").rstrip(".")
        advice += f" FullStory asks to wait {seconds} s."
    said = f"{message} ({code})" if code else message
    error = error_type(
        f"Could not {purpose}: FullStory answered HTTP {response.status}, {said}.\n{advice}".rstrip(),
        status_code=response.status,
        code=code,
        retry_after=response.retry_after,
    )
    error.is_ambiguous = is_ambiguous
    return error


def _error_body(body: bytes, secrets: Collection[str]) -> tuple[str | None, str]:
    """Return FullStory's code and message; the bytes of an answer in another form reach no log."""
    try:
        content = msgspec.json.decode(body)
    except UNREADABLE:
        return None, "with no message in FullStory's form"
    if not isinstance(content, dict):
        return None, "with no message in FullStory's form"
    code, message = content.get("code"), content.get("message")
    return (
        quoted(code, secrets, _LONGEST_CODE) if code else None,
        quoted(message or "with no message", secrets).rstrip("."),
    )
