"""What the wire types of all kinds of records have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

Properties = Mapping[str, Any]


class RequestPart(msgspec.Struct, gc=False, omit_defaults=True):
    """The base of all wire types that are sent; a field that is UNSET is not sent."""
