"""What a log shows of a record: the types of its values, and the values of its key."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_fullstory.records.schema import TYPES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_fullstory.records.kind import RecordKind

#: What FullStory calls the types of JSON's values.
_NAMES: Final = {Decimal: "real", float: "real", type(None): "null"}


def redacted(kind: RecordKind, record: Any) -> Any:
    """Return a record with the type of each value in its place; a schema, which has no values, stays."""
    if not isinstance(record, Mapping):
        return _types(record)
    return {
        key: _schema(value) if key in kind.schema_roots else _types(value) for key, value in record.items()
    }


def _types(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _types(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_types(item) for item in value[:1]]
    return f"<{_NAMES.get(type(value), type(value).__name__)}>"


def _schema(schema: Any) -> Any:
    """Return a schema as it is; in a refused record, it may be anything."""
    if isinstance(schema, Mapping):
        return {key: _schema(item) for key, item in schema.items()}
    return schema if isinstance(schema, str) and schema in TYPES else _types(schema)


def value_at(record: Any, path: Sequence[str]) -> Any:
    """Return the value of a record at a path, None if there is none; names are found without case."""
    for part in path:
        if not isinstance(record, Mapping):
            return None
        folded = part.casefold()
        name = part if part in record else next((key for key in record if key.casefold() == folded), part)
        record = record.get(name)
    return record
