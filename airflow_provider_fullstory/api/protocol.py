"""
FullStory's HTTP protocol without any I/O.

Functions of this package turn each endpoint into a Call: the request to send and the way to read its answer.
A transport sends the request and passes the answer to ``Call.result``, which returns the result or raises a
typed error. Both hooks have a transport, so each rule is here once.
"""

from __future__ import annotations

import dataclasses
import math
import random
from typing import TYPE_CHECKING, Generic, TypeVar

from airflow_provider_fullstory import __version__
from airflow_provider_fullstory.api.encoding import UNREADABLE
from airflow_provider_fullstory.api.errors import NO_ENDPOINT, NOT_ASKED_AGAIN, error_of
from airflow_provider_fullstory.api.quoting import quoted
from airflow_provider_fullstory.exceptions import (
    FullStoryError,
    FullStoryNotReadyError,
    FullStoryProtocolError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from airflow_provider_fullstory.api.http import Request, Response

FIRST_RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 60.0
#: How long a request may be sent again under its idempotency key. FullStory remembers keys for 24 hours
#: (developer.fullstory.com/server/idempotent-requests); clocks differ, and requests take their time.
IDEMPOTENCY_SECONDS = 24 * 60 * 60.0 - 15 * 60.0
#: Bytes of an unpacked answer after which reading it ends: far more than a page of results has.
LONGEST_ANSWER = 256 * 1024 * 1024

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """
    One use of an endpoint.

    :param request: What to send. Sending it again within ``repeatable_for`` never does the work twice: it
        reads, or carries an idempotency key.
    :param read: Turns the bytes of a good answer into the result.
    :param purpose: What the call is for, as a person would say it; part of every error message.
    :param level: The lowest level of API key that may make it.
    :param missing: What to do if FullStory does not find what it names.
    :param repeatable_for: Seconds for which FullStory recognizes the request if it is sent again; after that
        it would do the work twice. 0 for a request that is never sent again once it may have arrived.
    :param sent_before: When the request was first sent, in seconds since the epoch, if its answer is unknown.
    :param in_doubt: What the error of the last attempt says if FullStory may have done the work.
    """

    request: Request
    read: Callable[[bytes], T]
    purpose: str
    level: str = "Standard"
    missing: str = NO_ENDPOINT
    repeatable_for: float = math.inf
    sent_before: float | None = None
    in_doubt: str = ""

    def result(self, response: Response, secrets: Collection[str] = ()) -> T:
        """
        Return the result that the answer to ``request`` holds; errors show none of the secrets.

        :raises FullStoryError: The type that fits the answer.
        """
        is_repeatable = self.repeatable_for > 0
        outcome = "" if is_repeatable else f" {NOT_ASKED_AGAIN}"
        if response.status == 202:
            raise FullStoryNotReadyError(
                f"FullStory is still working: it could not {self.purpose} yet (HTTP 202).{outcome}",
                status_code=202,
                retry_after=response.retry_after,
            )
        if response.status != 200:
            raise error_of(
                response,
                secrets,
                purpose=self.purpose,
                level=self.level,
                missing=self.missing,
                is_repeatable=is_repeatable,
            )
        if len(response.body) > LONGEST_ANSWER:
            reason = f"it has more than {LONGEST_ANSWER:,} bytes"
        else:
            try:
                return self.read(response.body)
            except UNREADABLE as error:
                reason = quoted(error, secrets)
        # Raised here, since the error of a decoder may hold the answer.
        raise FullStoryProtocolError(
            f"The answer to the request to {self.purpose} is not FullStory's: {reason}. "
            f"Check the host of the connection, and any proxy on the way.{outcome}",
            status_code=response.status,
        )


def user_agent() -> str:
    """Return the User-Agent header of all requests."""
    return f"airflow-provider-fullstory/{__version__}"


def authorization(api_key: str) -> str:
    """
    Return the Authorization header for a key.

    FullStory expects the key as it is after the word Basic, not base64 of a name and a password
    (developer.fullstory.com/server/authentication).
    """
    return f"Basic {api_key}"


def retry_seconds(error: BaseException, attempt: int) -> float:
    """
    Return how long to wait before a transient failure is tried again.

    ``Retry-After`` comes first, unless it is 0. Else the wait doubles from 1 second up to 60, less a random
    part of up to a half, so that many tasks do not come back at the same moment.

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
