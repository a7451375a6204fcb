"""Object storage that arguments lead to."""

from __future__ import annotations

import re
from typing import Final

from airflow.providers.common.compat.sdk import AirflowNotFoundException, ObjectStoragePath

from airflow_provider_fullstory.exceptions import FullStoryInputError

#: What is left of a template that was not rendered.
_TEMPLATE_MARKS: Final = ("{{", "}}", "{%", "%}")
#: Schemes of the worker's disk; a path has none.
_LOCAL_SCHEMES: Final = ("", "file", "local")


def object_storage_path(uri: str, argument: str) -> ObjectStoragePath:
    """
    Return the path that a URI names; nothing is read or written.

    :param uri: An absolute path (``/...``, ``file:///...``), or a URI of any other storage
        (``scheme://connection@bucket/...``).
    :param argument: The name of the argument, for messages.
    :raises FullStoryInputError: If the text is not a URI, or a template left it without a value.
    """
    if problem := _problem(uri):
        raise FullStoryInputError(f"{argument} is {uri!r}, {problem}")
    try:
        path = ObjectStoragePath(uri)
        # A scheme that no installed package can read fails only here.
        path.fs  # noqa: B018
    except (ValueError, ImportError, AirflowNotFoundException) as error:
        raise FullStoryInputError(f"{argument} is {uri!r}, which cannot be opened: {error}.") from error
    return path


def is_on_disk(uri: str) -> bool:
    """
    Return whether a URI leads to a disk of the machine that opens it.

    :param uri: An absolute path, or a URI.
    """
    return _scheme_and_place(uri)[0] in _LOCAL_SCHEMES


def _problem(uri: str) -> str | None:
    """Return what is wrong with a URI. A relative path would lead to the worker's current folder."""
    if not uri.strip():
        return "which is empty; leave it out if none is wanted."
    if any(mark in uri for mark in _TEMPLATE_MARKS):
        return "a template that Airflow has not rendered. Only an operator's own arguments are rendered."
    if "None" in re.split("[/@]+", uri):
        return "which a template without a value has made; check what it refers to."
    scheme, place = _scheme_and_place(uri)
    if scheme in _LOCAL_SCHEMES and not place.startswith("/"):
        return "which is neither an absolute path nor a URI: it must begin with /, file:/// or scheme://."
    return None


def _scheme_and_place(uri: str) -> tuple[str, str]:
    found = re.match(r"([A-Za-z][\w+.-]*)://(.*)", uri, re.DOTALL)
    return (found[1], found[2]) if found else ("", uri)
