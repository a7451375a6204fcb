"""
Tricky sources, and the batches that were decided for them, which are in ``golden/``.

``python -m tests.batch_import.batching.golden_sources`` writes those again; with ``--print`` it shows them.
A change there makes a retry after an upgrade another import.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import sys
import uuid
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pendulum

from airflow_provider_fullstory.batch_import.batching.batch import BatchLimits
from airflow_provider_fullstory.batch_import.batching.batcher import Batcher
from airflow_provider_fullstory.batch_import.batching.identity import RunIdentity
from airflow_provider_fullstory.records.kinds import EVENTS
from airflow_provider_fullstory.records.mapping import map_records, map_rows, shared_part
from airflow_provider_fullstory.records.options import MappingOptions
from airflow_provider_fullstory.task.arguments import fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from airflow_provider_fullstory.batch_import.batching.batch import Batch

GOLDEN = Path(__file__).parent / "golden"
RUN = RunIdentity("dag", "scheduled__2026-01-01T00:00:00+00:00", "task")
UTC = datetime.UTC


def send(
    source: Iterable[Any],
    columns: list[str] | None = None,
    *,
    run: RunIdentity = RUN,
    batch_size: int = 50_000,
    shared: dict[str, Any] | None = None,
    event_name: str | None = "Order",
    zone: str = "UTC",
    **options: Any,
) -> Iterator[Batch]:
    made = MappingOptions(EVENTS, name=event_name, zone=pendulum.timezone(zone), **options)
    made = dataclasses.replace(made, shared=shared_part(shared, made))
    chunks = map_rows(columns, [list(source)], made) if columns else map_records(source, made)
    return Batcher(run, BatchLimits(records=batch_size), made, lambda _: None).batches(chunks)


def typed_rows() -> Iterator[Batch]:
    columns = ["user.uid", "timestamp", "text", "whole", "large", "real", "flag", "day", "id", "tags", "none"]
    at = datetime.datetime(2026, 1, 2, 3, 4, 5, 678_900, UTC)
    day, identifier = datetime.date(2026, 1, 2), uuid.UUID(int=5)
    return send(
        [
            ("u1", at, "a", 1, 2**63 - 1, 0.1, True, day, identifier, ["a", "b"], None),
            ("u2", at, "", -1, -(2**63), 1e22, False, None, identifier, [], None),
            ("u3", None, None, 0, 0, -0.0, None, day, None, ["c"], None),
            ("u4", at, 5, 1.5, -5, 7, 1, "2026-01-02", "x", None, None),
            ("u5", at, "too large", 1, 2**64, 0.5, None, None, None, None, None),
        ],
        columns,
        allow_missing_timestamp=True,
    )


def unicode() -> Iterator[Batch]:
    texts = [
        "é", "e\u0301", "日本語", "👩‍👩‍👧", "\u2028\u2029", "\x00\x01\x1f\x7f", "\ufeff", '"\\/</script>',
        "\t\r\n", "\U0010ffff", "\ud800", "İıß",
    ]  # fmt: skip
    keys = [{"user.uid": "u", "é": 1}, {"user.uid": "u", "B": 1, "a_1": 2, "A": 3}]
    return send([*({"user.uid": f"<{text}>", "text": text, "texts": [text]} for text in texts), *keys])


def decimals() -> Iterator[Batch]:
    texts = [
        "11.10", "0.1", "-0", "0E+3", "1E+2", "1E-7", "123456789012345678901234567890.12", "NaN", "Infinity",
        "1E+400", "5", "1.0",
    ]  # fmt: skip
    floats = [0.1, 1e16, 1e-7, 5e-324, 1.7976931348623157e308, 1.0, float("inf"), 0.1 + 0.2]
    return send({"user.uid": "u", "value": value} for value in [*map(Decimal, texts), *floats])


def dates() -> Iterator[Batch]:
    berlin = pendulum.timezone("Europe/Berlin")
    values = [
        datetime.datetime(2026, 1, 1),  # noqa: DTZ001 - It takes the zone that is given.
        datetime.datetime(2026, 3, 29, 2, 30),  # noqa: DTZ001 - Skipped.
        datetime.datetime(2026, 10, 25, 2, 30),  # noqa: DTZ001 - There twice.
        datetime.datetime(2026, 10, 25, 2, 30, fold=1),  # noqa: DTZ001
        datetime.datetime(2026, 7, 1, 12, 0, 0, 1, tzinfo=berlin),
        datetime.datetime(1, 1, 1, tzinfo=UTC),
        datetime.datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime.date(2026, 2, 28),
        pendulum.datetime(2026, 7, 1, tz="America/New_York"),
        datetime.time(1, 2, 3),
        datetime.timedelta(days=1, seconds=1),
        "2026-01-01T00:00:00+05:30",
        "2026-01-01",
        1_767_225_600,
    ]
    return send(
        ({"user.uid": "u", "timestamp": value, "at": value} for value in values), zone="Europe/Berlin"
    )


SHARED = {
    "user": {"uid": "somebody é"},
    "context": {"location": {"country": "DE"}, "browser": {"url": "https://example.com/?a=1&b=2"}},
    "page_properties": {"z": 1.5, "a": [1, 2]},
}


def shared() -> Iterator[Batch]:
    events = [{"number": number // 2} for number in range(7)]
    return send(events, batch_size=2, shared=SHARED)


def equal_batches() -> Iterator[Batch]:
    run = RunIdentity("dag é", 'manual__"1"', "group.task", 3, "salt")
    return send([{"user.uid": "u", "a": 1}] * 5, batch_size=2, run=run)


def halves() -> Iterator[Batch]:
    [batch] = send([{"number": number, "text": '"]},{"'} for number in range(5)], shared=SHARED)
    first, second = batch.split()
    return iter([batch, first, second, *second.split()])


def nested() -> Iterator[Batch]:
    records = [
        {
            "name": "N", "user.uid": "u", "timestamp": datetime.datetime(2026, 1, 1, tzinfo=UTC), "z": 1,
            "a": Decimal("1.10"), "c": {"z": 1, "y": [1, 2], "x": {"k": datetime.date(2026, 1, 1)}},
            "context": {"device": {"model": "m", "screen_width": 3}, "browser": {"url": "x"}},
            "page_properties": {"q": 1, "p": "s"}, "schema": {"properties": {"z": "real", "b": "real"}},
            "b": 0.1,
        },
        {"name": "M", "user": {"uid": "u"}, "d": 1, "properties": {"e": None, "f": "2026-01-01"}},
        {"name": "P", "customer": "c:1", "PRICE": 5},
    ]  # fmt: skip
    return send(records, event_name=None, mapping={"session.id": "customer"}, schema={"PRICE": "real"})


SOURCES: dict[str, Callable[[], Iterator[Batch]]] = {
    source.__name__: source
    for source in (typed_rows, unicode, decimals, dates, shared, equal_batches, halves, nested)
}
#: Arguments of an operator as templates may leave them.
ARGUMENTS = {
    "sql": "SELECT 1",
    "parameters": {"b": datetime.date(2026, 1, 1), "a": (1, "é", None, Decimal("1.10"))},
    "mapping": {"user.uid": "customer", "session.id": "visit"},
    "batch_size": 50_000,
}


def described(batches: Iterable[Batch]) -> list[dict[str, Any]]:
    return [
        {
            "batch": batch.name,
            "records": batch.records,
            "idempotency_key": batch.idempotency_key,
            "digest": batch.digest,
            "body": bytes(batch.body).decode(),
        }
        for batch in batches
    ]


def all_described() -> dict[str, Any]:
    return {name: described(source()) for name, source in SOURCES.items()} | {
        "arguments": fingerprint(ARGUMENTS)
    }


def as_text(value: Any) -> str:
    return json.dumps(value, indent=2) + "\n"


def main(arguments: list[str]) -> None:
    for name, value in all_described().items():
        if arguments == ["--print"]:
            sys.stdout.write(f"{name}: {as_text(value)}")
        else:
            (GOLDEN / f"{name}.json").write_text(as_text(value))


if __name__ == "__main__":
    main(sys.argv[1:])
