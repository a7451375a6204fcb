"""What an import would send; nothing is sent."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_fullstory.api.encoding import DECODER, ENCODER
from airflow_provider_fullstory.batch_import.batching.batcher import Batcher
from airflow_provider_fullstory.batch_import.batching.identity import RunIdentity
from airflow_provider_fullstory.text import plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import msgspec

    from airflow_provider_fullstory.batch_import.batching.batch import BatchLimits
    from airflow_provider_fullstory.records.kind import RecordKind
    from airflow_provider_fullstory.records.mapped_chunk import MappedChunk
    from airflow_provider_fullstory.records.options import MappingOptions
    from airflow_provider_fullstory.records.refusals import InvalidRecord

#: Records that are shown as they would be sent.
_SHOWN: Final = 5
#: Refused records that are listed; all are counted.
_MOST_REFUSED: Final = 10_000
_NAMED_POSITIONS: Final = 5


@dataclasses.dataclass(frozen=True, slots=True)
class MappedColumn:
    """
    The field that a column goes to.

    :param column: Its name in the source.
    :param field: The field of FullStory's API.
    :param type: What the field takes, or the types that its values are declared as or will be taken for.
    """

    column: str
    field: str
    type: str


@dataclasses.dataclass(frozen=True, slots=True)
class Preview:
    """
    What an import would send.

    :param noun: What one record is called.
    :param source: The source of its records.
    :param mapping: The field of each column.
    :param examples: The first records as they would be sent.
    :param records: How many records were read.
    :param is_complete: Whether that is all of them.
    :param invalid: How many of those are invalid, so that they would not be sent.
    :param refused: The first of these, each with its position, code, reason, and the record to fix.
    :param reasons: How many are invalid for each reason.
    :param dropped: How many properties would be left out of the others, for each reason.
    :param batches: How many requests it would take, None if not all were read.
    :param bytes: How many bytes these have.
    """

    noun: str
    source: str
    mapping: list[MappedColumn]
    examples: list[dict[str, Any]]
    records: int
    is_complete: bool
    invalid: int
    refused: list[InvalidRecord]
    reasons: dict[str, int]
    dropped: dict[str, int]
    batches: int | None
    bytes: int | None

    def lines(self) -> Iterator[str]:
        """Yield lines for a person."""
        yield f"Preview of an import from {self.source}; nothing is sent."
        yield "Mapping (column -> field: type):"
        yield from (f"  {entry.column} -> {entry.field}: {entry.type}" for entry in self.mapping)
        yield f"The first {plural(len(self.examples), self.noun)} as they would be sent:"
        yield from (f"  {ENCODER.encode(record).decode()}" for record in self.examples)
        scope = "all of them" if self.is_complete else "there are more"
        yield f"Records read: {self.records} ({scope}); {self.invalid} of them are invalid."
        for reason, count in self.reasons.items():
            yield f"  {count} x {reason} (records {self._positions(reason)})"
        for reason, count in self.dropped.items():
            yield f"  left out: {count} x {reason}"
        if self.batches is not None:
            yield f"Batches: {self.batches}, {(self.bytes or 0) / 1e6:.2f} MB in all."

    def _positions(self, reason: str) -> str:
        positions = [str(record.position) for record in self.refused if _reason(record) == reason]
        more = ", ..." if self.reasons[reason] > _NAMED_POSITIONS else ""
        return ", ".join(positions[:_NAMED_POSITIONS]) + more


def preview(
    source: str,
    targets: Mapping[str, str],
    chunks: Iterable[MappedChunk],
    *,
    options: MappingOptions,
    limits: BatchLimits,
    limit: int | None,
) -> Preview:
    """
    Do all steps of an import but the sending.

    :param source: The source of the records, for a person.
    :param targets: The field of each column; empty if each record has its own keys.
    :param chunks: The records to send, and those that cannot be sent.
    :param options: The options of the mapping.
    :param limits: The limits of a batch.
    :param limit: How many of the first records to look at, None for all. The source gives one more if it has
        more.
    """
    seen = _Seen(options.kind, limit)
    batches = size = 0
    for batch in Batcher(RunIdentity("", "", ""), limits, options, seen.refuse).batches(seen.read(chunks)):
        batches += 1
        size += len(batch.body)
    return Preview(
        noun=options.kind.noun,
        source=source,
        mapping=[
            MappedColumn(column, field, seen.type_of(field))
            for column, field in (targets or seen.targets(options.mapping)).items()
        ],
        examples=seen.examples,
        records=seen.records,
        is_complete=seen.is_complete,
        invalid=seen.invalid,
        refused=sorted(seen.refused, key=lambda record: record.position),
        reasons=dict(seen.reasons.most_common()),
        dropped=dict(seen.dropped.most_common()),
        batches=batches if seen.is_complete else None,
        bytes=size if seen.is_complete else None,
    )


class _Seen:
    """The records that were seen on the way from the source to the batches."""

    def __init__(self, kind: RecordKind, limit: int | None) -> None:
        self._kind = kind
        self._limit = limit
        self._shown: dict[int, dict[str, Any]] = {}
        self.types: dict[str, set[str]] = {}
        self.records = 0
        self.invalid = 0
        self.is_complete = True
        self.refused: list[InvalidRecord] = []
        self.reasons: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()

    def read(self, chunks: Iterable[MappedChunk]) -> Iterator[MappedChunk]:
        """Yield chunks without the records beyond the limit."""
        for chunk in chunks:
            self._cut(chunk)
            self.records += len(chunk.records) + len(chunk.invalid)
            for record, position in zip(chunk.records, chunk.positions, strict=True):
                self._note(record, position)
            yield chunk
            # Now that none of them is too large for a batch.
            self.dropped += chunk.dropped_reasons

    def refuse(self, invalid: Sequence[InvalidRecord]) -> None:
        """Note records that are invalid."""
        self.invalid += len(invalid)
        self.refused += invalid[: _MOST_REFUSED - len(self.refused)]
        for record in invalid:
            # A record that is too large for a batch was valid before.
            self._shown.pop(record.position, None)
        self.reasons.update(map(_reason, invalid))

    def targets(self, mapping: Mapping[str, str]) -> dict[str, str]:
        """Return the fields of the keys of records, as far as these have values."""
        return {
            mapping.get(field, field.removeprefix(f"{self._kind.default_root}.")): field
            for field in sorted(self.types)
        }

    def type_of(self, field: str) -> str:
        """Return what a field takes, or what its values are."""
        if field in self._kind.fields:
            return self._kind.fields[field].takes
        inside = {name: types for name, types in self.types.items() if name.startswith(f"{field}.")}
        found = self.types.get(field, set()).union(*inside.values())
        if inside and not found:
            return "object"
        return " or ".join(sorted(found)) or "no value yet"

    def _cut(self, chunk: MappedChunk) -> None:
        limit = self._limit
        last = max([0, *chunk.positions[-1:], *(record.position for record in chunk.invalid)])
        if limit is None or last <= limit:
            return
        self.is_complete = False
        kept = sum(position <= limit for position in chunk.positions)
        chunk.records, chunk.positions = chunk.records[:kept], chunk.positions[:kept]
        chunk.invalid = [record for record in chunk.invalid if record.position <= limit]
        chunk.dropped = {at: left_out for at, left_out in chunk.dropped.items() if at <= limit}

    @property
    def examples(self) -> list[dict[str, Any]]:
        """The first records as they would be sent."""
        return list(self._shown.values())

    def _note(self, record: msgspec.Struct, position: int) -> None:
        encoded = ENCODER.encode(record)
        if len(self._shown) < _SHOWN:
            self._shown[position] = DECODER.decode(encoded)
        sent = DECODER.decode(encoded)
        for root, schema in self._kind.property_roots.items():
            declared = sent.pop(schema, {}).get("properties", {})
            for name, value in _leaves(sent.pop(root, {}), ""):
                self.types.setdefault(f"{root}.{name}", set()).add(declared.get(name) or _inferred(value))
        for name, _ in _leaves(sent, ""):
            self.types.setdefault(name, set())


def _leaves(values: Mapping[str, Any], parents: str) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{parents}{name}.")
        else:
            yield parents + name, value


def _inferred(value: Any) -> str:
    """Return the type that FullStory infers for a value without a declared type."""
    if isinstance(value, list):
        return f"{_inferred(value[0])}s" if value else "strs"
    if isinstance(value, bool):
        return "bool"
    return "str" if isinstance(value, str) else "real"


def _reason(record: InvalidRecord) -> str:
    return f"{record.refusal.reason} ({record.refusal.code})"
