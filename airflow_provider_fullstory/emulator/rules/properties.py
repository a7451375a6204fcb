"""
Custom properties: names, values and declared types (developer.fullstory.com/server/custom-properties).

The rules for names are documented for users; here they hold for events as well. An event that breaks one is
rejected, a user is imported without the property.
"""

from __future__ import annotations

import functools
import re
from datetime import datetime
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

MAX_NAME_LENGTH = 512
MAX_VALUE_BYTES = 8192
MAX_USER_PROPERTIES = 500

_OBJECT = ord("{")
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TEXT = msgspec.json.Decoder(str)

PropertyType = Literal["str", "strs", "int", "ints", "real", "reals", "bool", "bools", "date", "dates"]


class RecordError(Exception):
    """
    Reject one record; the other records of its batch are imported.

    :param code: One of FullStory's codes, such as ``required_field``.
    :param message: What is wrong, in plain words.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Schema(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """
    Declare types of properties, in place of the types that FullStory infers.

    :param properties: Types by name; the name of a nested property is its dotted path.
    """

    properties: dict[str, PropertyType] | None = None


def check_properties(values: Mapping[str, object], field: str, parents: str = "") -> None:
    """
    Check that names and values are allowed for custom properties.

    :param field: Field that holds them.
    :param parents: Dotted path of the property they are nested in, with a dot at its end.
    :raises RecordError: If one is not allowed.
    """
    problem = _problem_of_names(tuple(values), parents)
    if problem is not None:
        raise RecordError("invalid_argument", f"{field}.{parents}{problem}")
    for name, value in values.items():
        if isinstance(value, dict):
            check_properties(value, field, f"{parents}{name}.")
        elif isinstance(value, list) and not _is_array(value):
            rule = "must be an array of strings, of numbers or of booleans"
            raise RecordError("invalid_argument", f"{field}.{parents}{name} {rule}")


def check_declared_types(values: Mapping[str, object], schema: Schema | None, field: str) -> None:
    """
    Check that values have their declared types.

    Unknown: whether FullStory converts values, for example the string "12" to an integer. Here it does not. A
    declared type for a property that was not sent is harmless.

    :raises RecordError: If a value has another type.
    """
    if schema is None or schema.properties is None:
        return
    for path, declared in schema.properties.items():
        value = _select(values, path)
        if value is not None and not _FITS[declared](value):
            raise RecordError(
                "invalid_argument", f"{field}.{path} does not have its declared type {declared}"
            )


def leaves(values: Mapping[str, object], parents: str = "") -> Iterator[tuple[str, object]]:
    """Iterate over all properties by their dotted paths, without those that only hold others."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{parents}{name}.")
        else:
            yield parents + name, value


def types_of(values: Mapping[str, object], schema: Schema | None) -> dict[str, str]:
    """
    Return the type of each property: the declared one, or else the one that FullStory infers.

    Each number is inferred as ``real``.
    """
    types: dict[str, str] = {}
    for path, value in leaves(values):
        if isinstance(value, list):
            types[path] = f"{_inferred(value[0])}s" if value else "strs"
        elif value is not None:
            types[path] = _inferred(value)
    return types | dict((schema and schema.properties) or {})


def kept_properties(values: Mapping[str, msgspec.Raw]) -> dict[str, msgspec.Raw]:
    """
    Drop what FullStory does not take of a user's properties; the user itself is imported.

    Documented: a value that is larger than 8192 bytes is rejected as a property. Unknown, and decided here:
    the same holds for a name that is not allowed, and for what is beyond 500 properties. The size of text is
    that of its UTF-8, the size of anything else that of its JSON. An object has no size: each property inside
    it is measured, and counted, on its own. Of too many, those that come last in the JSON are dropped.
    """
    # Almost all users keep all properties.
    if (
        len(values) <= MAX_USER_PROPERTIES
        and _problem_of_names(tuple(values), "") is None
        and all(len(value) <= MAX_VALUE_BYTES and bytes(value)[0] != _OBJECT for value in values.values())
    ):
        return dict(values)
    kept, _ = _kept(values, "", MAX_USER_PROPERTIES)
    return kept


def merged_properties(
    known: Mapping[str, msgspec.Raw], sent: Mapping[str, msgspec.Raw]
) -> dict[str, msgspec.Raw]:
    """
    Return properties of which those that are sent replace those that are known.

    Unknown: whether an object that is sent replaces one that is known. Here each property inside it does so
    on its own, as it is named and counted on its own.
    """
    merged = dict(known)
    for name, value in sent.items():
        if name in known and bytes(value)[0] == bytes(known[name])[0] == _OBJECT:
            members = merged_properties(_MEMBERS.decode(known[name]), _MEMBERS.decode(value))
            merged[name] = msgspec.Raw(msgspec.json.encode(members))
        else:
            merged[name] = value
    return merged


def is_iso_date(value: str) -> bool:
    """Return whether a string is a valid date in ISO 8601, with or without a time."""
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def _kept(values: Mapping[str, msgspec.Raw], parents: str, left: int) -> tuple[dict[str, msgspec.Raw], int]:
    """Return the properties that are kept, and how many more may be."""
    kept: dict[str, msgspec.Raw] = {}
    for name, value in values.items():
        if _problem_of_name(name, parents) is not None:
            continue
        if bytes(value)[0] == _OBJECT:
            members, left = _kept(_MEMBERS.decode(value), f"{parents}{name}.", left)
            if members:
                kept[name] = msgspec.Raw(msgspec.json.encode(members))
        elif left and _size(value) <= MAX_VALUE_BYTES:
            kept[name] = value
            left -= 1
    return kept, left


def _size(value: msgspec.Raw) -> int:
    text = bytes(value)
    # JSON text is at least as long as what it says.
    if len(text) > MAX_VALUE_BYTES and text.startswith(b'"'):
        return len(_TEXT.decode(text).encode())
    return len(text)


# The records of a batch mostly share their names, so each set of names is checked once.
@functools.lru_cache(maxsize=1_000)
def _problem_of_names(names: tuple[str, ...], parents: str) -> str | None:
    problems = (_problem_of_name(name, parents) for name in names)
    return next((problem for problem in problems if problem is not None), None)


@functools.lru_cache(maxsize=10_000)
def _problem_of_name(name: str, parents: str) -> str | None:
    if not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name):
        return f"{name} must start with a letter and consist of letters, digits and underscores"
    if len(parents) + len(name) > MAX_NAME_LENGTH:
        return f"{name} is longer than {MAX_NAME_LENGTH} characters, parents included"
    return None


def _is_array(values: list[object]) -> bool:
    # Unknown: what becomes of null or of mixed types in an array. No type of the API can hold them, so they
    # are rejected like an array of objects, which is the documented case.
    types = set(map(type, values))
    return types <= {str} or types <= {int, float} or types <= {bool}


def _select(values: object, path: str) -> object:
    for name in path.split("."):
        values = values.get(name) if isinstance(values, dict) else None
    return values


def _inferred(value: object) -> str:
    if isinstance(value, bool):
        return "bool"
    return "real" if isinstance(value, int | float) else "str"


def _is_integer(value: object) -> bool:
    # JSON has one kind of number, so 5.0 is the integer 5.
    whole = isinstance(value, float) and value.is_integer()
    return (whole or type(value) is int) and -(2**63) <= value < 2**63  # type: ignore[operator]


def _is_real(value: object) -> bool:
    return type(value) in {int, float}


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_date(value: object) -> bool:
    return isinstance(value, str) and is_iso_date(value)


def _every(fits: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list) and all(map(fits, value))


_FITS: Mapping[PropertyType, Callable[[object], bool]] = {
    "str": _is_text,
    "strs": _every(_is_text),
    "int": _is_integer,
    "ints": _every(_is_integer),
    "real": _is_real,
    "reals": _every(_is_real),
    "bool": _is_flag,
    "bools": _every(_is_flag),
    "date": _is_date,
    "dates": _every(_is_date),
}
