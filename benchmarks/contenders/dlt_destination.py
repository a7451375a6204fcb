"""
A public peer: dlt reads rows in chunks, and a custom destination posts 50,000 at a time.

It runs in an environment of its own. Telemetry, nested tables and dlt's own columns are off.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import closing
from typing import TYPE_CHECKING, Any

import dlt
import psycopg2
import requests

from benchmarks.contenders.by_hand import PROPERTIES, post
from benchmarks.orders import EVENT_NAME, QUERY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.place import Place


def send(place: Place) -> int:
    """Send all orders."""
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    sent = []

    def fullstory(items: list[dict[str, Any]], table: Any) -> None:  # noqa: ARG001 - dlt's signature.
        with requests.Session() as session:
            post(session, place, [_event(row) for row in items])
        sent.append(len(items))

    destination = dlt.destination(
        fullstory,
        batch_size=50_000,
        loader_file_format="typed-jsonl",
        naming_convention="direct",
        max_table_nesting=0,
        skip_dlt_columns_and_tables=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        pipeline = dlt.pipeline("orders", pipelines_dir=folder, destination=destination())
        pipeline.run(dlt.resource(_rows(place), name="orders")).raise_on_failed_jobs()
    return sum(sent)


def _rows(place: Place) -> Iterator[list[dict[str, Any]]]:
    with closing(psycopg2.connect(**place.database)) as connection, connection.cursor("orders") as cursor:
        cursor.execute(QUERY)
        while rows := cursor.fetchmany(50_000):
            columns = [column.name for column in cursor.description]
            yield [dict(zip(columns, row, strict=True)) for row in rows]


def _event(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": EVENT_NAME,
        "timestamp": row["timestamp"].isoformat(),
        "user": {"uid": row["user.uid"]},
        "context": {"browser": {"url": row["context.browser.url"]}},
        # JSON knows no Decimal.
        "properties": {name: row[name] for name in PROPERTIES if row.get(name) is not None}
        | {"total": float(row["total"])},
    }
