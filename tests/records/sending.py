"""Send rows and records through mapping and batching, and read the bodies as strictly as JSON allows."""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_provider_fullstory.api.jobs import MAX_BATCH_RECORDS
from airflow_provider_fullstory.batch_import.batching.batch import BatchLimits
from airflow_provider_fullstory.batch_import.batching.batcher import Batcher
from airflow_provider_fullstory.batch_import.batching.identity import RunIdentity
from airflow_provider_fullstory.emulator.rules.bodies import read_events
from airflow_provider_fullstory.records.kinds import EVENTS
from airflow_provider_fullstory.records.mapping import map_records, map_rows
from airflow_provider_fullstory.records.options import MappingOptions
from airflow_provider_fullstory.records.refused_records import record_of_line
from airflow_provider_fullstory.sources.iterables import records_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from airflow_provider_fullstory.batch_import.batching.batch import Batch
    from airflow_provider_fullstory.records.kind import RecordKind
    from airflow_provider_fullstory.records.mapped_chunk import MappedChunk
    from airflow_provider_fullstory.records.refusals import InvalidRecord
    from airflow_provider_fullstory.records.rules import Rule

RUN = RunIdentity("dag", "run", "task")


@dataclasses.dataclass
class Sent:
    """What would go to FullStory, and what would not."""

    batches: list[Batch]
    refused: list[InvalidRecord]

    @property
    def bodies(self) -> list[bytes]:
        return [bytes(batch.body) for batch in self.batches]

    @property
    def events(self) -> list[dict[str, Any]]:
        return [event for body in self.bodies for event in strict_json(body)["requests"]]

    @property
    def event(self) -> dict[str, Any]:
        assert not self.refused, self.refused
        [event] = self.events
        return event

    @property
    def reason(self) -> str:
        assert not self.events
        [invalid] = self.refused
        return invalid.refusal.reason

    @property
    def code(self) -> str:
        [invalid] = self.refused
        return invalid.refusal.code


def batched(
    chunks: Iterable[MappedChunk], options: MappingOptions, limits: BatchLimits | None = None
) -> Sent:
    refused: list[InvalidRecord] = []
    batcher = Batcher(RUN, limits or BatchLimits(), options, refused.extend)
    return Sent(list(batcher.batches(chunks)), refused)


def make_options(**options: Any) -> MappingOptions:
    return MappingOptions(EVENTS, **({"name": "Odd", "allow_anonymous": True} | options))


def send_records(records: Iterable[Any], limits: BatchLimits | None = None, **options: Any) -> Sent:
    made = make_options(**options)
    return batched(map_records(records, made), made, limits)


def send_rows(
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    limits: BatchLimits | None = None,
    chunk_rows: int = 500,
    **options: Any,
) -> Sent:
    made = make_options(**options)
    chunks = (rows[start : start + chunk_rows] for start in range(0, len(rows), chunk_rows))
    return batched(map_rows(columns, chunks, made), made, limits)


def read_refused(location: Any, kind: RecordKind = EVENTS) -> Iterator[Any]:
    """Read a file, which may hold the refused records of an earlier import."""
    return records_of(location, kind.resource, functools.partial(record_of_line, kind))


def send_value(value: Any, **options: Any) -> Sent:
    """Send one value as the property ``x``, both ways, which must agree."""
    of_rows = send_rows(["x"], [(value,)], **options)
    of_records = send_records([{"x": value}], **options)
    assert of_rows == of_records
    return of_rows


def send_field(path: str, value: Any, **options: Any) -> Sent:
    """Send one value as a field, both ways, which must agree."""
    of_rows = send_rows([path], [(value,)], **options)
    of_records = send_records([{path: value}], **options)
    assert of_rows == of_records
    return of_rows


def strict_json(body: bytes) -> Any:
    """Read JSON with nothing but what RFC 8259 allows, and without a key that stands twice in an object."""
    return json.loads(
        body.decode(), parse_constant=_refuse, parse_float=Decimal, object_pairs_hook=_without_duplicates
    )


def _refuse(constant: str) -> NoReturn:
    raise AssertionError(f"{constant} is no JSON")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    assert len(content) == len(pairs), "a key stands twice"
    return content


def rejected_by_the_emulator(sent: Sent) -> list[str]:
    """Return what the emulator says of the records that this package would send."""
    return [
        f"{refusal.code}: {refusal.message}"
        for body in sent.bodies
        for refusal in read_events(body, MAX_BATCH_RECORDS).rejections.values()
    ]


def pattern_of(rule: Rule) -> re.Pattern[str]:
    """Return what matches all that a rule can say."""
    parts = re.split(r"\{\w+(?:!r)?\}", rule.says.replace("{{", "\x00").replace("}}", "\x01"))
    texts = (re.escape(part.replace("\x00", "{").replace("\x01", "}")) for part in parts)
    return re.compile(".+".join(texts), re.DOTALL)
