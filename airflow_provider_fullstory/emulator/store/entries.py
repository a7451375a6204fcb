"""The rows of the database."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import msgspec


@dataclasses.dataclass(frozen=True)
class Job:
    """
    Hold one accepted import. Times are seconds since 1970.

    :param number: Its place in the order of acceptance, from 1.
    :param id: Its id in the API; none for a record that was sent outside a batch.
    :param resource: ``events`` or ``users``.
    :param created: When it was accepted.
    :param started: When processing starts.
    :param finished: When processing ends; it may be in the future.
    :param records: Number of its records.
    :param imports: Number of records that are imported.
    :param shared: JSON of the request's ``shared`` object.
    :param idempotency_key: The key it was sent under.
    """

    number: int
    id: str | None
    resource: str
    created: float
    started: float
    finished: float
    records: int
    imports: int
    shared: bytes | None
    idempotency_key: str | None

    @property
    def errors(self) -> int:
        """How many of its records are rejected."""
        return self.records - self.imports


class StoredRecord(NamedTuple):
    """Hold one record of a job: its place in the batch, from 0, and its JSON exactly as it was sent."""

    ordinal: int
    text: msgspec.Raw


class StoredRejection(NamedTuple):
    """
    Hold the reason why a record of a job was rejected.

    :param ordinal: Its place in the batch, from 0.
    :param code: One of FullStory's codes; none when a test leaves it out.
    :param message: The reason in plain words; none when a test leaves it out.
    """

    ordinal: int
    code: str | None
    message: str | None


@dataclasses.dataclass(frozen=True)
class StoredUser:
    """
    Hold one user.

    :param id: FullStory's own identifier.
    :param uid: The customer's identifier; none for an anonymous user.
    :param text: JSON of everything that is known about the user.
    :param gone: When its deletion ends, in seconds since 1970; none for a user that is not being deleted.
    """

    id: str
    uid: str | None
    text: bytes
    gone: float | None = None

    @property
    def is_being_deleted(self) -> bool:
        """Whether its deletion has begun."""
        return self.gone is not None
