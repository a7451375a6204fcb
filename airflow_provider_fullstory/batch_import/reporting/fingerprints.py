"""
Which record of the source FullStory echoes.

FullStory gives records no number; it echoes those that it rejected. So a fingerprint of each record is
written before its batch is sent, and an echo is encoded as the record was sent, to find its fingerprint. The
fingerprints lie beside the file of refused records until the import is accounted for.
"""

from __future__ import annotations

import dataclasses
import datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from airflow_provider_fullstory.api.encoding import ENCODER, Digits, spelled
from airflow_provider_fullstory.batch_import.batching.batch import FINGERPRINT_BYTES, fingerprint_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from airflow_provider_fullstory.batch_import.batching.batch import Batch
    from airflow_provider_fullstory.batch_import.storage.folder import Folder
    from airflow_provider_fullstory.records.kind import RecordKind

_SENT_IMPORT: Final = "import.json"


@dataclasses.dataclass(slots=True)
class SentImport:
    """
    What is known of an import once all batches were sent.

    :param jobs: The batch of each job: ``12``, or ``12.1`` for its first half.
    :param keys: Path of each key column within a record, by its name.
    :param shared: What all records have in common.
    :param owner: The name of the import.
    """

    jobs: dict[str, str] = dataclasses.field(default_factory=dict)
    keys: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    shared: dict[str, Any] = dataclasses.field(default_factory=dict)
    owner: str = ""


class FingerprintFolder:
    """
    Keep the fingerprints of an import's records.

    :param folder: The folder of the file of refused records.
    :param name: Name of that file.
    """

    def __init__(self, folder: Folder, name: str) -> None:
        self._folder = folder
        self._place = f"{name}.sent"
        self._ordinal = 0
        self._known: dict[bytes, list[int]] = {}

    def kept(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Yield batches once their fingerprints are written."""
        for batch in batches:
            if batch.fingerprints is not None:
                content = msgspec.msgpack.encode(
                    (batch.fingerprints.fingerprints, batch.fingerprints.positions.tolist())
                )
                self._folder.write(self._name(batch.ordinal), content)
            yield dataclasses.replace(batch, fingerprints=None)

    def write_sent_import(self, sent_import: SentImport) -> None:
        """Keep what is known once all batches were sent."""
        self._folder.write(f"{self._place}/{_SENT_IMPORT}", ENCODER.encode(sent_import))

    def sent_import(self) -> SentImport:
        """Return what is known of the import: nothing, if it was not sent with this file."""
        content = self._folder.read(f"{self._place}/{_SENT_IMPORT}")
        return SentImport() if content is None else _SENT_IMPORT_DECODER.decode(content)

    @property
    def is_begun(self) -> bool:
        """Whether anything may have been sent."""
        return any(self._folder.exists(name) for name in (self._name(1), f"{self._place}/{_SENT_IMPORT}"))

    def positions(self, kind: RecordKind, batch: str | None, echoes: Sequence[Any]) -> list[int | None]:
        """
        Return the places in the source of records that FullStory echoed, None for those that are unknown.

        Each echo of equal records in a batch gets a place of its own.

        :param kind: The kind of records.
        :param batch: The batch that held them, or a half of it.
        :param echoes: The records.
        """
        if batch is None:
            return [None] * len(echoes)
        self._load(_ordinal(batch))
        return [self._position(fingerprint_of(as_sent(kind, echo))) for echo in echoes]

    def remove(self) -> None:
        """Remove all fingerprints."""
        self._folder.remove(self._place)

    def _position(self, fingerprint: bytes) -> int | None:
        places = self._known.get(fingerprint)
        if not places:
            return None
        return places.pop() if len(places) > 1 else places[0]

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
            fingerprint = fingerprints[index * FINGERPRINT_BYTES : (index + 1) * FINGERPRINT_BYTES]
            self._known.setdefault(fingerprint, []).append(positions[index])

    def _name(self, ordinal: int) -> str:
        return f"{self._place}/{ordinal:08d}.msgpack"


def _ordinal(batch: str) -> int:
    return int(batch.partition(".")[0])


def as_sent(kind: RecordKind, echo: Any) -> bytes:
    """Return the bytes that an echoed record had when it was sent."""
    return _ENCODER.encode(in_order(kind, echo))


def in_order(kind: RecordKind, echo: Any) -> Any:
    """Return an echoed record with its keys in the order in which they are sent, and timestamps in UTC."""
    return _ordered(kind, echo, ())


def _ordered(kind: RecordKind, value: Any, path: tuple[str, ...]) -> Any:
    """Return an object with its keys in the order in which they are sent, and a timestamp in UTC."""
    if isinstance(value, str):
        return _moment(value) if path in kind.timestamps else value
    if not isinstance(value, dict):
        return value
    names = kind.members.get(path) or sorted(value)
    # What is null in an echo was not sent.
    return {name: _ordered(kind, value[name], (*path, name)) for name in names if value.get(name) is not None}


def _moment(text: str) -> datetime.datetime | str:
    try:
        return datetime.datetime.fromisoformat(text).astimezone(datetime.UTC)
    except (ValueError, OverflowError):
        return text


_SENT_IMPORT_DECODER: Final = msgspec.json.Decoder(SentImport, float_hook=Digits)
_ENCODER: Final = msgspec.json.Encoder(decimal_format="number", enc_hook=spelled)
