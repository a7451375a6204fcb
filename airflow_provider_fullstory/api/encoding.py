"""How JSON is read and written: numbers keep their digits, and equal records give equal bytes."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

import msgspec


class Digits(Decimal):
    """
    A number that was read from JSON, and is written as it was spelled there.

    :param text: The number.
    """

    __slots__ = ("text",)

    text: str

    def __new__(cls, text: str) -> Digits:  # noqa: PYI034 - Decimal's own methods return Decimals.
        """Read a number."""
        number = super().__new__(cls, text)
        number.text = text
        return number


def spelled(value: Any) -> msgspec.Raw:
    """
    Return what an encoder writes for a number that was read from JSON.

    :param value: The number.
    """
    if isinstance(value, Digits):
        return msgspec.Raw(value.text.encode())
    raise TypeError(f"{type(value).__name__} has no form in JSON.")


ENCODER: Final = msgspec.json.Encoder(decimal_format="number", order="deterministic", enc_hook=spelled)
# A float would round them.
DECODER: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(float_hook=Digits)
