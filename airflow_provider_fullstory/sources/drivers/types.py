"""
What ``cursor.description`` says about columns whose driver gives less than their type: text, mostly.

There is one function for each family of drivers: from the type of a column to a function that reads its
values, None if they stay as they are. Each names the source in the driver that it relies on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from airflow_provider_fullstory.sources.documents import documents
from airflow_provider_fullstory.sources.drivers import nested
from airflow_provider_fullstory.sources.drivers.times import TimeBeyondPython

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ColumnReader: TypeAlias = "Callable[[Sequence[Any]], Sequence[Any]]"


def as_given(kind: Any) -> ColumnReader | None:  # noqa: ARG001
    """Return no reader: the driver gives values of their types, or does not tell these (sqlite3, pymssql)."""
    return None


def mysql(kind: Any) -> ColumnReader | None:
    """
    Return the reader of a type of MySQL, by the constants ``FIELD_TYPE`` of each driver: 245 is JSON, 16 BIT.

    BOOLEAN is TINYINT(1) there, which not every driver tells from other numbers: it stays one with all.
    """
    return {245: documents, 16: _bits}.get(kind)


def _bits(values: Sequence[Any]) -> list[Any]:
    # mysql-connector-python gives numbers.
    return [int.from_bytes(value) if isinstance(value, bytes) else value for value in values]


def duckdb(kind: Any) -> ColumnReader | None:
    """Return the reader of a type of DuckDB, which gives times as text that Python does not have."""
    if str(kind).upper().startswith(("DATE", "TIME")):
        return _odd_times
    return _column(nested.duckdb_value(kind))


def _odd_times(values: Sequence[Any]) -> list[Any]:
    return [TimeBeyondPython(value) if isinstance(value, str) else value for value in values]


def _column(read: nested.ValueReader | None) -> ColumnReader | None:
    return read and (lambda values: [None if value is None else read(value) for value in values])


def snowflake(kind: Any) -> ColumnReader | None:
    """Return the reader of a type of Snowflake: VARIANT, OBJECT, ARRAY or MAP (``FIELD_ID_TO_NAME``)."""
    return documents if kind in (5, 9, 10, 17) else None


def redshift(kind: Any) -> ColumnReader | None:
    """Return the reader of a type of Redshift: 4000 is ``RedshiftOID.SUPER``, which comes as text."""
    return documents if kind == 4000 else None


def trino(kind: Any) -> ColumnReader | None:
    """Return the reader of a type of Trino, whose JSON is text, and whose rows are tuples with names."""
    return _column(nested.trino_value(str(kind)))


def clickhouse(kind: Any) -> ColumnReader | None:
    """Return the reader of a type of ClickHouse, by its name: ``JSON`` and the older ``Object('json')``."""
    name = str(kind).removeprefix("Nullable(")
    return documents if name.startswith(("JSON", "Object('json'", "Object(Nullable('json')")) else None


def databricks(kind: Any) -> ColumnReader | None:
    """Return the reader of a type of Databricks: complex types are text or not, as a connection is set up."""
    if kind == "map":
        return _maps
    return _complex if kind in ("array", "struct", "variant") else None


def _complex(values: Sequence[Any]) -> list[Any]:
    return [nested.databricks_value(value) for value in documents(values)]


def _maps(values: Sequence[Any]) -> list[Any]:
    # Of an empty one, nothing else shows that it is a map.
    return [{} if value == [] else value for value in _complex(values)]
