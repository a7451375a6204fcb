"""Files as OpenLineage names them."""

from __future__ import annotations

import re
from typing import Final

#: Schemes that OpenLineage knows by another name.
_SCHEMES: Final = {"gcs": "gs", "s3a": "s3", "s3n": "s3", "local": "file"}
_WILDCARD: Final = re.compile(r"[*?\[]")


def file_names(location: str) -> tuple[str, str]:
    """
    Return the namespace and the name that OpenLineage has for files.

    A pattern is named by the folder that holds all its files. The connection in the URI, and all else that
    may be secret, is left out.

    :param location: A URI or an absolute path: of a file, a folder, or a pattern.
    """
    # Not the parser's path, which ends at a wildcard like "?".
    scheme, separator, rest = location.partition("://")
    if not separator:
        return "file", _folder_of_pattern(location)
    host, slash, path = rest.partition("/")
    scheme = _SCHEMES.get(scheme, scheme)
    name = _folder_of_pattern(slash + path)
    if scheme == "file":
        return "file", name
    return f"{scheme}://{host.rpartition('@')[2]}", name.strip("/") or "/"


def _folder_of_pattern(path: str) -> str:
    wildcard = _WILDCARD.search(path)
    if wildcard is not None:
        path = path[: wildcard.start()].rpartition("/")[0]
    return path.rstrip("/") or "/"
