"""JSON in which numbers keep their digits, and equal records are equal bytes."""

from __future__ import annotations

import functools
from decimal import Decimal
from typing import Any, Final, TypeVar

import msgspec

T = TypeVar("T")


class Digits(Decimal):
    """A number that was read from JSON, and is written with the same digits."""

    __slots__ = ("text",)

    text: str

    def __new__(cls, text: str) -> Digits:  # noqa: PYI034 - Decimal's own methods return Decimals.
        """Read a number."""
        number = super().__new__(cls, text)
        number.text = text
        return number


def spelled(value: Any) -> msgspec.Raw:
    """Return the form that an encoder writes for a number that was read from JSON."""
    if isinstance(value, Digits):
        return msgspec.Raw(value.text.encode())
    raise TypeError(f"{type(value).__name__} has no form in JSON.")


ENCODER: Final = msgspec.json.Encoder(decimal_format="number", order="deterministic", enc_hook=spelled)
# A float would round them.
DECODER: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(float_hook=Digits)


#: All errors that reading JSON may raise, whatever its bytes, numbers and depth.
UNREADABLE: Final = (msgspec.MsgspecError, ValueError, ArithmeticError, RecursionError)


@functools.cache
def decoder(wire_type: type[T]) -> msgspec.json.Decoder[T]:
    """Return a decoder of FullStory's answers of a type."""
    # total_records, usage and limit arrive as strings of digits; echoed numbers keep their digits.
    return msgspec.json.Decoder(wire_type, strict=False, float_hook=Digits)
