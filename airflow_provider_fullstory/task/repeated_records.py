"""
Refuse a record that changes what an earlier record of the same import changes.

FullStory does not say in which order it works on the records of a batch, or on batches, so it would be chance
which of the two counts. The first one is sent. Memory does not grow with the number of records.
"""

from __future__ import annotations

import dataclasses
import datetime
import operator
from contextlib import closing
from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec import UNSET

from airflow_provider_fullstory.api.encoding import ENCODER
from airflow_provider_fullstory.records import rules
from airflow_provider_fullstory.records.column_mapping import MappedChunk
from airflow_provider_fullstory.records.insert_ids import keys_of_records
from airflow_provider_fullstory.records.refusals import InvalidRecord
from airflow_provider_fullstory.records.refused_records import refused_record
from airflow_provider_fullstory.sources import CHUNK_ROWS
from airflow_provider_fullstory.syncs.insert_ids.sent_ids import SentIds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import msgspec

    from airflow_provider_fullstory.records.kind import RecordKind

#: 32 MB: of 10,000,000 different keys, one in 27 is looked up.
_FILTER_BITS: Final = 25
_MOST_HELD: Final = 20_000
_MOST_HELD_BYTES: Final = 16 * 2**20


class _Held(NamedTuple):
    key: int
    record: msgspec.Struct
    position: int
    insert_id: int


def without_repeated(
    kind: RecordKind,
    chunks: Iterable[MappedChunk],
    *,
    most_held: int = _MOST_HELD,
    most_held_bytes: int = _MOST_HELD_BYTES,
    filter_bits: int = _FILTER_BITS,
) -> Iterator[MappedChunk]:
    """
    Yield chunks in which records that have the key of an earlier one are refused.

    A few records come later than in the source: those whose key may have come before, until that is looked up
    for many at once.

    :param kind: The kind of records; all are new unless it has an ``upsert_key``.
    :param chunks: The records.
    :param most_held: How many records are held back until they are looked up.
    :param most_held_bytes: How many bytes of JSON they have at most, beside those of one chunk.
    :param filter_bits: The size of the filter before the keys, as a power of two.
    """
    if not kind.upsert_key:
        yield from chunks
        return
    with closing(SentIds(filter_bits)) as sent:
        held: list[_Held] = []
        held_bytes = 0
        for chunk in chunks:
            certain, doubtful = _sifted(kind, chunk, sent)
            yield certain
            held += doubtful
            held_bytes += len(ENCODER.encode_lines([one.record for one in doubtful]))
            if len(held) >= most_held or held_bytes >= most_held_bytes:
                yield from _released(kind, held, sent)
                held, held_bytes = [], 0
        yield from _released(kind, held, sent)


def _sifted(kind: RecordKind, chunk: MappedChunk, sent: SentIds) -> tuple[MappedChunk, list[_Held]]:
    """Return the chunk without records that repeat another one in it, and apart those that may repeat one."""
    keys = keys_of_records(kind.upsert_key, chunk.records)
    known = list(dict.fromkeys(key for key in keys if key is not None))
    doubtful = sent.doubtful(known)
    if not doubtful and len(known) == len(keys):
        sent.add(known)
        return chunk, []
    # The first record of each key in the chunk.
    first = {key: row for row, key in reversed(list(enumerate(keys))) if key is not None}
    insert_ids = chunk.insert_ids or [0] * len(keys)
    new: list[int] = []
    held: list[_Held] = []
    refused: list[InvalidRecord] = []
    for row, key in enumerate(keys):
        one = _Held(key or 0, chunk.records[row], chunk.positions[row], insert_ids[row])
        if key is None:
            new.append(row)
        elif first[key] != row:
            refused.append(_refused(kind, one))
        elif key in doubtful:
            held.append(one)
        else:
            new.append(row)
    sent.add([key for key in first if key not in doubtful])
    certain = dataclasses.replace(
        chunk,
        records=[chunk.records[row] for row in new],
        positions=[chunk.positions[row] for row in new],
        invalid=sorted([*chunk.invalid, *refused], key=operator.attrgetter("position")),
        insert_ids=[insert_ids[row] for row in new] if chunk.insert_ids else (),
    )
    return certain, held


def _released(kind: RecordKind, held: Sequence[_Held], sent: SentIds) -> Iterator[MappedChunk]:
    """Yield the records that were held, and refuse those whose key did come before."""
    known = sent.among({one.key for one in held})
    for start in range(0, len(held), CHUNK_ROWS):
        new: list[_Held] = []
        invalid: list[InvalidRecord] = []
        for one in held[start : start + CHUNK_ROWS]:
            if one.key in known:
                invalid.append(_refused(kind, one))
            else:
                known.add(one.key)
                new.append(one)
        sent.add([one.key for one in new])
        yield MappedChunk(
            [one.record for one in new],
            [one.position for one in new],
            invalid,
            insert_ids=[one.insert_id for one in new] if any(one.insert_id for one in new) else (),
        )


def _refused(kind: RecordKind, one: _Held) -> InvalidRecord:
    field = _key_field(kind, one.record)
    return InvalidRecord(
        one.position,
        rules.GIVEN_BEFORE.refusal(field=field),
        refused_record(kind, one.record, (), datetime.UTC, {}),
    )


def _key_field(kind: RecordKind, record: msgspec.Struct) -> str | None:
    return next((field for field in kind.upsert_key if getattr(record, field) is not UNSET), None)
