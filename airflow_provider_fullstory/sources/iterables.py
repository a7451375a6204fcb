"""Records that are at hand, or in files that are named."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from airflow_provider_fullstory.exceptions import FullStoryInputError
from airflow_provider_fullstory.sources.files import records_of_files
from airflow_provider_fullstory.sources.locations import is_location


def records_of(events: Any) -> Iterator[Any]:
    """
    Yield the records behind the operator's ``events``.

    :param events: A mapping (one event), an iterable of mappings, an iterable of such iterables (what mapped
        tasks returned), or the location of newline-delimited JSON, or an iterable of such locations.
    :raises FullStoryInputError: Where it is none of these.
    :raises FullStorySourceError: Where a file cannot be read.
    """
    if isinstance(events, Mapping):
        return iter([events])
    if is_location(events):
        return records_of_files([events])
    if isinstance(events, str):
        raise FullStoryInputError(
            "events is text but no URI. The output of a task is passed as task.output, not through a "
            "template ({{ ti.xcom_pull(...) }}), which turns it into text."
        )
    if isinstance(events, Iterable) and not isinstance(events, (bytes, bytearray, memoryview)):
        return _items(events)
    raise FullStoryInputError(
        f"events is of type {type(events).__name__}; it must be an iterable of dicts, the output of a task, "
        "or the URI of a file of newline-delimited JSON."
    )


def _items(events: Iterable[Any]) -> Iterator[Any]:
    """Yield the records among the items, or those in the files that the items name."""
    items = _flat(events)
    for first in items:
        if is_location(first):
            yield from records_of_files(_locations([first, *items]))
        else:
            yield first
            yield from items


def _flat(events: Iterable[Any]) -> Iterator[Any]:
    for item in events:
        if isinstance(item, (list, tuple)):
            yield from item
        else:
            yield item


def _locations(items: Sequence[Any]) -> Sequence[Any]:
    for number, item in enumerate(items, start=1):
        if not is_location(item):
            raise FullStoryInputError(
                f"events names files, but item {number} of type {type(item).__name__} is no URI."
            )
    return items
