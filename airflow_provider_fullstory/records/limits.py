"""The limits of a field's text or number, as data, and their checks."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

from airflow_provider_fullstory.records import rules
from airflow_provider_fullstory.records.json_values import is_utf8

if TYPE_CHECKING:
    import re
    from collections.abc import Sequence
    from decimal import Decimal


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """
    The limits of one field.

    :param source: The page that documents them.
    :param shortest: Fewest characters.
    :param longest: Most characters.
    :param form: What text must look like.
    :param form_name: The same, for a person.
    :param is_id: Whether text is an id: FullStory takes ``"u1 "`` and ``"u1"`` for two users.
    :param url_rule: The rule that a URL breaks, if people mistake one for the value.
    :param lowest: Smallest number.
    :param highest: Largest number.
    """

    source: str
    shortest: int = 0
    longest: int | None = None
    form: re.Pattern[str] | None = None
    form_name: str = ""
    is_id: bool = False
    url_rule: rules.Rule | None = None
    lowest: int | None = None
    highest: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class PropertyLimits:
    """
    The limits of the properties of one record.

    :param source: The page that documents them.
    :param most: Most properties; one inside an object counts, the object itself does not.
    :param longest_bytes: Most bytes of a value: of text its UTF-8, of anything else its JSON.
    """

    source: str
    most: int
    longest_bytes: int


#: The limits of a field for which FullStory documents none.
NO_LIMITS: Final = Limits("")


def check_text(field: str, text: str, limits: Limits) -> str:
    """
    Return text that a field takes.

    :raises ValueRefusedError: If the text is beyond a limit.
    """
    if len(text) < limits.shortest:
        raise rules.EMPTY.broken(field=field)
    if limits.longest is not None and len(text) > limits.longest:
        raise rules.TOO_LONG.broken(field=field, longest=limits.longest)
    if limits.is_id and text != text.strip():
        raise rules.PADDED.broken(field=field)
    if limits.url_rule is not None and "://" in text:
        raise limits.url_rule.broken(field=field)
    if limits.form is not None and not limits.form.fullmatch(text):
        raise rules.WRONG_FORM.broken(field=field, form=limits.form_name)
    return text


def are_texts(texts: Sequence[str], limits: Limits) -> bool:
    """
    Return whether a field takes all texts; checking them together is much faster than one by one.

    :param texts: The texts, at least one.
    :param limits: The limits of the field.
    """
    lengths = set(map(len, texts))
    return (
        is_utf8("".join(texts))
        and min(lengths) >= limits.shortest
        and (limits.longest is None or max(lengths) <= limits.longest)
        and (not limits.is_id or list(map(str.strip, texts)) == list(texts))
        and (limits.form is None or all(map(limits.form.fullmatch, set(texts))))
    )


def check_number(field: str, number: float | Decimal, limits: Limits) -> float | Decimal:
    """
    Return a number that a field takes.

    :raises ValueRefusedError: If the number is beyond a limit.
    """
    if (limits.lowest is not None and number < limits.lowest) or (
        limits.highest is not None and number > limits.highest
    ):
        raise rules.OUT_OF_RANGE.broken(field=field, lowest=limits.lowest, highest=limits.highest)
    return number
