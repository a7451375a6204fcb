"""Values inside arrays, maps and structs, which are read by the types that these are declared with."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from airflow_provider_fullstory.sources.documents import document_or_value

#: Reads one value; None for a type whose values stay as they are.
ValueReader: TypeAlias = Callable[[Any], Any]

#: The name before the type of a field of Trino's rows.
_FIELD_NAME: Final = re.compile(r'(?:"(?:[^"]|"")*"|\w+) (?=\S)')
#: What divides Trino's types, or holds what does not.
_TRINO_PART: Final = re.compile(r'"(?:[^"]|"")*"|[(),]|[^"(),]+')


def duckdb_value(kind: Any) -> ValueReader | None:
    """
    Return the reader of a type of DuckDB.

    :param kind: A ``DuckDBPyType``. Before DuckDB 1.4 it is a name, which tells nothing of what is inside.
    """
    if str(kind) == "JSON":
        return document_or_value
    match getattr(kind, "id", None):
        case "list" | "array":
            return _in_array(duckdb_value(dict(kind.children)["child"]))
        case "map":
            return _in_map(duckdb_value(dict(kind.children)["value"]))
        case "struct" | "tuple":
            return _in_struct([duckdb_value(child) for _, child in kind.children])
    return None


def trino_value(kind: str) -> ValueReader | None:
    """
    Return the reader of a type of Trino.

    :param kind: The type as Trino writes it, such as ``map(varchar, array(json))``.
    """
    name, _, inside = kind.strip().partition("(")
    arguments = _arguments(inside.removesuffix(")"))
    match name.casefold():
        case "json":
            return document_or_value
        case "array":
            return _in_array(trino_value(arguments[0]))
        case "map":
            return _in_map(trino_value(arguments[1]))
        case "row":
            return _in_row([trino_value(_FIELD_NAME.sub("", field, count=1)) for field in arguments])
    return None


def _arguments(text: str) -> list[str]:
    """Split at the commas that are in no parentheses."""
    arguments, depth = [""], 0
    for part in _TRINO_PART.findall(text):
        depth += (part == "(") - (part == ")")
        if part == "," and depth == 0:
            arguments.append("")
        else:
            arguments[-1] += part
    return [argument.strip() for argument in arguments]


def databricks_value(value: Any) -> Any:
    """Return a value of Databricks without what Arrow and pandas make of it: arrays, and maps as pairs."""
    if isinstance(value, Mapping):
        return {name: databricks_value(inner) for name, inner in value.items()}
    if isinstance(value, list) and value and all(isinstance(pair, tuple) for pair in value):
        return {key: databricks_value(inner) for key, inner in value}
    if isinstance(value, list) or type(value).__name__ == "ndarray":
        return [databricks_value(item) for item in value]
    return value


def _read(read: ValueReader | None, value: Any) -> Any:
    return value if read is None or value is None else read(value)


def _in_array(read: ValueReader | None) -> ValueReader | None:
    return read and (lambda items: [_read(read, item) for item in items])


def _in_map(read: ValueReader | None) -> ValueReader | None:
    return read and (lambda entries: {key: _read(read, value) for key, value in entries.items()})


def _in_struct(readers: Sequence[ValueReader | None]) -> ValueReader | None:
    def read(value: Any) -> Any:
        if isinstance(value, Mapping):
            return dict(zip(value, _fields(readers, value.values()), strict=True))
        return _fields(readers, value)

    return read if any(readers) else None


def _in_row(readers: Sequence[ValueReader | None]) -> ValueReader:
    def read(row: Any) -> Any:
        values = _fields(readers, row)
        names = getattr(row, "__annotations__", {}).get("names", ())
        # A field may have no name, and two may have the same: an object would lose values.
        is_named = None not in names and len(set(names)) == len(values)
        return dict(zip(names, values, strict=True)) if is_named else values

    return read


def _fields(readers: Sequence[ValueReader | None], values: Any) -> list[Any]:
    return [_read(reader, value) for reader, value in zip(readers, values, strict=True)]
