"""The options of a mapping."""

from __future__ import annotations

import dataclasses
import datetime
from typing import TYPE_CHECKING

from airflow_provider_fullstory.exceptions import FullStoryMappingError
from airflow_provider_fullstory.records.refusals import ValueRefusedError
from airflow_provider_fullstory.records.rules import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import msgspec

    from airflow_provider_fullstory.records.kind import RecordKind


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
    :param record_key: Names of the columns whose values identify a record.
    """

    kind: RecordKind
    name: str | None = None
    mapping: Mapping[str, str] = dataclasses.field(default_factory=dict)
    zone: datetime.tzinfo = datetime.UTC
    schema: Mapping[str, str] = dataclasses.field(default_factory=dict)
    shared: msgspec.Struct | None = None
    allow_anonymous: bool = False
    allow_missing_timestamp: bool = False
    record_key: Sequence[str] = ()

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
        paths = {}
        for name in self.record_key:
            field = next(
                (field for field, column in self.mapping.items() if column.casefold() == name.casefold()),
                name,
            )
            path, problem = self.kind.path_of(field)
            if path is None:
                raise FullStoryMappingError(f"record_key has {quoted(name)}: {problem}.")
            paths[name] = list(path)
        return paths
