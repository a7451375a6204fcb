"""
Refused records as they are written down: to be read by a person, fixed, and sent again.

A record is written in the form of FullStory's API, whatever columns it came from, so that sending it again
needs no mapping.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from airflow_provider_fullstory.api.encoding import DECODER, ENCODER
from airflow_provider_fullstory.exceptions import FullStoryInputError
from airflow_provider_fullstory.records.kinds import KINDS
from airflow_provider_fullstory.records.written_values import Writing, as_text

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterable, Iterator, Mapping

    import msgspec

    from airflow_provider_fullstory.records.fields import Path
    from airflow_provider_fullstory.records.kind import RecordKind

#: The key of a line in a file of refused records that follows the record.
REFUSAL: Final = "refusal"
#: The key in it that says whether the record is invalid or rejected.
OUTCOME: Final = "outcome"


def refused_record(
    kind: RecordKind,
    record: msgspec.Struct,
    refused: Iterable[tuple[Path, Any]],
    zone: datetime.tzinfo,
    declared: Mapping[str, str],
) -> dict[str, Any]:
    """
    Return a record with the values that it was refused for, as JSON.

    :param kind: The kind of record.
    :param record: The record without them.
    :param refused: Those values, and the path of each. A path of one part that is not a field is a name that
        goes to no field.
    :param zone: What datetimes without an offset mean.
    :param declared: Dotted name of a property -> its type, as the user declared it for the import.
    """
    written: dict[str, Any] = DECODER.decode(ENCODER.encode(record))
    within = _by_owner(declared)
    for path, value in refused:
        root, dotted = path[0], ".".join(path)
        writing = Writing(zone)
        if root in kind.property_roots and len(path) > 1:
            name = ".".join(path[1:])
            _place(written, path, writing.value(name, value))
            types = within.get(name, {}) if root == kind.default_root else {}
            _declare(written, kind.property_roots[root], writing.types | types)
        elif root in kind.members[()]:
            sent = writing.field(dotted, value, is_timestamp=path in kind.timestamps)
            _place(written, path, sent)
        else:
            _place_misnamed(kind, written, as_text(root), value, writing)
    return with_types(kind, written)


def _place_misnamed(
    kind: RecordKind, record: dict[str, Any], name: str, value: Any, writing: Writing
) -> None:
    """Enter a value whose name goes to no field."""
    # A name that would be good in another record must not be so in this one.
    key = name if kind.path_of(name)[1] else f"${name}"
    record[key] = writing.value(key, value)
    parent, _, rest = key.partition(".")
    is_inside = rest and parent in kind.property_roots
    types = {
        name.removeprefix(f"{parent}.") if is_inside else name: declared
        for name, declared in writing.types.items()
    }
    _declare(record, kind.property_roots[parent if is_inside else kind.default_root], types)


def _by_owner(declared: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return the declared types of each property and of those inside it."""
    owners: dict[str, dict[str, str]] = {}
    for name, declared_type in declared.items():
        parts = name.split(".")
        for depth in range(1, len(parts) + 1):
            owners.setdefault(".".join(parts[:depth]), {})[name] = declared_type
    return owners


def with_types(kind: RecordKind, record: dict[str, Any]) -> dict[str, Any]:
    """
    Return a record that says which whole numbers are reals: in JSON, these look like integers.

    :param kind: The kind of record.
    :param record: The record as it was, or would be, sent, where integers are declared.
    """
    for root, schema in kind.property_roots.items():
        declared = (record.get(schema) or {}) if isinstance(record.get(schema) or {}, dict) else None
        types = declared.get("properties", {}) if declared is not None else None
        if isinstance(types, dict):
            reals = {name: real for name, real in _reals(record.get(root), "") if name not in types}
            _declare(record, schema, reals)
    return record


def _reals(values: Any, parents: str) -> Iterator[tuple[str, str]]:
    for key, value in values.items() if isinstance(values, dict) else ():
        if isinstance(value, dict):
            yield from _reals(value, f"{parents}{key}.")
        elif isinstance(value, list) and any(type(element) is int for element in value):
            yield f"{parents}{key}", "reals"
        elif type(value) is int:
            yield f"{parents}{key}", "real"


def record_of_line(kind: RecordKind, line: Any) -> Any:
    """
    Return the record in a line of a file of refused records; any other line is the record itself.

    :param kind: The kind of records that is imported.
    :param line: The line.
    :raises FullStoryInputError: If the line holds a refused record of another kind.
    """
    if not (isinstance(line, dict) and len(line) == 2 and isinstance(line.get(REFUSAL), dict)):
        return line
    if kind.noun in line:
        return line[kind.noun]
    for other in KINDS.values():
        if other.noun in line and OUTCOME in line[REFUSAL]:
            raise FullStoryInputError(
                f"{kind.resource} is a file of refused {other.resource}: give it as {other.resource}= to the "
                f"operator that imports {other.resource}."
            )
    return line


def _place(record: dict[str, Any], path: Path, value: Any) -> None:
    """Enter a value, or put it beside what the record already has in its place."""
    target: Any = record
    for part in path[:-1]:
        target = target.setdefault(part, {})
        if not isinstance(target, dict):
            break
    if isinstance(target, dict) and path[-1] not in target:
        target[path[-1]] = value
    else:
        record[f"${'.'.join(path)}"] = value


def _declare(record: dict[str, Any], schema_root: str, types: Mapping[str, str]) -> None:
    schema = record.setdefault(schema_root, {}) if types else None
    if isinstance(schema, dict) and isinstance(schema.setdefault("properties", {}), dict):
        schema["properties"] |= types
