"""Task logs as a person reads them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def readable_lines(log: Path) -> Iterator[str]:
    """
    Read a task's log, one JSON object a line, as plain lines.

    :param log: The log file.
    """
    for line in log.read_text(errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            yield line
            continue
        yield f"{entry.get('timestamp', '')[:23]} {entry.get('level', '')}: {entry.get('event', '')}"
        for error in entry.get("error_detail", ()):
            yield f"    {error['exc_type']}: {error['exc_value']}"
            for frame in error.get("frames", ())[-3:]:
                yield f"        {frame['filename']}:{frame['lineno']} in {frame['name']}"
