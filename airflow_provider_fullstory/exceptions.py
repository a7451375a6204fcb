"""What can go wrong, as types that retry policies and callbacks can tell apart."""

from __future__ import annotations

from typing import Any, ClassVar


class FullStoryError(Exception):
    """
    Say what went wrong on the way to FullStory and what to do next.

    :param message: What a person needs to read; never holds the API key or a value of a record.
    :param status_code: HTTP status of FullStory's answer, None where there was no answer.
    :param code: FullStory's own code (``too_many_requests``, ``forbidden``, ...), where it gave one.
    :param retry_after: Seconds that FullStory asked to wait, where it did.
    """

    #: True where the same request may well succeed later.
    is_transient: ClassVar[bool] = False
    #: True where FullStory may have done what it was asked for, although no answer says so.
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
        #: What became of every record, in the form of the operator's XCom; None while that is not known.
        self.report: dict[str, Any] | None = None

    def add(self, sentence: str) -> None:
        """Add a line to the message: what only a caller knows, such as what FullStory already has."""
        self.args = (f"{self}\n{sentence}",)


class FullStoryInputError(FullStoryError, ValueError):
    """Refuse arguments, a connection or a source that no retry can make right; nothing was sent."""


class FullStoryMissingConnectionError(FullStoryInputError):
    """Say that Airflow finds no connection of that name."""


class FullStoryConnectionLookupError(FullStoryError):
    """Say that Airflow could not look up the connection at the moment; nothing was sent."""

    is_transient = True


class FullStoryMappingError(FullStoryInputError):
    """Refuse columns that do not fit FullStory's fields; raised before the first row is read."""


class FullStorySourceError(FullStoryError):
    """Say that the source could not be read, and how much of it FullStory already has."""


class FullStoryTransportError(FullStoryError):
    """Say that no answer came: the connection broke or timed out."""

    is_transient = True
    is_ambiguous = True


class FullStoryUnreachableError(FullStoryTransportError):
    """Say that no connection could be made, so that FullStory never saw the request."""

    is_ambiguous = False


class FullStoryProtocolError(FullStoryError):
    """Say that an answer is not one that FullStory's API gives; often a wrong host or a proxy's page."""

    is_ambiguous = True


class FullStoryApiError(FullStoryError):
    """Carry an error that FullStory answered with."""


class FullStoryBadRequestError(FullStoryApiError):
    """400 or 422: FullStory refuses the request as it stands."""


class FullStoryAuthenticationError(FullStoryApiError):
    """401: the API key is unknown."""


class FullStoryPermissionError(FullStoryApiError):
    """403: the API key is known, but its level does not allow the call."""


class FullStoryNotFoundError(FullStoryApiError):
    """404: the job is unknown, or belongs to another organization."""


class FullStoryConflictError(FullStoryApiError):
    """409: the same request is being worked on at this moment; FullStory stores no result for it."""

    is_transient = True
    is_ambiguous = True


class FullStoryBodyTooLargeError(FullStoryApiError):
    """413: the body has more bytes than FullStory takes."""


class FullStoryRateLimitError(FullStoryApiError):
    """429: too many requests, or too many unfinished batches or records in the organization."""

    is_transient = True


class FullStoryServerError(FullStoryApiError):
    """5xx: FullStory failed."""

    is_transient = True
    is_ambiguous = True


class FullStoryNotReadyError(FullStoryApiError):
    """202 on a page of results: the job is still being worked on."""

    is_transient = True
    is_ambiguous = True


class FullStoryTimeoutError(FullStoryError):
    """Say that the jobs did not finish in time; they go on in FullStory, which cannot cancel them."""


class FullStoryRecordsRefusedError(FullStoryError):
    """Say that an import ended with records that are not in FullStory."""


class FullStoryTooFewRecordsError(FullStoryError):
    """Say that the source gave fewer records than it has to."""


class FullStoryQuotaError(FullStoryError):
    """Say that an import does not fit into the organization's monthly quota of server events."""


class FullStoryAccountingError(FullStoryError):
    """Say that FullStory's counts do not add up to what it was sent."""


class FullStoryKilledError(FullStoryError):
    """Say that the task was told to end before its import did, and what goes on in FullStory."""


class FullStoryStorageError(FullStoryError):
    """Say that a file or the state of the import cannot be read or written; that may pass."""


class FullStoryLedgerError(FullStoryError):
    """Say that what the ledger or the staged batches of an import hold cannot be used."""


class FullStoryDiskError(FullStoryError):
    """The worker's disk did not take a batch that was to be sent, or a record that was refused."""


class FullStorySourceChangedError(FullStoryError):
    """Say that the source gives other batches than those which an earlier try has sent."""


class FullStoryAmbiguousError(FullStoryError):
    """Say that nobody can know whether FullStory has a batch: its answer was lost more than a day ago."""

    is_ambiguous = True
