"""How JSON is read and written: numbers keep their digits, and equal records give equal bytes."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

import msgspec

ENCODER: Final = msgspec.json.Encoder(decimal_format="number", order="deterministic")
# Decimal keeps numbers digit by digit, where a float would round them.
DECODER: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(float_hook=Decimal)
