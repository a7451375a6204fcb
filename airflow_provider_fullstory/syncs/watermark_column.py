"""The column of a watermark during an import: the highest value among the records that can be sent."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import operator
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_fullstory.exceptions import FullStoryInputError, FullStoryMappingError
from airflow_provider_fullstory.records.refusals import REQUIRED_FIELD
from airflow_provider_fullstory.records.rules import Rule, quoted
from airflow_provider_fullstory.records.timestamps import summary
from airflow_provider_fullstory.syncs.watermark_order import given_values, highest_of, is_in_the_future
from airflow_provider_fullstory.syncs.watermark_values import (
    TYPES,
    is_missing,
    restored,
    stored,
    type_of,
    unwrapped_value,
)
from airflow_provider_fullstory.text import plural, some

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterable, Iterator, Sequence

    from airflow_provider_fullstory.records.column_mapping import Row
    from airflow_provider_fullstory.records.kind import RecordKind
    from airflow_provider_fullstory.records.mapped_chunk import MappedChunk
    from airflow_provider_fullstory.syncs.record import StoredValue

log = logging.getLogger(__name__)

_NO_VALUE: Final = Rule(
    REQUIRED_FIELD,
    "column {column}, the watermark, is NULL or not a finite number, so that every run would send the record "
    "again; give it a value in the query (COALESCE), or give insert_id",
    "this package",
)


class WatermarkColumn:
    """
    Find the highest value of a column among the records that can be sent.

    :param name: The column, as the user named it.
    :param sync: The name of the sync, for messages.
    :param kind: The kind of records.
    :param zone: The zone of timestamps without a time zone.
    :param known: The value that is stored, None if there is none.
    :param refuses_null: Whether a record without a value is refused, and one that is not above the known
        value is warned of, since no insert ids keep them from being sent again.
    """

    def __init__(
        self,
        name: str,
        *,
        sync: str,
        kind: RecordKind,
        zone: datetime.tzinfo,
        known: StoredValue | None,
        refuses_null: bool,
    ) -> None:
        self._name = name
        self._sync = sync
        self._kind = kind
        self._zone = zone
        self._known = known
        self._refuses_null = refuses_null
        self._floor = restored(known) if known is not None and refuses_null else None
        self._not_above = 0
        self._type: str | None = None
        self._highest: Any = None
        #: Values of the rows that are not passed yet, from this position on.
        self._in_flight: list[Any] = []
        self._first = 1

    @property
    def highest(self) -> StoredValue | None:
        """The highest value so far, None if no record had one. It may be lower than the one that is known."""
        return None if self._highest is None else stored(self._highest, self._name)

    def rows(self, columns: Sequence[str], chunks: Iterable[Sequence[Row]]) -> Iterator[Sequence[Row]]:
        """
        Return the rows as they are, and keep the values of the column until their records are passed.

        :param columns: Names of the columns.
        :param chunks: Rows, a few hundred at a time.
        :raises FullStoryMappingError: At the call, before the first row: if the column is missing.
        """
        folded = {name.casefold(): name for name in reversed(columns)}
        name = self._name if self._name in columns else folded.get(self._name.casefold())
        if name is None:
            raise FullStoryMappingError(
                f"Column {quoted(self._name)}, the watermark of the sync {self._sync!r}, is not in the "
                f"query; its columns are {some([quoted(column) for column in columns], 50)}."
            )
        return self._rows(chunks, operator.itemgetter(columns.index(name)))

    def _rows(
        self, chunks: Iterable[Sequence[Row]], value: operator.itemgetter[int]
    ) -> Iterator[Sequence[Row]]:
        for rows in chunks:
            self._in_flight.extend(map(value, rows))
            yield rows

    def passed(self, chunks: Iterable[MappedChunk]) -> Iterator[MappedChunk]:
        """
        Return the records of these rows, and note the highest value among those that can be sent.

        :param chunks: All records of the rows, in their order.
        :raises FullStoryInputError: If a value is of another type than the others or than the stored one.
        """
        for chunk in chunks:
            values = self._values(chunk)
            given = given_values(values)
            # Before the records go on, so that none is sent where the types do not fit.
            if given:
                self._note(given)
            if self._refuses_null and len(given) < len(values):
                yield self._refused(chunk, values)
            else:
                yield chunk
        self._warn_of_repetitions()
        self._warn_of_the_future()

    def _values(self, chunk: MappedChunk) -> Sequence[Any]:
        """Return the values of the records that can be sent, and forget those of the whole chunk."""
        last = max(
            chunk.positions[-1] if chunk.positions else 0,
            chunk.invalid[-1].position if chunk.invalid else 0,
            self._first - 1,
        )
        first, self._first = self._first, last + 1
        values = self._in_flight[: last + 1 - first]
        del self._in_flight[: last + 1 - first]
        if len(chunk.positions) == len(values):
            return values
        return [values[position - first] for position in chunk.positions]

    def _refused(self, chunk: MappedChunk, values: Sequence[Any]) -> MappedChunk:
        """Return a chunk whose records without a value are refused."""
        has_value = [not is_missing(unwrapped_value(value)) for value in values]
        refusal = _NO_VALUE.refusal(column=quoted(self._name))
        refused = [
            chunk.refused(self._kind, record, position, refusal)
            for position, record, kept in zip(chunk.positions, chunk.records, has_value, strict=True)
            if not kept
        ]
        records = list(itertools.compress(chunk.records, has_value))
        timestamp = self._kind.timestamp
        return dataclasses.replace(
            chunk,
            records=records,
            positions=list(itertools.compress(chunk.positions, has_value)),
            invalid=sorted([*chunk.invalid, *refused], key=operator.attrgetter("position")),
            timestamps=chunk.timestamps
            if timestamp is None
            else summary([getattr(record, timestamp.path, None) for record in records]),
        )

    def _note(self, values: Sequence[Any]) -> None:
        """Take the highest of some values into account."""
        types = set(map(type, values))
        # Values of different types cannot always be compared, and one of each type stands for all.
        if len(types) > 1:
            for type_ in types:
                self._check_type(next(value for value in values if type(value) is type_))
        try:
            highest = highest_of(values)
        except TypeError:
            # Only timestamps of one type cannot be compared: some have a time zone.
            for value in values:
                self._check_type(value)
            raise
        self._check_type(highest)
        if self._highest is None or highest > self._highest:
            self._highest = highest
        if self._floor is not None and min(values) <= self._floor:
            self._not_above += sum(value <= self._floor for value in values)

    def _check_type(self, value: Any) -> None:
        found = type_of(value, self._name)
        if self._type is None and self._known is not None and found != self._known.type:
            raise FullStoryInputError(
                f"Column {self._name!r} holds a {TYPES[found]}, but the stored watermark of the sync "
                f"{self._sync!r} is a {TYPES.get(self._known.type, self._known.type)}. Cast the column in "
                "the query; or if it has changed for good, set the watermark: fullstory-sync set "
                f"{self._sync} VALUE --type {found}."
            )
        if self._type not in (None, found):
            raise FullStoryInputError(
                f"Column {self._name!r}, the watermark of the sync {self._sync!r}, holds both a "
                f"{TYPES[self._type or found]} and a {TYPES[found]}, and neither is the higher one. Cast it "
                "to one type in the query. If the stored watermark has the wrong type, set it: "
                f"fullstory-sync set {self._sync} VALUE --type TYPE."
            )
        self._type = found

    def _warn_of_repetitions(self) -> None:
        if self._not_above:
            log.warning(
                "%s of the sync %r came again: in column %r, their values are not above the watermark that "
                "the run began with, %s. The query does not compare by >, or the database keeps more digits "
                "than its driver gives (cast the column in the query, in WHERE too). Or give insert_id, the "
                "columns that name a record forever: then nothing is sent twice.",
                plural(self._not_above, self._kind.noun),
                self._sync,
                self._name,
                self._floor,
            )

    def _warn_of_the_future(self) -> None:
        if self._highest is not None and is_in_the_future(self._highest, self._zone):
            log.warning(
                "The highest value of column %r, the watermark of the sync %r, lies more than a day in the "
                "future: %s. From now on, rows below it are left out. If the value is wrong, correct the row "
                "and set the watermark back: fullstory-sync set %s VALUE.",
                self._name,
                self._sync,
                self._highest,
                self._sync,
            )
