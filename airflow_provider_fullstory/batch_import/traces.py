"""
Which record of the source FullStory means when it names one.

FullStory gives records no number; it echoes those that it refused. So a fingerprint of each record is written
down before its batch is sent, and a record that comes back is built again and looked up. The fingerprints lie
beside the file of refused records until the import is accounted for.
"""

from __future__ import annotations

import dataclasses
import hashlib
from array import array
from typing import TYPE_CHECKING, Any, Final

import msgspec

from airflow_provider_fullstory.records.encoding import ENCODER
from airflow_provider_fullstory.records.events import events_of_records
from airflow_provider_fullstory.records.mapping import MappingOptions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from airflow_provider_fullstory.batch_import.batches import Batch
    from airflow_provider_fullstory.batch_import.folder import Folder

#: Bytes of a fingerprint: two of 50,000 records are equal by chance once in billions of batches.
_SIZE: Final = 8
_FACTS: Final = "import.json"


@dataclasses.dataclass(slots=True)
class Trace:
    """
    What is remembered of the records of one batch, in their order.

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
        self.fingerprints += _fingerprint(content)
        self.positions.append(position)


@dataclasses.dataclass(slots=True)
class Facts:
    """
    What is known of an import once all was sent.

    :param jobs: The batch of each job: ``12``, or ``12.1`` for its first half.
    :param keys: Path of each key column within an event, by its name.
    :param shared: What all events have in common.
    :param owner: What names the import.
    """

    jobs: dict[str, str] = dataclasses.field(default_factory=dict)
    keys: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    shared: dict[str, Any] = dataclasses.field(default_factory=dict)
    owner: str = ""


class Traces:
    """
    Keep the traces of an import's batches.

    :param folder: The folder of the file of refused records.
    :param name: Name of that file.
    """

    def __init__(self, folder: Folder, name: str) -> None:
        self._folder = folder
        self._place = f"{name}.sent"
        self._ordinal = 0
        self._known: dict[bytes, list[int]] = {}

    def kept(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """
        Yield batches once their traces are written.

        :param batches: The batches as they are made.
        """
        for batch in batches:
            if batch.trace is not None:
                content = msgspec.msgpack.encode((batch.trace.fingerprints, batch.trace.positions.tolist()))
                self._folder.write(self._name(batch.ordinal), content)
            yield dataclasses.replace(batch, trace=None)

    def write_facts(self, facts: Facts) -> None:
        """
        Keep what is known once all was sent.

        :param facts: What is known.
        """
        self._folder.write(f"{self._place}/{_FACTS}", msgspec.json.encode(facts))

    def facts(self) -> Facts:
        """Return what is known of the import: nothing, where it was not sent with this file."""
        content = self._folder.read(f"{self._place}/{_FACTS}")
        return Facts() if content is None else msgspec.json.decode(content, type=Facts)

    def positions(self, batch: str | None, events: Sequence[Any]) -> list[int | None]:
        """
        Return the places in the source of events that FullStory echoed, None where they cannot be told.

        Of equal records in a batch each echo gets another one.

        :param batch: The batch that held them, or a half of it.
        :param events: The events.
        """
        if batch is None:
            return [None] * len(events)
        self._load(int(batch.partition(".")[0]))
        return [self._position(fingerprints) for fingerprints in _rebuilt(events)]

    def remove(self) -> None:
        """Remove all traces."""
        self._folder.remove(self._place)

    def _position(self, fingerprints: Sequence[bytes]) -> int | None:
        for fingerprint in fingerprints:
            if places := self._known.get(fingerprint):
                return places.pop() if len(places) > 1 else places[0]
        return None

    def _load(self, ordinal: int) -> None:
        if ordinal == self._ordinal:
            return
        self._ordinal, self._known = ordinal, {}
        content = self._folder.read(self._name(ordinal))
        if content is None:
            return
        fingerprints, positions = msgspec.msgpack.decode(content, type=tuple[bytes, list[int]])
        # From the end, so that the first of equal records is the first to be taken.
        for index in reversed(range(len(positions))):
            fingerprint = fingerprints[index * _SIZE : (index + 1) * _SIZE]
            self._known.setdefault(fingerprint, []).append(positions[index])

    def _name(self, ordinal: int) -> str:
        return f"{self._place}/{ordinal:08d}.msgpack"


def _fingerprint(content: bytes | bytearray) -> bytes:
    return hashlib.blake2b(content, digest_size=_SIZE).digest()


def _rebuilt(events: Sequence[Any]) -> list[list[bytes]]:
    """Return the fingerprints that each event may have had when it was sent."""
    # An echo may have gone through a float, whose digits are others than those of a Decimal.
    floats = [msgspec.json.decode(ENCODER.encode(event)) for event in events]
    found: list[list[bytes]] = [[] for _ in events]
    for spelling in (events, floats):
        for chunk in events_of_records(spelling, MappingOptions(allow_anonymous=True)):
            for event, position in zip(chunk.events, chunk.positions, strict=True):
                found[position - 1].append(_fingerprint(ENCODER.encode(event)))
    return found
