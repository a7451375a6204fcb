"""What people are told of syncs: a line for each, or all about one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from airflow_provider_fullstory.syncs.holders import when
from airflow_provider_fullstory.text import plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_fullstory.syncs.catalog import Sync
    from airflow_provider_fullstory.syncs.record import OpenImport, SyncRecord

_HEADINGS = ("NAME", "WATERMARK", "INSERT IDS", "OPEN IMPORT", "HELD BY")


def table(syncs: Sequence[Sync]) -> str:
    """Return a line for each sync, below headings."""
    rows = [_HEADINGS, *(_row(sync) for sync in syncs)]
    # The last column needs no width.
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS) - 1)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]])
        for row in rows
    )


def _row(sync: Sync) -> tuple[str, ...]:
    record = sync.record
    watermark = record.watermark
    return (
        record.name,
        f"{watermark.column} {watermark.value.value}" if watermark else "-",
        f"{record.insert_ids.count:,}" if record.insert_ids else "-",
        str(record.open) if record.open else "-",
        sync.holder.who if sync.holder else "-",
    )


def description(sync: Sync) -> str:
    """Return all that is known of a sync, as lines for people."""
    record = sync.record
    organization = f"organization {record.organization}" if record.organization else "FullStory"
    begun = plural(record.imports, "import")
    facts = {
        "Sync": record.name,
        "Imports": f"{record.resource} into {organization}; {begun} begun",
        "Watermark": _watermark(record),
        "Insert ids": _insert_ids(record),
        "Open import": _open(record.open) if record.open else "none",
        "Held by": str(sync.holder) if sync.holder else "nobody",
        "Folder": str(sync.folder),
    }
    width = max(map(len, facts)) + 3
    return "\n".join(f"{fact + ':':{width}}{text}" for fact, text in facts.items())


def _watermark(record: SyncRecord) -> str:
    watermark = record.watermark
    if watermark is None:
        return "none"
    value = watermark.value
    return (
        f"{watermark.column} {value.value} ({value.type}), since {watermark.moved_at} by {watermark.moved_by}"
    )


def _insert_ids(record: SyncRecord) -> str:
    ids = record.insert_ids
    if ids is None:
        return "none"
    latest = "; of each key, the latest counts" if ids.is_keyed else ""
    return f"{ids.count:,} of {', '.join(ids.definition)}, in {plural(len(ids.files), 'file')}{latest}"


def _open(import_: OpenImport) -> str:
    highest = f", highest value {import_.highest.value}" if import_.highest else ""
    if import_.invalid is None:
        progress = "; it has not sent all of its records, as far as is known"
    else:
        progress = f"; it has sent all but {plural(import_.invalid, 'invalid record')}"
    return f"import {import_.number}, {import_}, since {import_.began_at}{highest}{progress}"


def as_json(sync: Sync) -> str:
    """Return all that is known of a sync, as a JSON object."""
    holder = sync.holder
    facts = msgspec.to_builtins(msgspec.structs.asdict(sync.record)) | {
        "insert_id_count": sync.record.insert_ids.count if sync.record.insert_ids else None,
        "folder": str(sync.folder),
        "held_by": holder
        and {
            "who": holder.who,
            "taken_at": when(holder.taken_at),
            "renewed_at": when(holder.renewed_at),
        },
    }
    return msgspec.json.format(msgspec.json.encode(facts), indent=2).decode()
