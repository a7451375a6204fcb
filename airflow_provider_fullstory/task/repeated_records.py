"""
Refuse a record that changes what an earlier record of the same import changes.

FullStory does not say in which order it works on the records of a batch, or on batches, so it would be chance
which of the two counts. The first one is sent. Memory does not grow with the number of records.
"""

from __future__ import annotations

import dataclasses
import itertools
import operator
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, Final, NamedTuple

from airflow_provider_fullstory.api.encoding import ENCODER
from airflow_provider_fullstory.records import rules
from airflow_provider_fullstory.records.insert_ids import keys_by_field
from airflow_provider_fullstory.records.mapped_chunk import MappedChunk, refused_after_all
from airflow_provider_fullstory.sources import CHUNK_ROWS
from airflow_provider_fullstory.syncs.insert_ids.sent_ids import SentIds

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

    import msgspec

    from airflow_provider_fullstory.records.kind import RecordKind
    from airflow_provider_fullstory.records.mapped_chunk import LeftOut
    from airflow_provider_fullstory.records.refusals import InvalidRecord

#: 32 MB: of 10,000,000 different keys, one in 27 is looked up.
_FILTER_BITS: Final = 25
_MOST_HELD: Final = 20_000
_MOST_HELD_BYTES: Final = 16 * 2**20


class _Held(NamedTuple):
    keys: Mapping[str, int]
    record: msgspec.Struct
    position: int
    insert_id: int
    dropped: LeftOut | None

    @property
    def size(self) -> int:
        """About how many bytes it takes, as JSON."""
        written = self.record if self.dropped is None else self.dropped.whole()
        return len(ENCODER.encode(written))


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
            held_bytes += sum(one.size for one in doubtful)
            if len(held) >= most_held or held_bytes >= most_held_bytes:
                yield from _released(kind, held, sent)
                held, held_bytes = [], 0
        yield from _released(kind, held, sent)


def _sifted(kind: RecordKind, chunk: MappedChunk, sent: SentIds) -> tuple[MappedChunk, list[_Held]]:
    """Return the chunk without records that repeat another one in it, and apart those that may repeat one."""
    columns = keys_by_field(kind.upsert_key, chunk.records)
    given = list(itertools.chain.from_iterable(columns.values()))
    known = [key for key in dict.fromkeys(given) if key is not None]
    doubtful = sent.doubtful(known)
    if not doubtful and len(known) == len(given) - given.count(None):
        sent.add(known)
        return chunk, []
    insert_ids = chunk.insert_ids or [0] * len(chunk.records)
    new: list[int] = []
    held: list[_Held] = []
    refused: list[InvalidRecord] = []
    # Few keys are doubtful, or come twice in the chunk: the records without them are passed at once.
    looked_at = doubtful.union(key for key, count in Counter(given).items() if count > 1)
    looked_at.discard(None)
    certain: set[int] = set()
    for row, keys_of_row in enumerate(zip(*columns.values(), strict=True)):
        if looked_at.isdisjoint(keys_of_row):
            new.append(row)
            continue
        record, position = chunk.records[row], chunk.positions[row]
        keys = {field: key for field, key in zip(columns, keys_of_row, strict=True) if key is not None}
        if (field := _first(keys, certain)) is not None:
            refused.append(chunk.refused(kind, record, position, rules.GIVEN_BEFORE.refusal(field=field)))
        elif _first(keys, doubtful) is not None:
            held.append(_Held(keys, record, position, insert_ids[row], chunk.dropped.pop(position, None)))
            doubtful.update(keys.values())
        else:
            new.append(row)
            certain.update(keys.values())
    sent.add([key for keys in columns.values() for row in new if (key := keys[row]) is not None])
    passed = dataclasses.replace(
        chunk,
        records=[chunk.records[row] for row in new],
        positions=[chunk.positions[row] for row in new],
        invalid=sorted([*chunk.invalid, *refused], key=operator.attrgetter("position")),
        insert_ids=[insert_ids[row] for row in new] if chunk.insert_ids else (),
    )
    return passed, held


def _released(kind: RecordKind, held: Sequence[_Held], sent: SentIds) -> Iterator[MappedChunk]:
    """Yield the records that were held, and refuse those whose key did come before."""
    known = sent.among({key for one in held for key in one.keys.values()})
    for start in range(0, len(held), CHUNK_ROWS):
        new: list[_Held] = []
        invalid: list[InvalidRecord] = []
        for one in held[start : start + CHUNK_ROWS]:
            if (field := _first(one.keys, known)) is not None:
                refusal = rules.GIVEN_BEFORE.refusal(field=field)
                invalid.append(refused_after_all(kind, one.record, one.position, refusal, one.dropped))
            else:
                known.update(one.keys.values())
                new.append(one)
        sent.add([key for one in new for key in one.keys.values()])
        yield MappedChunk(
            [one.record for one in new],
            [one.position for one in new],
            invalid,
            insert_ids=[one.insert_id for one in new] if any(one.insert_id for one in new) else (),
            dropped={one.position: one.dropped for one in new if one.dropped is not None},
        )


def _first(keys: Mapping[str, int], among: Container[int]) -> str | None:
    """Return the first field whose key is among some, None if there is none."""
    return next((field for field, key in keys.items() if key in among), None)
