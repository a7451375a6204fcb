"""The driver of ClickHouse's native protocol: results are streamed."""

from __future__ import annotations

from typing import Any

from airflow_provider_fullstory.sources.drivers.driver import Driver


class ClickHouse(Driver):
    """clickhouse-driver, which holds the whole result unless it streams blocks of rows."""

    def cursor(self, connection: Any) -> Any:
        """Make a cursor that streams."""
        cursor = connection.cursor()
        cursor.set_stream_results(True, 10_000)
        return cursor
