"""What others write: all rows as a list, as ``DbApiHook.get_records`` gives them, then requests."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import psycopg2
import requests

from benchmarks.contenders.by_hand import PROPERTIES, post
from benchmarks.orders import EVENT_NAME, QUERY

if TYPE_CHECKING:
    from benchmarks.place import Place


def send(place: Place) -> int:
    """Send all orders."""
    with closing(psycopg2.connect(**place.database)) as connection, connection.cursor() as cursor:
        cursor.execute(QUERY)
        records = cursor.fetchall()
        columns = [column.name for column in cursor.description]
    with requests.Session() as session:
        for start in range(0, len(records), 50_000):
            rows = [dict(zip(columns, record, strict=True)) for record in records[start : start + 50_000]]
            events = [
                {
                    "name": EVENT_NAME,
                    "timestamp": row["timestamp"].isoformat(),
                    "user": {"uid": row["user.uid"]},
                    "context": {"browser": {"url": row["context.browser.url"]}},
                    # JSON knows no Decimal.
                    "properties": {name: row[name] for name in PROPERTIES if row[name] is not None}
                    | {"total": float(row["total"])},
                }
                for row in rows
            ]
            post(session, place, events)
    return len(records)
