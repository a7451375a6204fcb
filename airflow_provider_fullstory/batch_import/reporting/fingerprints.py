"""
Which record of the source FullStory means when it names one.

FullStory gives records no number; it echoes those that it refused. So a fingerprint of each record is written
down before its batch is sent, and a record that comes back is built again and looked up. The fingerprints lie
beside the file of refused records until the import is accounted for.
"""

from __future__ import annotations

import dataclasses
import datetime
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import msgspec

from airflow_provider_fullstory.api.encoding import ENCODER, Digits, spelled
from airflow_provider_fullstory.api.events import Event
from airflow_provider_fullstory.batch_import.batching.fingerprints import FINGERPRINT_BYTES, fingerprint_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from airflow_provider_fullstory.batch_import.batching.batch import Batch
    from airflow_provider_fullstory.batch_import.storage.folder import Folder

_SENT_IMPORT: Final = "import.json"


@dataclasses.dataclass(slots=True)
class SentImport:
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


class FingerprintFolder:
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
            if batch.fingerprints is not None:
                content = msgspec.msgpack.encode(
                    (batch.fingerprints.fingerprints, batch.fingerprints.positions.tolist())
                )
                self._folder.write(self._name(batch.ordinal), content)
            yield dataclasses.replace(batch, fingerprints=None)

    def write_sent_import(self, sent_import: SentImport) -> None:
        """
        Keep what is known once all was sent.

        :param sent_import: What is known.
        """
        self._folder.write(f"{self._place}/{_SENT_IMPORT}", ENCODER.encode(sent_import))

    def sent_import(self) -> SentImport:
        """Return what is known of the import: nothing, where it was not sent with this file."""
        content = self._folder.read(f"{self._place}/{_SENT_IMPORT}")
        return SentImport() if content is None else _SENT_IMPORT_DECODER.decode(content)

    @property
    def is_begun(self) -> bool:
        """Whether anything may have been sent."""
        return any(self._folder.exists(name) for name in (self._name(1), f"{self._place}/{_SENT_IMPORT}"))

    def positions(self, batch: str | None, events: Sequence[Any]) -> list[int | None]:
        """
        Return the places in the source of events that FullStory echoed, None where they cannot be told.

        Of equal records in a batch each echo gets another one.

        :param batch: The batch that held them, or a half of it.
        :param events: The events.
        """
        if batch is None:
            return [None] * len(events)
        self._load(_ordinal(batch))
        return [self._position(fingerprint_of(_as_sent(event))) for event in events]

    def remove(self) -> None:
        """Remove all traces."""
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


def _as_sent(event: Any) -> bytes:
    """Return the bytes that an echoed event had when it was sent."""
    event = dict(event)
    if isinstance(event.get("timestamp"), str):
        with suppress(ValueError, OverflowError):
            moment = datetime.datetime.fromisoformat(event["timestamp"])
            event["timestamp"] = moment.astimezone(datetime.UTC)
    return _ENCODER.encode(_ordered(event, ""))


def _ordered(value: Any, path: str) -> Any:
    """Return an object with its keys in the order in which they are sent."""
    if not isinstance(value, dict):
        return value
    names = _FIELD_ORDER.get(path) or sorted(value)
    prefix = f"{path}." if path else ""
    # What is null in an echo was not sent.
    return {name: _ordered(value[name], f"{prefix}{name}") for name in names if value.get(name) is not None}


def _field_orders(struct: type[msgspec.Struct], path: str) -> Iterator[tuple[str, list[str]]]:
    info = msgspec.inspect.type_info(struct)
    if isinstance(info, msgspec.inspect.StructType):
        yield path, [field.encode_name for field in info.fields]
        for field in info.fields:
            if isinstance(field.type, msgspec.inspect.StructType):
                prefix = f"{path}." if path else ""
                yield from _field_orders(field.type.cls, f"{prefix}{field.encode_name}")


_FIELD_ORDER: Final = dict(_field_orders(Event, ""))
_SENT_IMPORT_DECODER: Final = msgspec.json.Decoder(SentImport, float_hook=Digits)
_ENCODER: Final = msgspec.json.Encoder(decimal_format="number", enc_hook=spelled)
