"""
From records with keys of their own to rows: flat, with a column for each key.

Records of a chunk that have the same keys are mapped together, so they form one group.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_fullstory.records import rules
from airflow_provider_fullstory.records.documents import document
from airflow_provider_fullstory.records.refusals import InvalidRecord, Refusal, ValueRefusedError
from airflow_provider_fullstory.records.values import plain_key
from airflow_provider_fullstory.records.written_values import as_json, key_text
from airflow_provider_fullstory.sources.lines import Unreadable

if TYPE_CHECKING:
    from airflow_provider_fullstory.records.fields import Path
    from airflow_provider_fullstory.records.kind import RecordKind

#: Shapes of records, and of objects inside them, that are remembered.
_MOST_KNOWN: Final = 256


@dataclasses.dataclass(slots=True)
class RecordGroup:
    """Records with the same columns, or one that is refused while it is flattened."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    positions: list[int]
    refusal: Refusal | None = None
    refused_values: Sequence[tuple[Path, Any]] = ()


class Flattening:
    """
    Turn records into columns and values.

    :param kind: Their kind.
    :param mapping: Path of the API -> key of the record.
    :param excluded: Keys that are not sent.
    """

    def __init__(self, kind: RecordKind, mapping: Mapping[str, str], excluded: Sequence[str] = ()) -> None:
        self._objects = kind.objects
        self._excluded = frozenset(map(str.casefold, excluded))
        self._paths: dict[str, list[str]] = {}
        for path, key in mapping.items():
            self._paths.setdefault(key, []).append(path)
        #: The timestamp, if the user names its key.
        self._timestamp = next(
            (path for path in map(str.casefold, mapping) if kind.timestamp and path == kind.timestamp.path),
            None,
        )
        self._keys = {key.casefold(): key for key in self._paths}
        #: Columns of records whose keys each go to one place, whatever the values are.
        self._plain: dict[tuple[Any, ...], tuple[str, ...]] = {}
        self._known_members: dict[tuple[str, tuple[Any, ...]], tuple[Sequence[str], bool]] = {}

    def groups(self, records: Iterable[tuple[int, Any]]) -> tuple[list[RecordGroup], list[InvalidRecord]]:
        """
        Return groups of records with the same columns, and the items that are not records at all.

        :param records: The records, each after its place in the source.
        """
        groups: dict[tuple[str, ...], RecordGroup] = {}
        refused: list[RecordGroup] = []
        invalid: list[InvalidRecord] = []
        for position, record in records:
            if not isinstance(record, Mapping):
                invalid.append(_no_record(record, position))
                continue
            one = self._group(record, position)
            if one.refusal is not None:
                refused.append(one)
            elif (group := groups.get(one.columns)) is not None:
                group.rows += one.rows
                group.positions.append(position)
            else:
                groups[one.columns] = one
        return [*groups.values(), *refused], invalid

    def _group(self, record: Mapping[Any, Any], position: int) -> RecordGroup:
        keys = tuple(record)
        if (columns := self._plain.get(keys)) is not None:
            return RecordGroup(columns, [tuple(record.values())], [position])
        group = self._flattened(record, position)
        if group.refusal is None and self._is_plain(record, group.columns):
            if len(self._plain) >= _MOST_KNOWN:
                self._plain.clear()
            self._plain[keys] = group.columns
        return group

    def _is_plain(self, record: Mapping[Any, Any], columns: tuple[str, ...]) -> bool:
        return (
            len(columns) == len(record)
            and all(type(key) is str for key in record)
            and not any(
                path.casefold() in self._objects for key in record for path in self._targets(key, record)
            )
        )

    def _flattened(self, record: Mapping[Any, Any], position: int) -> RecordGroup:
        pairs: list[tuple[str, Any]] = []
        refusal: Refusal | None = None
        refused: list[tuple[Path, Any]] = []
        for given, value in record.items():
            try:
                key = plain_key("a record", given)
            except ValueRefusedError as error:
                refusal = refusal or error.refusal
                refused.append(((key_text(given),), value))
                continue
            for path in self._targets(key, record):
                try:
                    pairs.extend(self._expanded(path, value))
                except ValueRefusedError as error:
                    refusal = refusal or error.refusal
                    refused.append((tuple(path.casefold().split(".")), value))
        if self._timestamp and not any(path.casefold() == self._timestamp for path, _ in pairs):
            # A key that the user names and a record lacks counts as NULL.
            pairs.append((self._timestamp, None))
        columns = tuple(path for path, _ in pairs)
        return RecordGroup(columns, [tuple(value for _, value in pairs)], [position], refusal, refused)

    def _targets(self, key: str, record: Container[Any]) -> Sequence[str]:
        """Return the paths of a key; a mapped key is matched without case if no key is equal to it."""
        if key.casefold() in self._excluded:
            return ()
        if key in self._paths:
            return self._paths[key]
        mapped = self._keys.get(key.casefold())
        return (key,) if mapped is None or mapped in record else self._paths[mapped]

    def _expanded(self, path: str, value: Any) -> Iterable[tuple[str, Any]]:
        if path.casefold() not in self._objects:
            return ((path, value),)
        members = _object(path, value)
        paths, has_objects = self._members(path, tuple(members))
        pairs = zip(paths, members.values(), strict=True)
        if not has_objects:
            return pairs
        return [leaf for inner, item in pairs for leaf in self._expanded(inner, item)]

    def _members(self, path: str, keys: tuple[Any, ...]) -> tuple[Sequence[str], bool]:
        """Return the paths of an object's members, and whether one of them may be an object itself."""
        known = self._known_members.get((path, keys))
        if known is None:
            paths = [f"{path}.{plain_key(path, key)}" for key in keys]
            known = paths, any(inner.casefold() in self._objects for inner in paths)
            if all(type(key) is str for key in keys):
                if len(self._known_members) >= _MOST_KNOWN:
                    self._known_members.clear()
                self._known_members[path, keys] = known
        return known


def _object(path: str, value: Any) -> Mapping[Any, Any]:
    """Return an object; some databases give their JSON as text."""
    if isinstance(value, str):
        try:
            value = document(value)
        except ValueError:
            raise rules.NOT_AN_OBJECT.broken(field=path, kind="text that is not JSON") from None
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise rules.NOT_AN_OBJECT.broken(field=path, kind=type(value).__name__)
    return value


def _no_record(value: Any, position: int) -> InvalidRecord:
    if isinstance(value, Unreadable):
        refusal = (
            rules.UNREADABLE_JSON.refusal(line=value.line)
            if value.problem is None
            else rules.NOT_JSON.refusal(line=value.line, problem=value.problem)
        )
        return InvalidRecord(position, refusal, value.text)
    kind = type(value).__name__
    return InvalidRecord(position, rules.NOT_A_RECORD.refusal(kind=kind), as_json(value))
