"""Records that are at hand, or in files that are named."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from airflow_provider_fullstory.exceptions import FullStoryInputError
from airflow_provider_fullstory.sources.files import records_of_files
from airflow_provider_fullstory.sources.locations import is_location


def records_of(
    records: Any, argument: str = "records", of_line: Callable[[Any], Any] = lambda line: line
) -> Iterator[Any]:
    """
    Yield the records that an argument of an operator holds or leads to.

    :param records: A mapping (one record), an iterable of mappings, an iterable of these iterables (what
        mapped tasks returned), or the location of newline-delimited JSON, or an iterable of locations.
    :param argument: Its name, for messages.
    :param of_line: Returns the record in a line of a file; by default, the line is the record.
    :raises FullStoryInputError: If it is none of these.
    :raises FullStorySourceError: If a file cannot be read.
    """
    if isinstance(records, Mapping):
        return iter([records])
    if is_location(records):
        return map(of_line, records_of_files([records], argument))
    if isinstance(records, str):
        raise FullStoryInputError(
            f"{argument} is text but not a URI. The output of a task is passed as task.output, not through a "
            "template ({{ ti.xcom_pull(...) }}), which turns it into text."
        )
    if isinstance(records, Iterable) and not isinstance(records, (bytes, bytearray, memoryview)):
        return _items(records, argument, of_line)
    raise FullStoryInputError(
        f"{argument} is of type {type(records).__name__}; it must be an iterable of dicts, the output of a "
        "task, or the URI of a file of newline-delimited JSON."
    )


def _items(records: Iterable[Any], argument: str, of_line: Callable[[Any], Any]) -> Iterator[Any]:
    """Yield the records among the items, or those in the files that the items name."""
    items = _flat(records)
    for first in items:
        if is_location(first):
            yield from map(of_line, records_of_files(_locations([first, *items], argument), argument))
        else:
            yield first
            yield from items


def _flat(records: Iterable[Any]) -> Iterator[Any]:
    for item in records:
        if isinstance(item, (list, tuple)):
            yield from item
        else:
            yield item


def _locations(items: Sequence[Any], argument: str) -> Sequence[Any]:
    for number, item in enumerate(items, start=1):
        if not is_location(item):
            raise FullStoryInputError(
                f"{argument} names files, but item {number} of type {type(item).__name__} is not a URI."
            )
    return items
