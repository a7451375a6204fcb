"""Where records come from: values at hand, files, queries. Knows nothing of what a record is."""

from __future__ import annotations

from typing import Final

#: Rows that are read and mapped at once. Few, since Python's garbage collector walks all that is alive.
CHUNK_ROWS: Final = 500
