"""From records to batches: bodies are filled piece by piece."""

from __future__ import annotations

import datetime
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
from airflow_provider_fullstory.records.refusals import InvalidRecord
from airflow_provider_fullstory.records.refused_records import refused_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import msgspec

    from airflow_provider_fullstory.records.column_mapping import MappedChunk
    from airflow_provider_fullstory.records.options import MappingOptions


class Batcher:
    """
    Fill batches with records.

    :param run: The run that sends them.
    :param limits: The limits of a batch.
    :param options: How rows became records; what the records of each batch have in common is sent with it.
    :param refuse: Called with the records that cannot be sent.
    :param keeps_fingerprints: Whether batches come with the fingerprints of their records.
    """

    def __init__(
        self,
        run: RunIdentity,
        limits: BatchLimits,
        options: MappingOptions,
        refuse: Callable[[Sequence[InvalidRecord]], None],
        *,
        keeps_fingerprints: bool = False,
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
                self._add(lines[:-1], chunk.positions)
            else:
                for line, record, position in zip(
                    lines.split(b"\n"), chunk.records, chunk.positions, strict=False
                ):
                    yield from self._add_one(line, record, position)
            if self._records == self._limits.records:
                yield self._finished()
        if self._records:
            yield self._finished()

    def _fits(self, size: int, records: int) -> bool:
        """Return whether more records fit, with a separator for each."""
        return (
            self._records + records <= self._limits.records
            and len(self._body) + size + len(self.body_end) <= self._limits.bytes
        )

    def _add(self, lines: bytes, positions: Sequence[int]) -> None:
        if not lines:
            return
        if self._records:
            self._body.write(b",")
        self._body.write(lines.replace(b"\n", b","))
        self._records += len(positions)
        if self._fingerprints is not None:
            for line, position in zip(lines.split(b"\n"), positions, strict=True):
                self._fingerprints.add(line, position)

    def _add_one(self, line: bytes, record: msgspec.Struct, position: int) -> Iterator[Batch]:
        if self._records and not self._fits(len(line) + 1, 1):
            yield self._finished()
        if not self._records and not self._fits(len(line), 1):
            refusal = rules.TOO_LARGE.refusal(size=len(line))
            written = refused_record(self._kind, record, (), datetime.UTC, {})
            self._refuse([InvalidRecord(position, refusal, written)])
            return
        self._add(line, [position])

    def _finished(self) -> Batch:
        self._body.write(self.body_end)
        body, digest = self._body, self._body.digest
        self._ordinal += 1
        batch = Batch(
            (self._ordinal,), body, digest, self._records, self._keys.next(digest), self._fingerprints
        )
        self._body, self._records = Body([BODY_START]), 0
        self._fingerprints = BatchFingerprints() if self._keeps_fingerprints else None
        return batch
