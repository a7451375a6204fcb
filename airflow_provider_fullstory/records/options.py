"""The options of a mapping."""

from __future__ import annotations

import dataclasses
import datetime
from typing import TYPE_CHECKING, Final

from airflow_provider_fullstory.api.encoding import ENCODER
from airflow_provider_fullstory.exceptions import FullStoryMappingError
from airflow_provider_fullstory.records.insert_ids import INSERT_ID_BYTES, KEYED_ID_BYTES
from airflow_provider_fullstory.records.refusals import ValueRefusedError
from airflow_provider_fullstory.records.rules import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import msgspec

    from airflow_provider_fullstory.records.fields import Path
    from airflow_provider_fullstory.records.kind import RecordKind

#: Stands for all columns in ``insert_id``.
WHOLE_RECORD: Final = "*"


@dataclasses.dataclass(frozen=True, slots=True)
class MappingOptions:
    """
    The options of a mapping from rows to records.

    :param kind: The kind of records.
    :param name: Name of every record, if no column holds it.
    :param mapping: Path of the API -> name of the column.
    :param zone: What timestamps without an offset mean.
    :param schema: Dotted name of a property -> the type to declare for it.
    :param shared: What all records of a request have in common, None if they share nothing.
    :param allow_anonymous: Whether a record may lack an identity.
    :param allow_missing_timestamp: Whether the timestamp may be NULL.
    :param drops_invalid_properties: Whether a property that FullStory would leave out is left out here, and
        counted, rather than refused with its record.
    :param record_key: Names of the columns whose values identify a record.
    :param excluded: Names of columns that are not sent.
    :param json_columns: Names of the columns whose text is JSON.
    :param insert_id: Names of the columns whose values name a record forever, or ``*`` alone for the whole
        record; empty if records need no insert ids.
    """

    kind: RecordKind
    name: str | None = None
    mapping: Mapping[str, str] = dataclasses.field(default_factory=dict)
    zone: datetime.tzinfo = datetime.UTC
    schema: Mapping[str, str] = dataclasses.field(default_factory=dict)
    shared: msgspec.Struct | None = None
    allow_anonymous: bool = False
    allow_missing_timestamp: bool = False
    drops_invalid_properties: bool = False
    record_key: Sequence[str] = ()
    excluded: Sequence[str] = ()
    json_columns: Sequence[str] = ()
    insert_id: Sequence[str] = ()

    def check(self) -> None:
        """
        Refuse options that are wrong for any record.

        :raises FullStoryMappingError: Naming what is wrong.
        """
        for path in self.mapping:
            _, problem = self.kind.path_of(path)
            if problem:
                raise FullStoryMappingError(f"mapping has the key {quoted(path)}: {problem}.")
        self.key_paths()
        self.insert_id_paths()
        self.json_paths()
        if self.name is not None:
            argument = self.kind.name_argument
            if self.kind.name is None:
                raise FullStoryMappingError(f"{argument} is set, but {self.kind.resource} have no name.")
            if not isinstance(self.name, str):
                raise FullStoryMappingError(f"{argument} is {self.name!r}; it must be text.")
            try:
                self.kind.fields[self.kind.name.path].convert(self.name, self.zone)
            except ValueRefusedError as error:
                raise FullStoryMappingError(f"{argument} cannot be sent: {error}.") from None

    def key_paths(self) -> dict[str, list[str]]:
        """
        Return the path of each key column, by its name.

        :raises FullStoryMappingError: If a key column goes to no field.
        """
        return {name: list(self._path_of(name, "record_key")) for name in self.record_key}

    def insert_id_paths(self) -> list[Path]:
        """
        Return the path of each column of the insert id; none for the whole record.

        :raises FullStoryMappingError: If a column goes to no field.
        """
        if self.is_insert_id_whole:
            return []
        paths = [self._path_of(name, "insert_id") for name in self.insert_id]
        for name, path in zip(self.insert_id, paths, strict=True):
            if ".".join(path) in self.kind.objects:
                raise FullStoryMappingError(
                    f"insert_id has {quoted(name)}, which is an object; name the fields inside it."
                )
        return paths

    def json_paths(self) -> list[Path]:
        """
        Return the paths of the columns whose text is JSON.

        :raises FullStoryMappingError: If one of them is no property.
        """
        paths = [path for name in self.json_columns for path in self._paths_of(name, "json_columns")]
        for path in paths:
            # The text of an object, such as context, is read as JSON anyway.
            if path[0] not in self.kind.property_roots and ".".join(path) not in self.kind.objects:
                raise FullStoryMappingError(
                    f"json_columns leads to {quoted('.'.join(path))}, which is no property, so it holds no "
                    "object; leave it out of json_columns."
                )
        return paths

    def insert_id_definition(self) -> list[str]:
        """Return the insert id as a sync remembers it: dotted paths of fields, or ``*``."""
        return (
            list(self.insert_id) if self.is_insert_id_whole else list(map(".".join, self.insert_id_paths()))
        )

    @property
    def insert_id_bytes(self) -> int:
        """The bytes of an insert id, which is keyed where a whole record changes an earlier one."""
        return KEYED_ID_BYTES if self.is_insert_id_whole and self.kind.is_upserted else INSERT_ID_BYTES

    @property
    def shared_json(self) -> bytes:
        """The JSON of what all records of a request have in common; empty if they share nothing."""
        return b"" if self.shared is None else ENCODER.encode(self.shared)

    @property
    def is_insert_id_whole(self) -> bool:
        """Whether the whole record is its insert id."""
        return list(self.insert_id) == [WHOLE_RECORD]

    @property
    def is_upserted(self) -> bool:
        """Whether a record that is sent again changes what FullStory has, rather than doubles it."""
        return self.kind.is_upserted and not self.allow_anonymous

    def is_excluded(self, name: str) -> bool:
        """Return whether a column is not sent."""
        return any(name.casefold() == excluded.casefold() for excluded in self.excluded)

    def dropped_because(self, name: str) -> str | None:
        """Return why a column is left out although it is not excluded, None if it is not."""
        return self.kind.property_problem(name) if self.drops_invalid_properties else None

    def _path_of(self, name: str, argument: str) -> Path:
        return self._paths_of(name, argument)[0]

    def _paths_of(self, name: str, argument: str) -> list[Path]:
        if self.is_excluded(name):
            raise FullStoryMappingError(
                f"{argument} has {quoted(name)}, which exclude_columns keeps from being sent."
            )
        fields = [field for field, column in self.mapping.items() if column.casefold() == name.casefold()]
        paths = []
        for field in fields or [name]:
            path, problem = self.kind.path_of(field)
            if path is None:
                raise FullStoryMappingError(f"{argument} has {quoted(name)}: {problem}.")
            paths.append(path)
        return paths
