"""The fingerprints of the records of a batch."""

from __future__ import annotations

import dataclasses
import hashlib
from array import array
from typing import Final

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
        """
        Remember one more record.

        :param content: Its bytes in the body.
        :param position: Its place in the source.
        """
        self.fingerprints += fingerprint_of(content)
        self.positions.append(position)


def fingerprint_of(content: bytes | bytearray) -> bytes:
    """
    Return the fingerprint of a record.

    :param content: Its bytes in the body.
    """
    return hashlib.blake2b(content, digest_size=FINGERPRINT_BYTES).digest()
