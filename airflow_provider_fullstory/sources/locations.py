"""What says where files of records are; light, since parsing a DAG file asks for it."""

from __future__ import annotations

import os
import re
from typing import Any, Final

_URI: Final = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.:-]*:/)?/[^\n]*")


def is_location(value: Any) -> bool:
    """Return whether a value says where files are: a URI, an absolute path, or a path object."""
    if isinstance(value, str):
        # Rows as text may hold a URI too, but do not begin with it.
        return _URI.fullmatch(value) is not None
    # Looked up in its class: a table may have a column of that name.
    return isinstance(value, os.PathLike) or callable(getattr(type(value), "open", None))


def are_locations(value: Any) -> bool:
    """Return whether a value is a list of locations."""
    return isinstance(value, (list, tuple)) and bool(value) and all(map(is_location, value))
