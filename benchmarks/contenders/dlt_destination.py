"""
A public peer: dlt reads the table as Arrow, and a custom destination posts 50,000 rows at a time.

Of what dlt documents for speed, all that helps is on: Arrow, files of one batch, jobs that load at the same
time; nested tables and dlt's own columns are off. It checks no record, and takes all of a batch as sent once
the batch is accepted.
"""

from __future__ import annotations

import json
import tempfile
from typing import TYPE_CHECKING, Any

import dlt
import requests
import sqlalchemy
from dlt.sources.sql_database import sql_table

from benchmarks.contenders.by_hand import PROPERTIES, post
from benchmarks.orders import EVENT_NAME

if TYPE_CHECKING:
    import pyarrow

    from benchmarks.place import Place

_BATCH = 50_000


def send(place: Place) -> int:
    """Send all orders."""
    dlt.config["sources.data_writer.file_max_items"] = _BATCH
    sent = []

    @dlt.destination(
        batch_size=_BATCH,
        loader_file_format="parquet",
        # More take more memory, and no less time: most of it is Python's.
        max_parallel_load_jobs=2,
        naming_convention="direct",
        max_table_nesting=0,
        skip_dlt_columns_and_tables=True,
    )
    def fullstory(items: pyarrow.RecordBatch, table: Any) -> None:  # noqa: ARG001 - dlt's signature.
        events = [_event(row) for row in items.to_pylist()]
        with requests.Session() as session:
            post(session, place, events)
        sent.append(len(events))

    with tempfile.TemporaryDirectory() as folder:
        pipeline = dlt.pipeline("orders", pipelines_dir=folder, destination=fullstory())
        pipeline.run(_orders(place), loader_file_format="parquet").raise_on_failed_jobs()
    return sum(sent)


def _orders(place: Place) -> Any:
    return sql_table(
        sqlalchemy.create_engine("postgresql+psycopg2://", connect_args=place.database),
        table="orders",
        backend="pyarrow",
        chunk_size=10_000,
        reflection_level="full_with_precision",
        table_adapter_callback=_details_as_text,
        query_adapter_callback=_in_order,
    )


def _details_as_text(table: sqlalchemy.Table) -> None:
    # Arrow has no JSON; without this, dlt parses and writes it for each row.
    table.c.details.type = sqlalchemy.Text()


def _in_order(_: sqlalchemy.Select[Any], table: sqlalchemy.Table) -> sqlalchemy.Select[Any]:
    details = sqlalchemy.cast(table.c.details, sqlalchemy.Text).label("details")
    columns = [details if column.name == "details" else column for column in table.c]
    return sqlalchemy.select(*columns).order_by(table.c.order_id)


def _event(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": EVENT_NAME,
        "timestamp": row["updated_at"].isoformat(),
        "user": {"uid": row["customer_id"]},
        "context": {"browser": {"url": row["page"]}},
        # JSON knows no Decimal.
        "properties": {name: row[name] for name in PROPERTIES if row[name] is not None}
        | {"total": float(row["total"]), "details": json.loads(row["details"])},
    }
