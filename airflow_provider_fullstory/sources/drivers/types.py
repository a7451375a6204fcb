"""
What ``cursor.description`` says about columns whose driver gives less than their type: text, mostly.

There is one function for each family of drivers: from the type of a column to a function that reads its
values, None if they stay as they are. Each names the source in the driver that it relies on.
"""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from airflow_provider_fullstory.sources.documents import documents

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ColumnReader: TypeAlias = "Callable[[Sequence[Any]], Sequence[Any]]"


def as_given(kind: Any) -> ColumnReader | None:  # noqa: ARG001
    """Return no reader: the driver gives values of their types, or does not tell these (sqlite3, pymssql)."""
    return None


def mysql(kind: Any) -> ColumnReader | None:
    """Return the reader of a type of MySQL: 245 is ``FIELD_TYPE.JSON`` in the constants of each driver."""
    return documents if kind == 245 else None


def duckdb(kind: Any) -> ColumnReader | None:
    """Return the reader of a type of DuckDB, a ``DuckDBPyType`` whose text is its name."""
    return documents if str(kind) == "JSON" else None


def snowflake(kind: Any) -> ColumnReader | None:
    """Return the reader of a type of Snowflake: VARIANT, OBJECT, ARRAY or MAP (``FIELD_ID_TO_NAME``)."""
    return documents if kind in (5, 9, 10, 17) else None


def redshift(kind: Any) -> ColumnReader | None:
    """Return the reader of a type of Redshift: 4000 is ``RedshiftOID.SUPER``, which comes as text."""
    return documents if kind == 4000 else None


def trino(kind: Any) -> ColumnReader | None:
    """Return the reader of a type of Trino, whose JSON is text (``trino.mapper``)."""
    return documents if str(kind).casefold() == "json" else None


def clickhouse(kind: Any) -> ColumnReader | None:
    """Return the reader of a type of ClickHouse, by its name: ``JSON`` and the older ``Object('json')``."""
    name = str(kind).removeprefix("Nullable(")
    return documents if name.startswith(("JSON", "Object('json'", "Object(Nullable('json')")) else None


def databricks(kind: Any) -> ColumnReader | None:
    """Return the reader of a type of Databricks: complex types are text or not, as a connection is set up."""
    if kind == "map":
        return _maps
    return documents if kind in ("array", "struct", "variant") else None


def _maps(values: Sequence[Any]) -> list[Any]:
    # Arrow gives a map as a list of pairs.
    return [dict(value) if isinstance(value, list) else value for value in documents(values)]


def bigquery(kind: Any) -> ColumnReader | None:
    """Return the reader of a type of BigQuery, of which Airflow's ``bq_cast`` reads but a few."""
    return _BIGQUERY.get(kind)


def _texts(read: Callable[[str], Any]) -> ColumnReader:
    # A column of repeated values has lists.
    return lambda values: [read(value) if isinstance(value, str) else value for value in values]


def _moments(values: Sequence[Any]) -> list[Any]:
    return [_moment(value) if isinstance(value, (int, float)) else value for value in values]


def _moment(seconds: float) -> datetime.datetime:
    # A double of seconds is nearest to one microsecond; adding whole ones to the epoch rounds nothing more.
    return _EPOCH + datetime.timedelta(microseconds=round(seconds * 1_000_000))


_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_BIGQUERY: Final[Mapping[Any, ColumnReader]] = {
    "JSON": documents,
    "TIMESTAMP": _moments,
    "DATE": _texts(datetime.date.fromisoformat),
    "DATETIME": _texts(datetime.datetime.fromisoformat),
    "NUMERIC": _texts(Decimal),
    "BIGNUMERIC": _texts(Decimal),
}
