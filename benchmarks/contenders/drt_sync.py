"""
A public peer: drt reads rows with a server-side cursor, and its destination for REST APIs posts batches.

It checks no record, and takes all of a batch as sent once the batch is accepted.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from drt.config.credentials import PostgresProfile
from drt.config.models import SyncConfig
from drt.destinations.rest_api import RestApiDestination
from drt.engine.sync import run_sync
from drt.sources.postgres import PostgresSource

from benchmarks.orders import EVENT_NAME, QUERY

if TYPE_CHECKING:
    from benchmarks.place import Place

#: One filter for each event: with one for each column, rendering takes half as long again.
_TEMPLATE: Final = (
    """
    {"requests": [
    {%- for row in rows -%}
        {{ {
            "name": "EVENT_NAME",
            "timestamp": row["timestamp"],
            "user": {"uid": row["user.uid"]},
            "context": {"browser": {"url": row["context.browser.url"]}},
            "properties": {
                "order_id": row["order_id"],
                "status": row["status"],
                "total": row["total"] | float,
                "quantity": row["quantity"],
                "is_first": row["is_first"],
                "coupon": row["coupon"],
                "note": row["note"],
                "details": row["details"]
            }
        } | tojson_safe }}
        {{- "," if not loop.last }}
    {%- endfor -%}
    ]}
    """
).replace("EVENT_NAME", EVENT_NAME)


def send(place: Place) -> int:
    """Send all orders."""
    sync = SyncConfig.model_validate(
        {
            "name": "orders",
            "model": QUERY,
            "destination": {
                "type": "rest_api",
                "url": place.batches_url,
                "headers": {"Authorization": f"Basic {place.api_key}", "Content-Type": "application/json"},
                "body_mode": "batch",
                "batch_template": _TEMPLATE,
                "native_idempotency_key": "{{ request_id }}",
                "rate_limit": {"requests_per_second": 0},
            },
            "sync": {"batch_size": 50_000},
        }
    )
    profile = PostgresProfile(type="postgres", **place.database)
    with tempfile.TemporaryDirectory() as folder:
        result = run_sync(sync, PostgresSource(), RestApiDestination(), profile, Path(folder))
    sent: int = result.success
    return sent
