"""
One request of an import: canonical bytes, and the key under which FullStory takes them once.

The same records give the same bytes on any machine, and the same run gives the same bytes the same keys, so
FullStory recognizes a request that is repeated.
"""

from __future__ import annotations

import dataclasses
import hashlib
import uuid
from array import array
from typing import Final

import msgspec

from airflow_provider_fullstory.api.jobs import MAX_BATCH_RECORDS
from airflow_provider_fullstory.batch_import.batching.body import Body
from airflow_provider_fullstory.exceptions import FullStoryInputError

#: Bytes of a body unless the user says otherwise. FullStory documents no limit; this one bounds a request,
#: and a batch of 50,000 records of 360 bytes stays whole.
DEFAULT_MAX_BATCH_BYTES: Final = 32 * 2**20
BODY_START: Final = b'{"requests":['
#: Bytes of a fingerprint: two of 50,000 records are equal by chance once in billions of batches.
FINGERPRINT_BYTES: Final = 8


@dataclasses.dataclass(slots=True)
class BatchFingerprints:
    """
    The fingerprints of the records of one batch, in their order.

    :param fingerprints: Their fingerprints, one after the other.
    :param positions: Their places in the source, from 1.
    """

    fingerprints: bytearray = dataclasses.field(default_factory=bytearray)
    positions: array[int] = dataclasses.field(default_factory=lambda: array("Q"))

    def add(self, content: bytes | bytearray, position: int) -> None:
        """Remember one more record."""
        self.fingerprints += fingerprint_of(content)
        self.positions.append(position)


def fingerprint_of(content: bytes | bytearray) -> bytes:
    """Return the fingerprint of a record, given its bytes in the body."""
    return hashlib.blake2b(content, digest_size=FINGERPRINT_BYTES).digest()


@dataclasses.dataclass(frozen=True, slots=True)
class Placed:
    """
    A batch, sent or not.

    :param place: Its place in the import: ``(12,)``, from 1, or ``(12, 1)`` for its first half.
    """

    place: tuple[int, ...]

    @property
    def ordinal(self) -> int:
        """Its number in the import, which halves of a batch share."""
        return self.place[0]

    @property
    def name(self) -> str:
        """Its place, as text."""
        return ".".join(map(str, self.place))


@dataclasses.dataclass(frozen=True, slots=True)
class Batch(Placed):
    """
    One request of an import.

    :param body: The request's JSON.
    :param digest: SHA-256 of the body, in hex.
    :param records: How many records it holds.
    :param idempotency_key: The key under which FullStory takes it once.
    :param fingerprints: The fingerprints of its records, until they are written down.
    :param insert_ids: The insert ids of its records as they are written down, until they are; empty if they
        need none.
    """

    body: Body = dataclasses.field(repr=False)
    digest: str
    records: int
    idempotency_key: str
    fingerprints: BatchFingerprints | None = dataclasses.field(default=None, repr=False, compare=False)
    insert_ids: bytes = dataclasses.field(default=b"", repr=False, compare=False)

    def split(self) -> tuple[Batch, Batch]:
        """
        Return two batches with half of the records each, for a body that is too large for FullStory.

        Their keys follow from this batch's key, so that splitting again gives the same two.
        """
        content = msgspec.json.decode(bytes(self.body), type=dict[str, msgspec.Raw])
        requests = msgspec.json.decode(content["requests"], type=list[msgspec.Raw])
        middle = first_half(len(requests))
        return (
            self._half(1, requests[:middle], content.get("shared")),
            self._half(2, requests[middle:], content.get("shared")),
        )

    def _half(self, number: int, requests: list[msgspec.Raw], shared: msgspec.Raw | None) -> Batch:
        suffix = body_end(None if shared is None else bytes(shared))
        body = Body([BODY_START, b",".join(map(bytes, requests)), suffix])
        key = str(uuid.uuid5(uuid.UUID(self.idempotency_key), str(number)))
        return Batch((*self.place, number), body, body.digest, len(requests), key)


@dataclasses.dataclass(frozen=True, slots=True)
class BatchLimits:
    """
    The limits at which a batch ends.

    :param records: Most records of a batch, at most 50,000.
    :param bytes: Most bytes of its body.
    """

    records: int = MAX_BATCH_RECORDS
    bytes: int = DEFAULT_MAX_BATCH_BYTES

    def check(self) -> None:
        """
        Refuse limits that FullStory would not take.

        :raises FullStoryInputError: Naming the limit.
        """
        if not 1 <= self.records <= MAX_BATCH_RECORDS:
            raise FullStoryInputError(
                f"batch_size is {self.records}; FullStory takes 1 to {MAX_BATCH_RECORDS} records in a batch."
            )
        if self.bytes < 1:
            raise FullStoryInputError(f"max_batch_bytes is {self.bytes}; it must be above 0.")


def first_half(records: int) -> int:
    """Return how many records of a batch the first of its two halves holds."""
    return records // 2


def body_end(shared: bytes | None) -> bytes:
    """
    Return what ends a body.

    :param shared: The JSON of what its records have in common, None if they share nothing.
    """
    return b"]}" if shared is None else b'],"shared":' + shared + b"}"
