"""
Batches that are staged in object storage, so that a retry need not read the source again.

All bodies are written before the first is sent, and a manifest after the last body. An area without a
manifest is incomplete, and no batch of it was sent. The names of bodies hold their digests, so that two tries
that write at the same time cannot mix.
"""

from __future__ import annotations

import dataclasses
import gzip
import io
import logging
import zlib
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec

from airflow_provider_fullstory.batch_import.batching.batch import Batch
from airflow_provider_fullstory.batch_import.batching.body import Body
from airflow_provider_fullstory.batch_import.batching.identity import RunKeys
from airflow_provider_fullstory.exceptions import FullStoryLedgerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from airflow_provider_fullstory.batch_import.batching.identity import RunIdentity
    from airflow_provider_fullstory.batch_import.reporting.report import ImportReport
    from airflow_provider_fullstory.batch_import.storage.folder import Folder

#: The folder of the bodies in the folder of an import.
BODIES: Final = "bodies"
#: The fastest level: staged batches are short-lived, and writing them delays the source.
_COMPRESSION: Final = 1
#: How zlib names the format of gzip.
_GZIP: Final = 31
_PIECE_BYTES: Final = 2**18

log = logging.getLogger(__name__)


@dataclasses.dataclass(slots=True)
class Manifest:
    """
    The contents of a complete staging area.

    :param import_id: The import that it belongs to.
    :param arguments: Fingerprint of the source and its mapping.
    :param report: Counts of the invalid records.
    :param batches: Number of records and digest of each batch, in order.
    """

    import_id: str
    arguments: str | None
    report: dict[str, Any]
    batches: list[tuple[int, str]]


class StagingArea:
    """
    Hold the batches of one import.

    :param folder: The import's folder.
    :param import_id: The id of the import, which no other import has under the same name.
    :param arguments: Fingerprint of the source and its mapping; None if the data itself is given, so that a
        retry stages it again. Each fingerprint has a folder: old arguments find their old batches.
    """

    def __init__(self, folder: Folder, import_id: str, arguments: str | None) -> None:
        self._folder = folder
        self._import_id = import_id
        self._arguments = arguments
        self._place = f"{BODIES}/{import_id}-{(arguments or 'data')[:12]}"

    def manifest(self) -> Manifest | None:
        """Return the manifest of an earlier try, None if the area is empty or incomplete."""
        content = self._folder.read(f"{self._place}/manifest.json")
        if content is None or self._arguments is None:
            return None
        try:
            manifest = msgspec.json.decode(content, type=Manifest)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            # The ledger still knows what was sent.
            return None
        if (manifest.import_id, manifest.arguments) != (self._import_id, self._arguments):
            return None
        return manifest

    def fill(self, batches: Iterable[Batch], report: Callable[[], ImportReport]) -> Manifest:
        """
        Write all batches, and return their manifest.

        :param report: Returns the counts of the invalid records, once all batches were made.
        """
        self._folder.remove(self._place)
        entries: list[tuple[int, str]] = []
        size = 0
        for batch in batches:
            compressed = Body(_compressed(batch.body))
            self._folder.write(self._name(batch.ordinal, batch.digest), compressed.open())
            entries.append((batch.records, batch.digest))
            size += len(compressed)
        manifest = Manifest(self._import_id, self._arguments, report().to_xcom(), entries)
        self._folder.write(f"{self._place}/manifest.json", msgspec.json.encode(manifest))
        log.info(
            "Staged %d records in %d batches (%.1f MB) in %s.",
            sum(records for records, _ in entries),
            len(entries),
            size / 1e6,
            self._folder,
        )
        return manifest

    def batches(self, manifest: Manifest, run: RunIdentity) -> Iterator[Batch]:
        """Yield the staged batches, one in memory at a time."""
        keys = RunKeys(run)
        for ordinal, (records, digest) in enumerate(manifest.batches, start=1):
            yield Batch((ordinal,), self._body(ordinal, digest), digest, records, keys.next(digest))

    def _body(self, ordinal: int, digest: str) -> Body:
        name = self._name(ordinal, digest)
        content = self._folder.read(name)
        try:
            body = Body() if content is None else Body(_decompressed(content))
        except (OSError, EOFError, zlib.error):
            body = Body()
        if body.digest != digest:
            self._folder.remove(f"{self._place}/manifest.json")
            raise FullStoryLedgerError(
                f"Batch {ordinal} was staged as {self._folder}/{name}, which is now "
                f"{'missing' if content is None else 'damaged'}. The next try reads the source and "
                "stages all batches again."
            )
        return body

    def _name(self, ordinal: int, digest: str) -> str:
        return f"{self._place}/{ordinal:08d}-{digest[:16]}.json.gz"


def _compressed(body: Body) -> Iterator[bytes]:
    compression = zlib.compressobj(_COMPRESSION, wbits=_GZIP)
    yield from map(compression.compress, body)
    yield compression.flush()


def _decompressed(content: bytes) -> Iterator[bytes]:
    with gzip.open(io.BytesIO(content)) as file:
        yield from iter(partial(file.read, _PIECE_BYTES), b"")
