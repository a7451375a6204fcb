"""Python's garbage collection while millions of records pass through."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

#: New objects at which Python begins a search. It is above the number of objects in use at any time (two
#: pieces of a query's result, and 500 records being mapped), so that flat records alone cause no search.
_NEW_OBJECTS: Final = 50_000


@contextmanager
def rarely_searched() -> Iterator[None]:
    """
    Let Python search for garbage less often.

    By default, Python searches every few hundred records and visits all records in use, though they are no
    garbage. Objects without references are freed at once either way; only objects that refer to each other
    wait for a search. A user's own setting that is higher, or 0 (never), stays.
    """
    before, *others = gc.get_threshold()
    if not 0 < before < _NEW_OBJECTS:
        yield
        return
    gc.set_threshold(_NEW_OBJECTS, *others)
    try:
        yield
    finally:
        if gc.get_threshold()[0] == _NEW_OBJECTS:
            gc.set_threshold(before, *others)
