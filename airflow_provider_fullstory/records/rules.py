"""
The rules for one record: each with its code, its message, and the page that documents it.

A rule that is broken refuses that record alone, before it is sent. The rules that only one kind of records
has, and the limits of its fields, are with the kind. A message names the field and the type of the value,
never the value.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from typing import Final

from airflow_provider_fullstory.records.refusals import (
    INVALID_ARGUMENT,
    INVALID_PARAMETER,
    Refusal,
    ValueRefusedError,
)

_EVENTS: Final = "developer.fullstory.com/server/events/create-batch-events-import-job"
_PROPERTIES: Final = "developer.fullstory.com/server/custom-properties"
_USERS: Final = "developer.fullstory.com/server/users/create-batch-user-import-job"
_JSON: Final = "RFC 8259"
#: FullStory might take such a value, but this package would have to guess it.
_NO_GUESS: Final = "this package"

#: Longest name of a property, its parents and their dots included.
MAX_PROPERTY_NAME: Final = 512
#: Most objects inside one another; far beyond use, and far below the limit of recursion.
MAX_LEVELS: Final = 100
#: Most characters of a name that a message quotes.
_LONGEST_QUOTE: Final = 80
_PROPERTY_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)


@dataclasses.dataclass(frozen=True, slots=True)
class Rule:
    """
    A rule that every record must keep.

    :param code: FullStory's code for a record that breaks it.
    :param says: What is wrong and how to fix it; names in braces stand for the details of the case.
    :param source: The page that documents it.
    """

    code: str
    says: str
    source: str

    def refusal(self, **details: object) -> Refusal:
        """Return why a record is refused."""
        # Names and types may hold characters without a UTF-8 form.
        reason = self.says.format(**details).encode("utf-8", "backslashreplace").decode()
        return Refusal(self.code, reason)

    def broken(self, **details: object) -> ValueRefusedError:
        """Return the refusal as an error."""
        return ValueRefusedError(self.refusal(**details))


EMPTY: Final = Rule(INVALID_PARAMETER, "{field} is empty", _EVENTS)
TOO_LONG: Final = Rule(INVALID_PARAMETER, "{field} is longer than {longest} characters", _EVENTS)
WRONG_FORM: Final = Rule(INVALID_PARAMETER, "{field} is text, but not {form}", _EVENTS)
PADDED: Final = Rule(
    INVALID_PARAMETER, "{field} has white space at its start or end; trim it in the query", _NO_GUESS
)
OUT_OF_RANGE: Final = Rule(INVALID_PARAMETER, "{field} is not between {lowest} and {highest}", _EVENTS)
NOT_TEXT: Final = Rule(INVALID_ARGUMENT, "{field} must be text, not {kind}; cast it in the query", _NO_GUESS)
NOT_WHOLE: Final = Rule(INVALID_ARGUMENT, "{field} must be a whole number, not {kind}", _EVENTS)
NOT_A_NUMBER: Final = Rule(INVALID_ARGUMENT, "{field} must be a finite number, not {kind}", _EVENTS)
NOT_A_TRUTH: Final = Rule(INVALID_ARGUMENT, "{field} must be true or false, not {kind}", _EVENTS)
NOT_ISO: Final = Rule(
    INVALID_PARAMETER,
    "{field} is text that is not ISO 8601 (2026-01-31T09:30:00Z); cast it to a timestamp in the query",
    _EVENTS,
)
EPOCH_TEXT: Final = Rule(
    INVALID_PARAMETER,
    "{field} is a number as text, not ISO 8601; make it a timestamp in the query (to_timestamp)",
    _NO_GUESS,
)
NOT_A_TIMESTAMP: Final = Rule(
    INVALID_PARAMETER,
    "{field} must be a timestamp, a date or text in ISO 8601, not {kind}; convert it in the query",
    _EVENTS,
)
NO_MOMENT: Final = Rule(INVALID_PARAMETER, "{field} is not a moment between the years 1 and 9999", _EVENTS)

NAME_TOO_LONG: Final = Rule(
    INVALID_ARGUMENT,
    f"property names have at most {MAX_PROPERTY_NAME} characters, their parents included",
    _USERS,
)
NAME_CHARACTERS: Final = Rule(
    INVALID_ARGUMENT,
    "property names start with a letter and have only letters, digits and underscores",
    _USERS,
)
BAD_NAME: Final = Rule(INVALID_ARGUMENT, "{field}: {problem}", _USERS)
GIVEN_TWICE: Final = Rule(INVALID_ARGUMENT, "{field} is given twice, in two spellings", _JSON)
KEY_NOT_TEXT: Final = Rule(INVALID_ARGUMENT, "{owner} has a key of type {kind}, not text", _JSON)
TOO_DEEP: Final = Rule(
    INVALID_ARGUMENT, f"{{field}}: objects are nested more than {MAX_LEVELS} deep", _NO_GUESS
)
NOT_A_DOCUMENT: Final = Rule(
    INVALID_ARGUMENT,
    "{field} is one of json_columns, but its text is not JSON; make it NULL in the query, or leave it out of "
    "json_columns",
    _JSON,
)
NOT_AN_OBJECT: Final = Rule(INVALID_ARGUMENT, "{field} must be an object, not {kind}", _EVENTS)
NO_JSON_FORM: Final = Rule(
    INVALID_ARGUMENT,
    "{field} is of type {kind}, which has no form in JSON; convert it to text or a number in the query",
    _JSON,
)
NOT_FINITE: Final = Rule(
    INVALID_ARGUMENT,
    "{field} is NaN, infinite or beyond 1.8e308, which JSON cannot express; make it NULL",
    _JSON,
)
NO_PROPERTY_MOMENT: Final = Rule(INVALID_ARGUMENT, NO_MOMENT.says, _PROPERTIES)
BEYOND_64_BITS: Final = Rule(
    INVALID_ARGUMENT, "{field} is an integer beyond 64 bits; send it as text", _PROPERTIES
)
HALF_A_PAIR: Final = Rule(
    INVALID_ARGUMENT, "{field} holds half of a surrogate pair, which has no UTF-8 form", _JSON
)
NESTED_ARRAY: Final = Rule(
    INVALID_ARGUMENT,
    "{field} is an array of {kind}, which FullStory does not take; send it as text or as properties of "
    "their own",
    _PROPERTIES,
)
MIXED_ARRAY: Final = Rule(
    INVALID_ARGUMENT,
    "{field} is an array of {kind}; FullStory's arrays hold one kind: text, numbers, truth values or dates",
    _PROPERTIES,
)
PROPERTY_TOO_LARGE: Final = Rule(
    INVALID_ARGUMENT,
    "property {name} is larger than {longest:,} bytes, so FullStory would leave it out; shorten it in the "
    "query, or set drop_invalid_properties=True",
    _USERS,
)
TOO_MANY_PROPERTIES: Final = Rule(
    INVALID_ARGUMENT,
    "the record has more than {most} properties, and FullStory would leave out the others; select fewer, or "
    "set drop_invalid_properties=True",
    _USERS,
)
GIVEN_BEFORE: Final = Rule(
    INVALID_ARGUMENT,
    "{field} is that of an earlier record of this import, and FullStory does not say which of the two "
    "counts; let the source give one record for each",
    _NO_GUESS,
)
NOT_AS_DECLARED: Final = Rule(
    INVALID_ARGUMENT, "property {name} is declared {declared!r}, which its value is not", _PROPERTIES
)
SCHEMA_FORM: Final = Rule(
    INVALID_ARGUMENT, '{field} must have the form {{"properties": {{"quantity": "int"}}}}', _EVENTS
)
SCHEMA_NAME: Final = Rule(
    INVALID_ARGUMENT, "{field} declares a type for what is not the name of a property", _EVENTS
)
SCHEMA_TYPE: Final = Rule(INVALID_ARGUMENT, "{field} declares a type that is none of {types}", _PROPERTIES)

NOT_A_RECORD: Final = Rule(INVALID_ARGUMENT, "a record must be an object (dict), not {kind}", _EVENTS)
NOT_JSON: Final = Rule(INVALID_ARGUMENT, "{line} is not JSON: {problem}", _JSON)
UNREADABLE_JSON: Final = Rule(
    INVALID_ARGUMENT, "{line} is nested too deep, or has a number that is too large", _NO_GUESS
)
MISPLACED: Final = Rule(INVALID_ARGUMENT, "{problem}", _EVENTS)
NO_INSERT_ID: Final = Rule(
    INVALID_ARGUMENT, "{field} is missing or NULL, but part of the insert id, which names a record", _NO_GUESS
)
TOO_LARGE: Final = Rule(
    INVALID_ARGUMENT,
    "the record alone has {size} bytes, more than max_batch_bytes allows",
    _NO_GUESS,
)


def quoted(name: str) -> str:
    """Return the name of a column, key or property for a message, cut if it is too long."""
    return repr(name if len(name) <= _LONGEST_QUOTE else f"{name[:_LONGEST_QUOTE]}...")


def property_name_problem(name: str) -> str | None:
    """
    Return what is wrong with a property's dotted name, None if it is good.

    :param name: The name with its parents, such as ``address.city``.
    """
    if len(name) > MAX_PROPERTY_NAME:
        return NAME_TOO_LONG.says
    return None if _has_good_characters(name) else NAME_CHARACTERS.says


@functools.lru_cache(maxsize=4096)
def _has_good_characters(name: str) -> bool:
    return all(_PROPERTY_NAME.fullmatch(part) for part in name.split("."))
