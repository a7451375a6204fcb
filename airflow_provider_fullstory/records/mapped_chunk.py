"""Records on their way from the mapping to a batch: some hundred at a time."""

from __future__ import annotations

import dataclasses
import datetime
from collections import Counter
from typing import TYPE_CHECKING, Any

from airflow_provider_fullstory.records.refusals import InvalidRecord
from airflow_provider_fullstory.records.refused_records import refused_record
from airflow_provider_fullstory.records.timestamps import TimestampSummary

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import msgspec

    from airflow_provider_fullstory.records.kind import RecordKind
    from airflow_provider_fullstory.records.refusals import Refusal


@dataclasses.dataclass(frozen=True, slots=True)
class LeftOut:
    """
    Properties that are left out of a record.

    :param reasons: Why, for each of them.
    :param whole: Returns the record with them, as it is written down if it is refused after all.
    """

    reasons: Sequence[str]
    whole: Callable[[], Any]


@dataclasses.dataclass(slots=True)
class MappedChunk:
    """
    Records that can be sent, and those that cannot, both in the order of the source.

    :param records: The records that can be sent.
    :param positions: The place of each of these in the source, from 1.
    :param invalid: The records that cannot be sent.
    :param timestamps: The earliest and the latest timestamp of the records that can be sent.
    :param insert_ids: The insert id of each of these; empty if they need none.
    :param dropped: Which properties of these were left out, by position.
    """

    records: list[msgspec.Struct]
    positions: Sequence[int]
    invalid: list[InvalidRecord]
    timestamps: TimestampSummary = dataclasses.field(default_factory=TimestampSummary)
    insert_ids: Sequence[int] = ()
    dropped: dict[int, LeftOut] = dataclasses.field(default_factory=dict)

    @property
    def dropped_reasons(self) -> Counter[str]:
        """How many properties of the records that can be sent were left out, for each reason."""
        return Counter(reason for one in self.dropped.values() for reason in one.reasons)

    def refused(
        self, kind: RecordKind, record: msgspec.Struct, position: int, refusal: Refusal
    ) -> InvalidRecord:
        """
        Return one of the records that can be sent as one that cannot; the caller takes it out of these.

        :param kind: The kind of record.
        :param record: The record.
        :param position: Its position.
        :param refusal: Why it is refused after all.
        """
        return refused_after_all(kind, record, position, refusal, self.dropped.pop(position, None))


def refused_after_all(
    kind: RecordKind, record: msgspec.Struct, position: int, refusal: Refusal, dropped: LeftOut | None
) -> InvalidRecord:
    """
    Return a record that could be sent as one that cannot.

    :param kind: The kind of record.
    :param record: The record.
    :param position: Its position.
    :param refusal: Why it is refused after all.
    :param dropped: Which properties were left out of it, None if it has all.
    """
    # What it has is in UTC, and declared.
    written = refused_record(kind, record, (), datetime.UTC, {}) if dropped is None else dropped.whole()
    return InvalidRecord(position, refusal, written)
