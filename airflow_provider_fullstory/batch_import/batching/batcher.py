"""From records to batches: bodies are filled piece by piece."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from airflow_provider_fullstory.api.encoding import ENCODER
from airflow_provider_fullstory.batch_import.batching.batch import (
    BODY_START,
    Batch,
    BatchFingerprints,
    BatchLimits,
    body_end,
)
from airflow_provider_fullstory.batch_import.batching.body import Body
from airflow_provider_fullstory.batch_import.batching.identity import RunIdentity, RunKeys
from airflow_provider_fullstory.records import rules
from airflow_provider_fullstory.records.insert_ids import packed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import msgspec

    from airflow_provider_fullstory.records.mapped_chunk import MappedChunk
    from airflow_provider_fullstory.records.options import MappingOptions
    from airflow_provider_fullstory.records.refusals import InvalidRecord


class Batcher:
    """
    Fill batches with records.

    :param run: The run that sends them.
    :param limits: The limits of a batch.
    :param options: How rows became records; what the records of each batch have in common is sent with it.
    :param refuse: Called with the records that cannot be sent.
    :param keeps_fingerprints: Whether batches come with the fingerprints of their records.
    :param sizes: Returns how many records an earlier try had in a batch, given its number; None if that is
        not known. A source that has grown since then gives the same batches, and more.
    """

    def __init__(
        self,
        run: RunIdentity,
        limits: BatchLimits,
        options: MappingOptions,
        refuse: Callable[[Sequence[InvalidRecord]], None],
        *,
        keeps_fingerprints: bool = False,
        sizes: Callable[[int], int | None] | None = None,
    ) -> None:
        self._keys = RunKeys(run)
        self._limits = limits
        self._kind = options.kind
        self.body_end = body_end(None if options.shared is None else ENCODER.encode(options.shared))
        self._refuse = refuse
        self._ordinal = 0
        self._body = Body([BODY_START])
        self._records = 0
        self._keeps_fingerprints = keeps_fingerprints
        self._fingerprints = BatchFingerprints() if keeps_fingerprints else None
        self._insert_ids = bytearray()
        self._insert_id_bytes = options.insert_id_bytes
        self._sizes = sizes
        self._most_records = self._size_of(1)

    def batches(self, chunks: Iterable[MappedChunk]) -> Iterator[Batch]:
        """
        Yield batches as they fill up; only one is held at a time.

        :param chunks: The records to send, and those that cannot be sent.
        """
        for chunk in chunks:
            if chunk.invalid:
                self._refuse(chunk.invalid)
            # A line for each record: JSON has no line breaks within.
            lines = ENCODER.encode_lines(chunk.records)
            if self._fits(len(lines), len(chunk.records)):
                self._add(lines[:-1], chunk.positions, chunk.insert_ids)
            else:
                # Records without insert ids have none to go with.
                insert_ids: Iterable[Sequence[int]] = [
                    [insert_id] for insert_id in chunk.insert_ids
                ] or itertools.repeat(())
                for line, record, position, insert_id in zip(
                    lines.split(b"\n"), chunk.records, chunk.positions, insert_ids, strict=False
                ):
                    yield from self._add_one(chunk, line, record, position, insert_id)
            if self._records == self._most_records:
                yield self._finished()
        if self._records:
            yield self._finished()

    def _fits(self, size: int, records: int) -> bool:
        """Return whether more records fit, with a separator for each."""
        return (
            self._records + records <= self._most_records
            and len(self._body) + size + len(self.body_end) <= self._limits.bytes
        )

    def _add(self, lines: bytes, positions: Sequence[int], insert_ids: Sequence[int]) -> None:
        if not lines:
            return
        if self._records:
            self._body.write(b",")
        self._body.write(lines.replace(b"\n", b","))
        self._records += len(positions)
        self._insert_ids += packed(insert_ids, self._insert_id_bytes)
        if self._fingerprints is not None:
            for line, position in zip(lines.split(b"\n"), positions, strict=True):
                self._fingerprints.add(line, position)

    def _add_one(
        self,
        chunk: MappedChunk,
        line: bytes,
        record: msgspec.Struct,
        position: int,
        insert_id: Sequence[int],
    ) -> Iterator[Batch]:
        if self._records and not self._fits(len(line) + 1, 1):
            yield self._finished()
        if not self._records and not self._fits(len(line), 1):
            refusal = rules.TOO_LARGE.refusal(size=len(line))
            self._refuse([chunk.refused(self._kind, record, position, refusal)])
            return
        self._add(line, [position], insert_id)

    def _size_of(self, number: int) -> int:
        known = None if self._sizes is None else self._sizes(number)
        return known or self._limits.records

    def _finished(self) -> Batch:
        self._body.write(self.body_end)
        body, digest = self._body, self._body.digest
        self._ordinal += 1
        batch = Batch(
            (self._ordinal,),
            body,
            digest,
            self._records,
            self._keys.next(digest),
            self._fingerprints,
            bytes(self._insert_ids),
        )
        self._insert_ids = bytearray()
        self._most_records = self._size_of(self._ordinal + 1)
        self._body, self._records = Body([BODY_START]), 0
        self._fingerprints = BatchFingerprints() if self._keeps_fingerprints else None
        return batch
