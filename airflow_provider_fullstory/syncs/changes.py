"""Changes that a person makes to what a sync remembers."""

from __future__ import annotations

import dataclasses
import datetime
import logging
import time
from typing import TYPE_CHECKING

import msgspec

from airflow_provider_fullstory.exceptions import (
    FullStoryError,
    FullStoryInputError,
    FullStoryStorageError,
    FullStoryTimeoutError,
)
from airflow_provider_fullstory.syncs.hold import take
from airflow_provider_fullstory.syncs.holders import holder_of
from airflow_provider_fullstory.syncs.insert_ids.files import remove_unnamed
from airflow_provider_fullstory.syncs.record import WatermarkRecord, read_record, write_record

if TYPE_CHECKING:
    from airflow_provider_fullstory.syncs.catalog import Sync
    from airflow_provider_fullstory.syncs.holders import Holder
    from airflow_provider_fullstory.syncs.record import SyncRecord

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Change:
    """
    Describe a change before it is made.

    :param record: The record of the sync after it.
    :param effects: What it does, and what follows from it, in sentences.
    :param needs_consent: Whether a person must agree to these.
    """

    record: SyncRecord
    effects: list[str]
    needs_consent: bool


def watermark_set(
    record: SyncRecord, text: str, *, column: str | None, type_name: str | None, by: str
) -> Change:
    """
    Return the change that moves the watermark.

    :param record: The record of the sync.
    :param text: The new value.
    :param column: The column of the watermark, None for the one it has.
    :param type_name: The type of the value, None for the one it has.
    :param by: Who moves it.
    :raises FullStoryInputError: If the value does not fit, or the column or the type is not known.
    """
    from airflow_provider_fullstory.syncs.watermark_values import parsed_by_hand

    known = record.watermark
    if column is None:
        column = known.column if known else record.open.column if record.open else None
    if column is None:
        raise FullStoryInputError(
            f"The sync {record.name!r} has no watermark yet: name its column with --column."
        )
    like = known.value if known and known.column == column else None
    value = parsed_by_hand(text, like, type_name)
    before = f"from {like.value} " if like else ""
    moved_at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    effects = [
        f"The watermark {column} moves {before}to {value.value} ({value.type}).",
        *_sent_again(record, "Records above it"),
    ]
    changed = msgspec.structs.replace(record, watermark=WatermarkRecord(column, value, moved_at, by))
    return _without_open_import(changed, effects, needs_consent=False)


def watermark_removed(record: SyncRecord) -> Change:
    """
    Return the change that lets the next run begin at the initial value.

    :param record: The record of the sync.
    """
    effects = [
        "The watermark is removed: the next run begins at its initial value.",
        *_sent_again(record, "All records from there on"),
    ]
    changed = msgspec.structs.replace(record, watermark=None)
    return _without_open_import(changed, effects, needs_consent=True)


def insert_ids_removed(record: SyncRecord, *, abandon: bool) -> Change:
    """
    Return the change that forgets which records were imported.

    :param record: The record of the sync.
    :param abandon: Whether an open import is forgotten as well.
    :raises FullStoryInputError: If the sync has no insert ids, or an import is open and not abandoned.
    """
    ids = record.insert_ids
    if ids is None:
        raise FullStoryInputError(f"The sync {record.name!r} has no insert ids, so there are none to forget.")
    effects = [
        f"All insert ids are forgotten, {ids.count:,} in number.",
        "Records that were imported are sent again if the query selects them again.",
    ]
    if record.open is not None:
        if not abandon:
            raise FullStoryInputError(
                f"Import {record.open.number} of the sync {record.name!r} ({record.open}) is open. Run the "
                "sync first, which settles it. Or forget it too, with --abandon: then its records are not "
                "accounted for, and are sent again if the query selects them again."
            )
        effects.append(
            f"Import {record.open.number} ({record.open}) is abandoned: its records are not accounted for, "
            "and it does not move the watermark."
        )
    forgotten = msgspec.structs.replace(ids, sorted=None, recent=[])
    changed = msgspec.structs.replace(record, insert_ids=forgotten, open=None)
    return Change(changed, effects, needs_consent=True)


def make(change: Change, sync: Sync, who: str) -> None:
    """
    Make a change, unless the sync has changed since it was looked at.

    :param change: The change.
    :param sync: The sync as it was looked at.
    :param who: Who makes it.
    :raises FullStoryTimeoutError: If another process holds the sync.
    """
    try:
        hold = take(sync.folder, who, deadline=time.time())
    except FullStoryTimeoutError:
        raise _held(sync, holder_of(sync.folder)) from None
    with hold:
        if read_record(sync.folder) != sync.record:
            raise FullStoryError(
                f"The sync {sync.record.name!r} has changed meanwhile, so nothing was changed. Look at it "
                "again."
            )
        hold.check()
        write_record(sync.folder, change.record)
        _remove_ids(sync, change.record)


def check_free(sync: Sync) -> None:
    """
    Check that no process holds a sync.

    :param sync: The sync as it was looked at.
    :raises FullStoryTimeoutError: If one does.
    """
    if sync.holder is not None:
        raise _held(sync, sync.holder)


def _held(sync: Sync, holder: Holder | None) -> FullStoryTimeoutError:
    return FullStoryTimeoutError(
        f"The sync {sync.record.name!r} is held by {holder or 'another process'}, so nothing was changed. "
        "Let that process finish. If it is dead, try again two minutes after its last sign of life."
    )


def _remove_ids(sync: Sync, record: SyncRecord) -> None:
    """Remove the files of ids that the record names no more."""
    if sync.record.insert_ids is None or record.insert_ids is None:
        return
    try:
        remove_unnamed(sync.folder, sync.record.insert_ids, record.insert_ids)
    except FullStoryStorageError as error:
        log.warning("%s Files of insert ids that are needed no more are left.", error)


def _sent_again(record: SyncRecord, which: str) -> list[str]:
    if record.insert_ids is not None:
        return []
    return [f"{which} that were imported before are sent again, since the sync has no insert ids."]


def _without_open_import(record: SyncRecord, effects: list[str], *, needs_consent: bool) -> Change:
    """Close the open import, which says nothing of use for a new watermark; insert ids still need it."""
    if record.open is None:
        return Change(record, effects, needs_consent)
    name = f"Import {record.open.number} ({record.open})"
    if record.insert_ids is not None:
        kept = f"{name} stays open: the next run settles it first. It does not move the watermark any more."
        settled_only = msgspec.structs.replace(record.open, highest=None)
        return Change(msgspec.structs.replace(record, open=settled_only), [*effects, kept], needs_consent)
    closed = f"{name} is closed, and not accounted for. What the next run selects of it is sent again."
    return Change(msgspec.structs.replace(record, open=None), [*effects, closed], needs_consent=True)
