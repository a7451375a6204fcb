"""Why a record is invalid."""

from __future__ import annotations

import dataclasses
from typing import Any

#: FullStory's code for a field that must be there (developer.fullstory.com/server/errors).
REQUIRED_FIELD = "required_field"
#: FullStory's code for a parameter that is empty or too long.
INVALID_PARAMETER = "invalid_parameter"
#: FullStory's code for all else that is wrong with a record.
INVALID_ARGUMENT = "invalid_argument"


@dataclasses.dataclass(frozen=True, slots=True)
class Refusal:
    """
    The reason why a record is refused.

    :param code: FullStory's code for such a record, so that counts by code cover both sides.
    :param reason: What a person needs to fix it: the field and the type of the value, never the value itself.
    """

    code: str
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class InvalidRecord:
    """
    An invalid record, which is not sent.

    :param position: Its place in the source, from 1.
    :param refusal: Why.
    :param record: What to fix: the record as JSON, in the form of FullStory's API as far as possible.
    """

    position: int
    refusal: Refusal
    record: Any = dataclasses.field(default=None, repr=False)

    def __str__(self) -> str:
        return f"record {self.position}: {self.refusal.reason} ({self.refusal.code})"


class ValueRefusedError(ValueError):
    """
    Carry a refusal out of the conversion of one value.

    :param refusal: Why the record that holds the value is refused.
    """

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal
