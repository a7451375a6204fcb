"""Refusals that can be ordered: FullStory turns records down for reasons that they do not show."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

import msgspec

if TYPE_CHECKING:
    from collections.abc import Container, Hashable, Sequence


class OrderedRefusal(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """
    Describe which records of batches are to be refused, and what ``/errors`` says about them.

    Code and message can be left out, since the contract does not mark them as required for events.

    :param path: Dotted path into the event or user as it was sent; what is ``shared`` does not count. A null
        at its end counts as a value.
    :param values: Refuse those that have one of these values there, compared as JSON: 1 and 1.0 are equal, 1
        and true are not. By default, or when null, all that have the path are refused.
    :param code: One of FullStory's codes; null leaves it out.
    :param message: The same, for a person; null leaves it out.
    """

    path: Annotated[str, msgspec.Meta(pattern=r"^[^.]+(\.[^.]+)*\Z")]
    values: list[object] | None = None
    code: str | None = "invalid_argument"
    message: str | None = "the record was refused"


@dataclasses.dataclass(frozen=True)
class _Rule:
    order: OrderedRefusal
    names: tuple[str, ...]
    wanted: frozenset[Hashable] | None

    def matches(self, value: object) -> bool:
        for name in self.names:
            if not isinstance(value, dict) or name not in value:
                return False
            value = value[name]
        return self.wanted is None or _comparable(value) in self.wanted


class OrderedRefusals:
    """Keep the refusals that were ordered; they stay in force until they are forgotten."""

    def __init__(self) -> None:
        # Replaced as a whole, since the threads that judge batches read it at any time.
        self._rules: tuple[_Rule, ...] = ()

    def ordered(self) -> list[OrderedRefusal]:
        """Return what is in force."""
        return [rule.order for rule in self._rules]

    def order(self, refusal: OrderedRefusal) -> None:
        """
        Order a refusal; where an older one matches too, the older one counts.

        :param refusal: What is to be refused.
        """
        wanted = None if refusal.values is None else frozenset(map(_comparable, refusal.values))
        self._rules = (*self._rules, _Rule(refusal, tuple(refusal.path.split(".")), wanted))

    def forget(self) -> None:
        """Cancel everything; what was refused stays refused."""
        self._rules = ()

    def hits(self, texts: Sequence[msgspec.Raw], refused: Container[int]) -> dict[int, OrderedRefusal]:
        """
        Return which records are to be refused, by their place in the batch.

        :param texts: JSON of the records.
        :param refused: Places of records that are refused anyway.
        """
        rules = self._rules
        if not rules:
            return {}
        hits = {}
        for ordinal, text in enumerate(texts):
            if ordinal not in refused:
                record = msgspec.json.decode(text)
                rule = next((rule for rule in rules if rule.matches(record)), None)
                if rule is not None:
                    hits[ordinal] = rule.order
        return hits


def _comparable(value: object) -> Hashable:
    """Return something that is equal for equal JSON values only; Python takes true for 1."""
    if isinstance(value, bool):
        return "bool", value
    if isinstance(value, list):
        return "list", *map(_comparable, value)
    if isinstance(value, dict):
        return "dict", frozenset((name, _comparable(inner)) for name, inner in value.items())
    return value
