"""The errors of this package, by type, for retry policies and callbacks."""

from __future__ import annotations

from typing import Any, ClassVar


class FullStoryError(Exception):
    """
    Base class of all errors. Each says what happened, what FullStory has, and what to do next.

    :param message: The message. It never holds the API key or a value of a record.
    :param status_code: HTTP status of FullStory's answer, None without an answer.
    :param code: FullStory's error code (``too_many_requests``, ``forbidden``, ...), None without one.
    :param retry_after: Seconds that FullStory asked to wait, None if it did not.
    """

    #: Whether the same request may succeed later.
    is_transient: ClassVar[bool] = False
    #: Whether FullStory may have done what the request asked for, although no answer says so.
    is_ambiguous: bool = False

    def __init__(
        self,
        message: str,
        *,
        status_code: int | None = None,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.code = code
        self.retry_after = retry_after
        #: The report so far, in the form of the operator's XCom; None if there is none.
        self.report: dict[str, Any] | None = None

    def add(self, sentence: str) -> None:
        """Add a line to the message that only a caller knows, such as what FullStory already has."""
        self.args = (f"{self}\n{sentence}",)


class FullStoryInputError(FullStoryError, ValueError):
    """Arguments, a connection or a source are wrong, and no retry fixes that."""


class FullStoryMissingConnectionError(FullStoryInputError):
    """Airflow has no connection of that name."""


class FullStoryConnectionLookupError(FullStoryError):
    """Airflow could not look up the connection at the moment; nothing was sent."""

    is_transient = True


class FullStoryMappingError(FullStoryInputError):
    """Columns do not fit FullStory's fields; raised before the first row is read."""


class FullStorySourceError(FullStoryError):
    """The source could not be read; the message says how much of it FullStory already has."""


class FullStoryTransportError(FullStoryError):
    """No answer arrived: the connection broke or timed out."""

    is_transient = True
    is_ambiguous = True


class FullStoryUnreachableError(FullStoryTransportError):
    """No connection could be made, so FullStory never saw the request."""

    is_ambiguous = False


class FullStoryProtocolError(FullStoryError):
    """An answer does not come from FullStory's API; often a wrong host or a proxy's page."""

    is_ambiguous = True


class FullStoryApiError(FullStoryError):
    """FullStory answered with an error."""


class FullStoryBadRequestError(FullStoryApiError):
    """400 or 422: FullStory does not accept the request as it is."""


class FullStoryAuthenticationError(FullStoryApiError):
    """401: the API key is unknown."""


class FullStoryPermissionError(FullStoryApiError):
    """403: the API key is known, but its level does not allow the call."""


class FullStoryNotFoundError(FullStoryApiError):
    """404: the job or the user is unknown, or belongs to another organization."""


class FullStoryConflictError(FullStoryApiError):
    """409: the same request is in flight; FullStory stores no result for it."""

    is_transient = True
    is_ambiguous = True


class FullStoryBodyTooLargeError(FullStoryApiError):
    """413: the body has more bytes than FullStory accepts."""


class FullStoryRateLimitError(FullStoryApiError):
    """429: too many requests, or too many unfinished batches or records in the organization."""

    is_transient = True


class FullStoryServerError(FullStoryApiError):
    """5xx: FullStory failed."""

    is_transient = True
    is_ambiguous = True


class FullStoryNotReadyError(FullStoryApiError):
    """202 on a page of results: the job is not finished."""

    is_transient = True
    is_ambiguous = True


class FullStoryTimeoutError(FullStoryError):
    """Jobs, or another run of the sync, took too long; FullStory cannot cancel jobs, so they continue."""


class FullStoryRecordsRefusedError(FullStoryError):
    """More records of an import were refused than the task allows."""


class FullStoryTooFewRecordsError(FullStoryError):
    """The source gave fewer records than it must."""


class FullStoryQuotaError(FullStoryError):
    """An import does not fit into the organization's monthly quota of server events."""


class FullStoryAccountingError(FullStoryError):
    """FullStory's counts do not add up to the records that it was sent."""


class FullStoryKilledError(FullStoryError):
    """The task was stopped before its import ended; its jobs continue in FullStory."""


class FullStoryStorageError(FullStoryError):
    """A file or the state of the import cannot be read or written; that may pass."""


class FullStoryHoldLostError(FullStoryError):
    """Another run may work on the sync by now, so nothing more is sent; a retry continues."""


class FullStoryLedgerError(FullStoryError):
    """The ledger or a staged batch of an import is damaged, or of another version."""


class FullStorySyncOpenError(FullStoryError):
    """Another run of a sync left an import that only that run can finish."""


class FullStoryDiskError(FullStoryError):
    """The worker's disk is full: a batch or refused records could not be written to it."""


class FullStorySourceChangedError(FullStoryError):
    """The source gives other batches than an earlier try has sent."""


class FullStoryAmbiguousError(FullStoryError):
    """The outcome of a batch is unknown, such as when its answer was lost more than a day ago."""

    is_ambiguous = True
