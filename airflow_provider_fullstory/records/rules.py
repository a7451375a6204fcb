"""
The rules for one record: what FullStory takes, each with its code, what to say, and where it is documented.

A rule that is broken refuses that record alone, before anything is sent. Rules about the text or the number
in one field are limits, listed by field; all others are listed by name. What they say names the field and the
kind of value, never the value.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from msgspec import UNSET, UnsetType

from airflow_provider_fullstory.records.refusals import (
    INVALID_ARGUMENT,
    INVALID_PARAMETER,
    REQUIRED_FIELD,
    Refusal,
    ValueRefusedError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_fullstory.api.events import Session, User

_EVENTS: Final = "developer.fullstory.com/server/events/create-batch-events-import-job"
_IDENTIFICATION: Final = "developer.fullstory.com/server/events/introduction"
_PROPERTIES: Final = "developer.fullstory.com/server/custom-properties"
_USERS: Final = "developer.fullstory.com/server/users/create-batch-user-import-job"
_JSON: Final = "RFC 8259"
#: What FullStory might take, but only this package could have put there by guessing.
_NO_GUESS: Final = "this package"

#: Longest name of a property, its parents and their dots included.
MAX_PROPERTY_NAME: Final = 512
#: Objects within objects; far beyond use, and far below what recursion can take.
MAX_LEVELS: Final = 100
#: Most characters of a name that a message quotes.
_LONGEST_QUOTE: Final = 80
_PROPERTY_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)
_SMALLEST_INTEGER: Final = -(2**63)
_LARGEST_INTEGER: Final = 2**63 - 1
_LARGEST_REAL: Final = Decimal("1.7976931348623157e308")


@dataclasses.dataclass(frozen=True, slots=True)
class Rule:
    """
    Something that every record must keep to.

    :param code: FullStory's code for a record that does not.
    :param says: What is wrong and how to mend it; names in braces stand for what is known of the place.
    :param source: Where it is documented.
    """

    code: str
    says: str
    source: str

    def refusal(self, **details: object) -> Refusal:
        """
        Return why a record is refused.

        :param details: What the names in braces stand for.
        """
        # Names and types may hold what has no UTF-8 form.
        reason = self.says.format(**details).encode("utf-8", "backslashreplace").decode()
        return Refusal(self.code, reason)

    def broken(self, **details: object) -> ValueRefusedError:
        """
        Return the refusal as an error.

        :param details: What the names in braces stand for.
        """
        return ValueRefusedError(self.refusal(**details))


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """
    What the text or the number in one field must keep to.

    :param source: Where it is documented.
    :param shortest: Fewest characters.
    :param longest: Most characters.
    :param form: What text must look like.
    :param form_name: The same, for a person.
    :param is_id: Whether text is an id: FullStory takes ``"u1 "`` and ``"u1"`` for two users.
    :param lowest: Smallest number.
    :param highest: Largest number.
    """

    source: str
    shortest: int = 0
    longest: int | None = None
    form: re.Pattern[str] | None = None
    form_name: str = ""
    is_id: bool = False
    lowest: int | None = None
    highest: int | None = None


_PIXELS: Final = Limits(_EVENTS, lowest=-(2**31), highest=2**31 - 1)
#: Limits by the path of the field.
LIMITS: Final = {
    "name": Limits(_EVENTS, shortest=1),
    "user.uid": Limits(_EVENTS, shortest=1, longest=256, is_id=True),
    "user.id": Limits(_EVENTS, shortest=1, is_id=True),
    "session.id": Limits(
        _EVENTS,
        shortest=1,
        form=re.compile(r"[^\s:/?#%]+:[^\s:/?#%]+"),
        form_name="UserId:SessionId",
        is_id=True,
    ),
    "session.uid": Limits(_EVENTS, shortest=1, longest=256, is_id=True),
    "context.device.screen_width": _PIXELS,
    "context.device.screen_height": _PIXELS,
    "context.device.viewport_width": _PIXELS,
    "context.device.viewport_height": _PIXELS,
    "context.location.country": Limits(
        _EVENTS, form=re.compile("[A-Za-z]{2}"), form_name="a country of two letters (ISO 3166-1 alpha-2)"
    ),
    "context.location.latitude": Limits(_EVENTS, lowest=-90, highest=90),
    "context.location.longitude": Limits(_EVENTS, lowest=-180, highest=180),
}
_NO_LIMITS: Final = Limits(_EVENTS)

EMPTY: Final = Rule(INVALID_PARAMETER, "{field} is empty", _EVENTS)
TOO_LONG: Final = Rule(INVALID_PARAMETER, "{field} is longer than {longest} characters", _EVENTS)
WRONG_FORM: Final = Rule(INVALID_PARAMETER, "{field} is text, but not {form}", _EVENTS)
PADDED: Final = Rule(
    INVALID_PARAMETER, "{field} has white space at its start or end; trim it in the query", _NO_GUESS
)
SESSION_URL: Final = Rule(
    INVALID_PARAMETER,
    "{field} is the URL of a session; the id is its part after /session/, decoded to UserId:SessionId",
    _EVENTS,
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
NOT_AN_OBJECT: Final = Rule(INVALID_ARGUMENT, "{field} must be an object, not {kind}", _EVENTS)
NO_JSON_FORM: Final = Rule(
    INVALID_ARGUMENT,
    "{field} is of type {kind}, which has no form in JSON; convert it to text or a number in the query",
    _JSON,
)
NOT_FINITE: Final = Rule(
    INVALID_ARGUMENT,
    "{field} is NaN, infinite or beyond 1.8e308, which JSON cannot say; make it NULL",
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
TOO_LARGE: Final = Rule(
    INVALID_ARGUMENT,
    "the record alone has {size} bytes, more than max_batch_bytes lets through",
    _NO_GUESS,
)

NO_TIMESTAMP: Final = Rule(
    REQUIRED_FIELD,
    "timestamp is NULL, so FullStory would take the time of the import; "
    "set allow_missing_timestamp=True if that is wanted",
    _EVENTS,
)
NO_NAME: Final = Rule(REQUIRED_FIELD, "name is missing; fill the column 'name' or set event_name", _EVENTS)
TWO_USERS: Final = Rule(
    INVALID_ARGUMENT, "user.uid and user.id are both given; FullStory takes one of them", _IDENTIFICATION
)
TWO_SESSIONS: Final = Rule(
    INVALID_ARGUMENT,
    "more than one of session.id, session.uid and session.use_most_recent is given; FullStory takes one",
    _IDENTIFICATION,
)
USER_AND_SESSION: Final = Rule(
    INVALID_ARGUMENT,
    "a user and a session's id are both given; the session says who the user is, so leave out the user",
    _IDENTIFICATION,
)
RECENT_SESSION_OF_NOBODY: Final = Rule(
    REQUIRED_FIELD, "session.use_most_recent needs user.uid or user.id, which is missing", _IDENTIFICATION
)
ANONYMOUS: Final = Rule(
    REQUIRED_FIELD,
    "neither a user nor a session is given, so FullStory would make up an anonymous user; "
    "set allow_anonymous=True if that is wanted",
    _IDENTIFICATION,
)


def check_text(field: str, text: str) -> str:
    """
    Return text that may stand in a field.

    :param field: Path of the field.
    :param text: The text.
    :raises ValueRefusedError: Where a limit of the field is passed.
    """
    limits = LIMITS.get(field, _NO_LIMITS)
    if len(text) < limits.shortest:
        raise EMPTY.broken(field=field)
    if limits.longest is not None and len(text) > limits.longest:
        raise TOO_LONG.broken(field=field, longest=limits.longest)
    if limits.is_id and text != text.strip():
        raise PADDED.broken(field=field)
    if field == "session.id" and "://" in text:
        raise SESSION_URL.broken(field=field)
    if limits.form is not None and not limits.form.fullmatch(text):
        raise WRONG_FORM.broken(field=field, form=limits.form_name)
    return text


def are_texts(field: str, texts: Sequence[str]) -> bool:
    """
    Tell whether all of some texts may stand in a field; one look at all is much faster than one at each.

    :param field: Path of the field.
    :param texts: The texts, at least one.
    """
    limits = LIMITS.get(field, _NO_LIMITS)
    lengths = set(map(len, texts))
    return (
        is_utf8("".join(texts))
        and min(lengths) >= limits.shortest
        and (limits.longest is None or max(lengths) <= limits.longest)
        and (not limits.is_id or list(map(str.strip, texts)) == list(texts))
        and (limits.form is None or all(map(limits.form.fullmatch, set(texts))))
    )


def check_number(field: str, number: float | Decimal) -> float | Decimal:
    """
    Return a number that may stand in a field.

    :param field: Path of the field.
    :param number: The number, which is finite.
    :raises ValueRefusedError: Where a limit of the field is passed.
    """
    limits = LIMITS.get(field, _NO_LIMITS)
    if (limits.lowest is not None and number < limits.lowest) or (
        limits.highest is not None and number > limits.highest
    ):
        raise OUT_OF_RANGE.broken(field=field, lowest=limits.lowest, highest=limits.highest)
    return number


def quoted(name: str) -> str:
    """
    Return the name of a column, key or property for a message: names of nested ones are endless.

    :param name: The name.
    """
    return repr(name if len(name) <= _LONGEST_QUOTE else f"{name[:_LONGEST_QUOTE]}...")


def property_name_problem(name: str) -> str | None:
    """
    Return what is wrong with a property's dotted name, None where nothing is.

    :param name: The name with its parents, such as ``address.city``.
    """
    if len(name) > MAX_PROPERTY_NAME:
        return NAME_TOO_LONG.says
    return None if _has_good_characters(name) else NAME_CHARACTERS.says


@functools.lru_cache(maxsize=4096)
def _has_good_characters(name: str) -> bool:
    return all(_PROPERTY_NAME.fullmatch(part) for part in name.split("."))


def is_utf8(text: str) -> bool:
    """
    Tell whether text has a UTF-8 form.

    :param text: The text; several of them, joined, take one look.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def fits_64_bits(number: int) -> bool:
    """
    Tell whether an integer is one that readers of JSON can be expected to keep.

    :param number: The integer.
    """
    return _SMALLEST_INTEGER <= number <= _LARGEST_INTEGER


def is_json_number(value: Any) -> bool:
    """
    Tell whether a value is a number that a reader of JSON can take for a real.

    :param value: Any value.
    """
    if isinstance(value, bool):
        return False
    if isinstance(value, Decimal):
        # copy_abs, unlike abs, does not round, which fails for huge exponents.
        return value.is_finite() and value.copy_abs() <= _LARGEST_REAL
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and fits_64_bits(value)


def are_json_numbers(values: Sequence[Decimal]) -> bool:
    """
    Tell whether all of some Decimals are such numbers; one look at all is much faster than one at each.

    :param values: The Decimals, at least one.
    """
    return all(map(Decimal.is_finite, values)) and max(map(Decimal.copy_abs, values)) <= _LARGEST_REAL


def check_elements(field: str, elements: Sequence[Any]) -> None:
    """
    Refuse an array that holds several kinds of values: FullStory's types of arrays have one each.

    :param field: The property.
    :param elements: Its elements, as they are sent.
    :raises ValueRefusedError: Where they are of several kinds.
    """
    kinds = {_kind(element) for element in elements}
    if len(kinds) > 1:
        raise MIXED_ARRAY.broken(field=field, kind=" and ".join(sorted(kinds)))


def _kind(element: Any) -> str:
    if isinstance(element, bool):
        return "truth values"
    return "numbers" if isinstance(element, (int, float, Decimal)) else "text or dates"


def identity_refusal(
    user: User | UnsetType, session: Session | UnsetType, *, allow_anonymous: bool
) -> Rule | None:
    """
    Return the rule that the identity of an event breaks, None where it breaks none.

    :param user: The event's user, or the one shared by all.
    :param session: The event's session, or the one shared by all.
    :param allow_anonymous: Whether an event may have neither.
    """
    if user is not UNSET and user.uid is not UNSET and user.id is not UNSET:
        return TWO_USERS
    if session is UNSET:
        return ANONYMOUS if user is UNSET and not allow_anonymous else None
    given = [way is not UNSET for way in (session.id, session.uid, session.use_most_recent)]
    if sum(given) > 1:
        return TWO_SESSIONS
    if session.use_most_recent is not UNSET:
        return RECENT_SESSION_OF_NOBODY if user is UNSET else None
    return None if user is UNSET else USER_AND_SESSION
