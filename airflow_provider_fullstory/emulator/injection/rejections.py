"""Rejections: FullStory rejects records for reasons that the records do not show."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

import msgspec

if TYPE_CHECKING:
    from collections.abc import Container, Hashable, Sequence


class OrderedRejection(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """
    Describe which records of batches to reject, and what ``/errors`` says about them.

    Code and message can be left out, since the contract does not mark them as required for events.

    :param path: Dotted path in the event or user as it was sent, without ``shared``. A null at its end counts
        as a value.
    :param values: Reject records with one of these values at the path, compared as JSON: 1 and 1.0 are equal,
        1 and true are not. By default, or when null, all records with the path are rejected.
    :param code: One of FullStory's codes; null leaves it out.
    :param message: The reason in plain words; null leaves it out.
    """

    path: Annotated[str, msgspec.Meta(pattern=r"^[^.]+(\.[^.]+)*\Z")]
    values: list[object] | None = None
    code: str | None = "invalid_argument"
    message: str | None = "the record was rejected"


@dataclasses.dataclass(frozen=True)
class _Rule:
    order: OrderedRejection
    names: tuple[str, ...]
    wanted: frozenset[Hashable] | None

    def matches(self, value: object) -> bool:
        for name in self.names:
            if not isinstance(value, dict) or name not in value:
                return False
            value = value[name]
        return self.wanted is None or _comparable(value) in self.wanted


class OrderedRejections:
    """Keep the ordered rejections; they stay in force until they are cancelled."""

    def __init__(self) -> None:
        # Replaced as a whole, since the threads that check batches read it at any time.
        self._rules: tuple[_Rule, ...] = ()

    def ordered(self) -> list[OrderedRejection]:
        """Return the rejections in force."""
        return [rule.order for rule in self._rules]

    def order(self, rejection: OrderedRejection) -> None:
        """Add a rejection; where an older one matches too, the older one counts."""
        wanted = None if rejection.values is None else frozenset(map(_comparable, rejection.values))
        self._rules = (*self._rules, _Rule(rejection, tuple(rejection.path.split(".")), wanted))

    def forget(self) -> None:
        """Cancel all rejections; records that were rejected stay rejected."""
        self._rules = ()

    def hits(self, texts: Sequence[msgspec.Raw], rejected: Container[int]) -> dict[int, OrderedRejection]:
        """Return the rejection of each other record that one matches, by the record's place in the batch."""
        rules = self._rules
        if not rules:
            return {}
        hits = {}
        for ordinal, text in enumerate(texts):
            if ordinal not in rejected:
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
