"""Which records an import must not send, because the sync has imported them, or the import has sent them."""

from __future__ import annotations

import dataclasses
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, NamedTuple, Self

import msgspec

from airflow_provider_fullstory.api.encoding import ENCODER
from airflow_provider_fullstory.records.insert_ids import key_of
from airflow_provider_fullstory.records.mapped_chunk import MappedChunk
from airflow_provider_fullstory.sources import CHUNK_ROWS
from airflow_provider_fullstory.syncs.insert_ids.files import sorted_name
from airflow_provider_fullstory.syncs.insert_ids.id_filter import IdFilter
from airflow_provider_fullstory.syncs.insert_ids.merging import merged, sorted_once
from airflow_provider_fullstory.syncs.insert_ids.older_ids import OlderIds, open_older, write_older
from airflow_provider_fullstory.syncs.insert_ids.scratch import Scratch
from airflow_provider_fullstory.syncs.insert_ids.sent_contents import SentContents
from airflow_provider_fullstory.syncs.insert_ids.sent_ids import SentIds
from airflow_provider_fullstory.syncs.insert_ids.sorted_ids import part_bits_of, write_sorted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from airflow_provider_fullstory.batch_import.storage.folder import Folder
    from airflow_provider_fullstory.syncs.record import InsertIdsRecord

#: 16 MB: one in 14 new ids passes when 10,000,000 are known, and costs a look-up.
_FILTER_BITS: Final = 24
_MOST_HELD: Final = 20_000
_MOST_HELD_BYTES: Final = 16 * 2**20
#: Less is sorted again at each import, which takes less time than to write all.
_FEW_IDS: Final = 100_000
_FEW_FILES: Final = 200


class _Held(NamedTuple):
    insert_id: int
    is_imported: bool
    record: msgspec.Struct
    position: int


class ImportedIds:
    """
    Leave out the records that a sync has imported, and send each other one once.

    A record with a keyed id is left out if its content is what was imported last under its key.

    The ids of older and of recent imports lie sorted on the worker's disk, behind a filter in memory, so a
    new id is rarely looked up. Memory does not grow with their number.

    :param folder: The folder of the sync.
    :param record: What the record of the sync says about them.
    :param most_held: How many records are held back until it is looked up whether the import has sent them.
    :param most_held_bytes: How many bytes of JSON they have at most, beside those of one chunk.
    :param filter_bits: The size of the filter, as a power of two.
    """

    def __init__(
        self,
        folder: Folder,
        record: InsertIdsRecord,
        *,
        most_held: int = _MOST_HELD,
        most_held_bytes: int = _MOST_HELD_BYTES,
        filter_bits: int = _FILTER_BITS,
    ) -> None:
        self._folder = folder
        self._record = record
        self._most_held = most_held
        self._most_held_bytes = most_held_bytes
        self._filter_bits = filter_bits
        self._stack = ExitStack()
        self._held: list[_Held] = []
        #: How many records were not sent, because they were imported or sent before.
        self.skipped = 0

    def __enter__(self) -> Self:
        """
        Copy the ids to the worker's disk.

        :raises FullStoryLedgerError: If a file of ids is damaged.
        :raises FullStoryDiskError: If the disk does not take them.
        """
        with ExitStack() as stack:
            recent, id_bytes = self._record.recent, self._record.id_bytes
            scratch = stack.enter_context(Scratch(id_bytes))
            self._older, self._filter = open_older(
                self._folder, self._record.sorted, scratch, self._filter_bits
            )
            self._recent = write_sorted(
                scratch,
                self._filter.added(sorted_once(self._folder, recent, id_bytes), id_bytes),
                part_bits_of(sum(file.count for file in recent)),
            )
            # Twice as large, since more is looked up for an id that passes it.
            self._sent = (SentContents if self._record.is_keyed else SentIds)(self._filter_bits + 1)
            stack.callback(self._sent.close)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()
        # The filters take memory, and the import may wait for its jobs for hours.
        del self._filter, self._older, self._recent, self._sent

    def new_only(self, chunks: Iterable[MappedChunk]) -> Iterator[MappedChunk]:
        """
        Yield chunks without the records that must not be sent.

        A few records come later than in the source: those that may have been sent by this import, until that
        is looked up for many at once.

        :param chunks: Records with their insert ids.
        """
        held_bytes = 0
        for chunk in chunks:
            before = len(self._held)
            yield self._sifted(chunk)
            held_bytes += len(ENCODER.encode_lines([one.record for one in self._held[before:]]))
            if len(self._held) >= self._most_held or held_bytes >= self._most_held_bytes:
                yield from self._released()
                held_bytes = 0
        yield from self._released()

    def _sifted(self, chunk: MappedChunk) -> MappedChunk:
        ids = chunk.insert_ids
        imported, doubtful = self._sent.told_apart(ids, self._filter, self._imported)
        if not imported and not doubtful:
            self._sent.add(ids)
            return chunk
        new: list[int] = []
        for row, insert_id in enumerate(ids):
            is_imported = insert_id in imported
            if insert_id in doubtful:
                record, position = chunk.records[row], chunk.positions[row]
                self._held.append(_Held(insert_id, is_imported, record, position))
            elif is_imported:
                self.skipped += 1
            else:
                new.append(row)
        insert_ids = [ids[row] for row in new]
        self._sent.add(insert_ids)
        return dataclasses.replace(
            chunk,
            records=[chunk.records[row] for row in new],
            positions=[chunk.positions[row] for row in new],
            insert_ids=insert_ids,
        )

    def _imported(self, ids: Sequence[int]) -> set[int]:
        """Return those ids that were imported."""
        older = self._older.among(ids)
        older -= self._recent.replaced(older)
        return older | self._recent.among(one for one in ids if one not in older)

    def _released(self) -> Iterator[MappedChunk]:
        """Yield those of the records held back that have not been sent, or not since another content."""
        held, self._held = self._held, []
        sent = {self._key(one): one for one in self._sent.among({one.insert_id for one in held})}
        new: list[_Held] = []
        for one in held:
            key = self._key(one.insert_id)
            if sent[key] != one.insert_id if key in sent else not one.is_imported:
                sent[key] = one.insert_id
                new.append(one)
        self.skipped += len(held) - len(new)
        self._sent.add([one.insert_id for one in new])
        for start in range(0, len(new), CHUNK_ROWS):
            some = new[start : start + CHUNK_ROWS]
            yield MappedChunk(
                [one.record for one in some],
                [one.position for one in some],
                [],
                insert_ids=[one.insert_id for one in some],
            )

    def _key(self, insert_id: int) -> int:
        return key_of(insert_id) if self._record.is_keyed else insert_id

    def fold(self, record: InsertIdsRecord, number: int) -> InsertIdsRecord | None:
        """
        Write all ids as one file, if there are many beside it, and return the record that names it.

        Files that the record has named only since this was opened stay as they are. The caller writes the
        record, and then calls `remove_unnamed`. If it ends before, the old record still holds.

        :param record: What the record of the sync says about its ids now.
        :param number: What no other file of sorted ids is numbered, such as the number of the import.
        """
        folded = self._record.recent
        older = record.sorted.count if record.sorted else 0
        if record.sorted != self._record.sorted or any(file not in record.recent for file in folded):
            # Someone else has done so meanwhile.
            return None
        if record.sorted is not None and record.sorted.name == sorted_name(number):
            # A file that is named never changes.
            return None
        few = max(_FEW_IDS, older // 10)
        if sum(file.count for file in folded) <= few and len(folded) <= _FEW_FILES:
            return None
        with Scratch(record.id_bytes) as scratch:
            runs = (self._older, self._recent)
            ids, id_filter = merged(runs), self._filter
            if self._record.is_keyed:
                # Contents that were replaced would fill it over the years.
                id_filter = IdFilter(self._filter_bits)
                ids = id_filter.added(ids, record.id_bytes)
            written = write_sorted(scratch, ids, part_bits_of(sum(run.count for run in runs)))
            file = write_older(self._folder, number, scratch, OlderIds(written, id_filter))
        return msgspec.structs.replace(
            record, sorted=file, recent=[file for file in record.recent if file not in folded]
        )
