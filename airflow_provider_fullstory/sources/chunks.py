"""How many rows are taken at once."""

from __future__ import annotations

from typing import Final

#: Rows that are read and mapped at once. Few, since Python's garbage collector walks all that is alive.
CHUNK_ROWS: Final = 500
