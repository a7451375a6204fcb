"""What many people write today: pandas reads chunks, requests makes the JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas
import requests
import sqlalchemy

from benchmarks.contenders.by_hand import PROPERTIES, post
from benchmarks.orders import EVENT_NAME, QUERY

if TYPE_CHECKING:
    from benchmarks.place import Place


def send(place: Place) -> int:
    """Send all orders."""
    engine = sqlalchemy.create_engine("postgresql+psycopg2://", connect_args=place.database)
    sent = 0
    with requests.Session() as session, engine.connect() as connection:
        for chunk in pandas.read_sql(sqlalchemy.text(QUERY), connection, chunksize=50_000):
            chunk["timestamp"] = chunk["timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            # JSON has no NaN.
            rows = chunk.astype(object).where(chunk.notna(), None).to_dict("records")
            events = [
                {
                    "name": EVENT_NAME,
                    "timestamp": row["timestamp"],
                    "user": {"uid": row["user.uid"]},
                    "context": {"browser": {"url": row["context.browser.url"]}},
                    "properties": {name: row[name] for name in PROPERTIES if row[name] is not None},
                }
                for row in rows
            ]
            post(session, place, events)
            sent += len(events)
    return sent
