"""
From events to batches: canonical bytes, and the key under which FullStory takes them once.

The same records give the same bytes on any machine, and the same run gives the same bytes the same keys, so a
repeated request is recognized as such.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import uuid
from collections import Counter
from typing import TYPE_CHECKING, Final

import msgspec

from airflow_provider_fullstory.api.encoding import ENCODER
from airflow_provider_fullstory.api.models import MAX_BATCH_RECORDS, Event, Shared
from airflow_provider_fullstory.batch_import.bodies import Body
from airflow_provider_fullstory.batch_import.traces import Trace
from airflow_provider_fullstory.exceptions import FullStoryInputError
from airflow_provider_fullstory.records import validation
from airflow_provider_fullstory.records.drafts import draft
from airflow_provider_fullstory.records.refusals import InvalidRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from airflow_provider_fullstory.records.mapping import MappedChunk

#: Bytes of a body unless the user says otherwise. FullStory documents no limit; this one bounds a request,
#: and a batch of 50,000 events of 360 bytes stays whole.
DEFAULT_MAX_BATCH_BYTES: Final = 32 * 2**20
#: Keys are UUIDs, as developer.fullstory.com/server/idempotent-requests suggests.
_KEY_NAMESPACE: Final = uuid.UUID("6e1b1f0c-53a5-4d0e-9a53-6a3f0a3e7f0d")
_PREFIX: Final = b'{"requests":['


@dataclasses.dataclass(frozen=True, slots=True)
class RunIdentity:
    """
    Name one import of a task, the same in all its tries.

    :param dag_id: Its DAG.
    :param run_id: Its DAG run.
    :param task_id: The operator's own id, since several operators may be executed inside one task.
    :param map_index: Its index among mapped tasks, -1 where it is not mapped.
    :param salt: Anything that tells one import of the run from another on purpose.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1
    salt: str = ""

    def idempotency_key(self, digest: str, occurrence: int) -> str:
        """
        Return the key of a body.

        The body alone would not do: another run may send equal events that carry no timestamp.

        :param digest: SHA-256 of the body, in hex.
        :param occurrence: How many equal bodies the run had before.
        """
        return str(uuid.uuid5(_KEY_NAMESPACE, json.dumps([*dataclasses.astuple(self), digest, occurrence])))


class RunKeys:
    """
    Give the bodies of a run their keys, in their order.

    :param run: The run.
    """

    def __init__(self, run: RunIdentity) -> None:
        self._run = run
        self._occurrences: Counter[str] = Counter()

    def next(self, digest: str) -> str:
        """
        Return the key of the next body.

        :param digest: Its SHA-256, in hex.
        """
        key = self._run.idempotency_key(digest, self._occurrences[digest])
        self._occurrences[digest] += 1
        return key


@dataclasses.dataclass(frozen=True, slots=True)
class Batch:
    """
    One request of an import.

    :param place: Its place in the import: ``(12,)``, from 1, or ``(12, 1)`` for its first half.
    :param body: The request's JSON.
    :param digest: SHA-256 of the body, in hex.
    :param records: How many records it holds.
    :param idempotency_key: The key under which FullStory takes it once.
    :param trace: What tells which of its records is which, until that is written down.
    """

    place: tuple[int, ...]
    body: Body = dataclasses.field(repr=False)
    digest: str
    records: int
    idempotency_key: str
    trace: Trace | None = dataclasses.field(default=None, repr=False, compare=False)

    @property
    def ordinal(self) -> int:
        """Its number in the import, which halves of a batch share."""
        return self.place[0]

    @property
    def name(self) -> str:
        """Its place, as text."""
        return ".".join(map(str, self.place))

    def split(self) -> tuple[Batch, Batch]:
        """
        Return two batches with half of the records each, for a body that FullStory finds too large.

        Their keys follow from this batch's key, so that splitting again gives the same two.
        """
        content = msgspec.json.decode(bytes(self.body), type=dict[str, msgspec.Raw])
        requests = msgspec.json.decode(content["requests"], type=list[msgspec.Raw])
        middle = len(requests) // 2
        return (
            self._half(1, requests[:middle], content.get("shared")),
            self._half(2, requests[middle:], content.get("shared")),
        )

    def _half(self, number: int, requests: list[msgspec.Raw], shared: msgspec.Raw | None) -> Batch:
        suffix = _suffix(None if shared is None else bytes(shared))
        body = Body([_PREFIX, b",".join(map(bytes, requests)), suffix])
        key = str(uuid.uuid5(uuid.UUID(self.idempotency_key), str(number)))
        return Batch((*self.place, number), body, body.digest, len(requests), key)


@dataclasses.dataclass(frozen=True, slots=True)
class BatchLimits:
    """
    Say where a batch ends.

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


class Batcher:
    """
    Fill batches with events.

    :param run: The run that sends them.
    :param limits: Where a batch ends.
    :param shared: What the events of each batch have in common.
    :param refuse: Called with the records that cannot be sent.
    :param keeps_traces: Whether batches come with what tells which of their records is which.
    """

    def __init__(
        self,
        run: RunIdentity,
        limits: BatchLimits,
        shared: Shared,
        refuse: Callable[[Sequence[InvalidRecord]], None],
        *,
        keeps_traces: bool = False,
    ) -> None:
        self._keys = RunKeys(run)
        self._limits = limits
        self._suffix = _suffix(None if shared == Shared() else ENCODER.encode(shared))
        self._refuse = refuse
        self._ordinal = 0
        self._body = Body([_PREFIX])
        self._records = 0
        self._keeps_traces = keeps_traces
        self._trace = Trace() if keeps_traces else None

    def batches(self, chunks: Iterable[MappedChunk]) -> Iterator[Batch]:
        """
        Yield batches as they fill up; only one is held at a time.

        :param chunks: The events, and the records that are none.
        """
        for chunk in chunks:
            if chunk.invalid:
                self._refuse(chunk.invalid)
            # A line for each event: JSON has no line breaks within.
            lines = ENCODER.encode_lines(chunk.events)
            if self._fits(len(lines), len(chunk.events)):
                self._add(lines[:-1], chunk.positions)
            else:
                for line, event, position in zip(
                    lines.split(b"\n"), chunk.events, chunk.positions, strict=False
                ):
                    yield from self._add_one(line, event, position)
            if self._records == self._limits.records:
                yield self._finished()
        if self._records:
            yield self._finished()

    def _fits(self, size: int, records: int) -> bool:
        """Tell whether more records fit, with a separator for each."""
        return (
            self._records + records <= self._limits.records
            and len(self._body) + size + len(self._suffix) <= self._limits.bytes
        )

    def _add(self, lines: bytes, positions: Sequence[int]) -> None:
        if not lines:
            return
        if self._records:
            self._body.write(b",")
        self._body.write(lines.replace(b"\n", b","))
        self._records += len(positions)
        if self._trace is not None:
            for line, position in zip(lines.split(b"\n"), positions, strict=True):
                self._trace.add(line, position)

    def _add_one(self, line: bytes, event: Event, position: int) -> Iterator[Batch]:
        if self._records and not self._fits(len(line) + 1, 1):
            yield self._finished()
        if not self._records and not self._fits(len(line), 1):
            refusal = validation.TOO_LARGE.refusal(size=len(line))
            self._refuse([InvalidRecord(position, refusal, draft(event, (), datetime.UTC, {}))])
            return
        self._add(line, [position])

    def _finished(self) -> Batch:
        self._body.write(self._suffix)
        body, digest = self._body, self._body.digest
        self._ordinal += 1
        batch = Batch((self._ordinal,), body, digest, self._records, self._keys.next(digest), self._trace)
        self._body, self._records = Body([_PREFIX]), 0
        self._trace = Trace() if self._keeps_traces else None
        return batch


def _suffix(shared: bytes | None) -> bytes:
    return b"]}" if shared is None else b'],"shared":' + shared + b"}"
