"""
A kind of records as data, which the rest of the package reads.

The fields of a kind are read from its wire type. A field that is added there is mapped, checked, sent and
previewed, written down if its record is refused, and part of the fingerprint of its record.
"""

from __future__ import annotations

import dataclasses
import difflib
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias, cast

import msgspec

from airflow_provider_fullstory.records.fields import Field, Path, field_of
from airflow_provider_fullstory.records.limits import NO_LIMITS, Limits, PropertyLimits
from airflow_provider_fullstory.records.rules import Rule, property_name_problem, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from airflow_provider_fullstory.api.jobs import Resource

Struct: TypeAlias = type[msgspec.Struct]


@dataclasses.dataclass(frozen=True, slots=True)
class RequiredField:
    """
    A field that every record of the kind should fill.

    :param path: The field, directly inside a record.
    :param missing: The rule that a record without it breaks.
    """

    path: str
    missing: Rule


@dataclasses.dataclass(frozen=True, slots=True)
class Identity:
    """
    How a record says whom it is about.

    :param fields: Dotted paths of the fields that say so.
    :param broken: Returns the rule that a record breaks if it fills just the given fields, None if it breaks
        none.
    :param anonymous: The rule that a record without a user or session breaks; users may allow these records.
    """

    fields: tuple[str, ...]
    broken: Callable[[frozenset[str]], Rule | None]
    anonymous: Rule


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class RecordKind:
    """
    One kind of records that FullStory imports.

    :param resource: Its part of the URL; also the word for several records, and the operator's argument.
    :param noun: The word for one record; also its key in a line of the file of refused records, and a field
        of :class:`~airflow_provider_fullstory.api.jobs.RecordError`.
    :param struct: Its wire type, whose order of fields is the order of the bytes in a body.
    :param property_roots: Fields whose members users name, each with the field that declares the types of
        these. A column without a field becomes a property of the first.
    :param limits: Limits of fields by dotted path.
    :param property_limits: Limits of its properties, beyond which FullStory leaves a property out and imports
        the record; None if there are none.
    :param shared: Wire type of what the records of a request may have in common, None if they share nothing.
    :param identity: How a record says whom it is about, None if it need not.
    :param name: The field that one name may fill for all records of an import, if there is one.
    :param timestamp: The field that says when it happened, if there is one. A source may lack it; a record
        in which it is NULL breaks the rule.
    :param counts_against_quota: Whether records count against the monthly quota of server events.
    :param upsert_key: Fields, each of which says which earlier record a record changes, the first one that it
        fills above all; empty if every record is a new one.
    """

    resource: Resource
    noun: str
    struct: Struct
    property_roots: Mapping[str, str]
    limits: Mapping[str, Limits] = dataclasses.field(default_factory=dict)
    property_limits: PropertyLimits | None = None
    shared: Struct | None = None
    identity: Identity | None = None
    name: RequiredField | None = None
    timestamp: RequiredField | None = None
    counts_against_quota: bool = False
    upsert_key: tuple[str, ...] = ()

    @property
    def name_argument(self) -> str:
        """The operator's argument with the name of all records."""
        return f"{self.noun}_name"

    @property
    def is_upserted(self) -> bool:
        """Whether a record that is sent again changes what FullStory has, so that nothing is doubled."""
        return bool(self.upsert_key)

    @cached_property
    def structs(self) -> dict[Path, Struct]:
        """The wire types of the record, at the empty path, and of each object inside it."""
        return dict(_structs(self.struct, ()))

    @cached_property
    def members(self) -> dict[Path, tuple[str, ...]]:
        """The names of the members of each struct, in the order in which they are sent."""
        return {
            path: tuple(field.encode_name for field in _fields(struct))
            for path, struct in self.structs.items()
        }

    @cached_property
    def fields(self) -> dict[str, Field]:
        """The fields that columns fill by dotted path; neither properties nor the declarations of types."""
        users_own = {*self.property_roots, *self.schema_roots}
        return {
            dotted: field_of(dotted, field.type, self.limits.get(dotted, NO_LIMITS))
            for path, struct in self.structs.items()
            for field in _fields(struct)
            if not isinstance(field.type, msgspec.inspect.StructType)
            and (dotted := ".".join((*path, field.encode_name))) not in users_own
        }

    @cached_property
    def timestamps(self) -> frozenset[Path]:
        """Paths of the fields that take timestamps."""
        return frozenset(tuple(path.split(".")) for path, field in self.fields.items() if field.is_timestamp)

    @cached_property
    def objects(self) -> frozenset[str]:
        """Dotted paths of its objects, such as ``user`` and ``context.browser``."""
        return frozenset({".".join(path) for path in self.structs if path} | set(self.property_roots))

    @cached_property
    def schema_roots(self) -> frozenset[str]:
        """Fields that declare the types of properties."""
        return frozenset(self.property_roots.values())

    @cached_property
    def default_root(self) -> str:
        """The field that takes every column without a field."""
        return next(iter(self.property_roots))

    def path_of(self, name: str) -> tuple[Path | None, str | None]:
        """
        Return the path of a column, or what is wrong with its name.

        Fields are matched without case, since some databases fold the names of columns.

        :param name: Name of the column, or a path given by the user.
        """
        folded = name.casefold()
        if folded in self.fields or folded in self.objects or folded in self.schema_roots:
            return tuple(folded.split(".")), None
        path = self._property_path(name)
        if path is None:
            problem = f"FullStory's {self.resource} have no field {quoted(name)}{self._suggestion(folded)}"
            return None, problem
        name_problem = property_name_problem(".".join(path[1:]))
        return (None, name_problem) if name_problem else (path, None)

    def property_problem(self, name: str) -> str | None:
        """
        Return why FullStory leaves out the property that a column goes to, None if it takes its name.

        :param name: Name of the column. None too if it goes to no property.
        """
        if name.casefold() in self.fields or self.property_limits is None:
            return None
        path = self._property_path(name)
        return None if path is None else property_name_problem(".".join(path[1:]))

    def _property_path(self, name: str) -> Path | None:
        """Return the path of the property that a name outside the fields stands for, None if for none."""
        root, dot, rest = name.partition(".")
        if not dot:
            return (self.default_root, name)
        return (root.casefold(), *rest.split(".")) if root.casefold() in self.property_roots else None

    def _suggestion(self, name: str) -> str:
        # Another kind may have the same field inside an object, such as user.uid.
        last = name.rpartition(".")[2]
        close = [last] if last in self.fields else difflib.get_close_matches(name, self.fields, n=1)
        meant = f" (did you mean {close[0]!r}?)" if close else ""
        return f"{meant}; a property of that name is written {quoted(f'{self.default_root}.{name}')}"


def _structs(struct: Struct, path: Path) -> Iterator[tuple[Path, Struct]]:
    yield path, struct
    for field in _fields(struct):
        if isinstance(field.type, msgspec.inspect.StructType):
            yield from _structs(field.type.cls, (*path, field.encode_name))


def _fields(struct: Struct) -> tuple[msgspec.inspect.Field, ...]:
    return cast("msgspec.inspect.StructType", msgspec.inspect.type_info(struct)).fields
