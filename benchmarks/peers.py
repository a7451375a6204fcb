"""Public tools that are compared; each has an environment of its own, which ``make bench`` installs."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Peer:
    """
    A public tool.

    :param name: Name of its environment.
    :param package: Name of its package.
    :param environment: The variables that keep it from sending telemetry.
    """

    name: str
    package: str
    environment: Mapping[str, str]

    @property
    def python(self) -> Path:
        """The interpreter of its environment."""
        return Path(__file__).parents[1] / f".venv-bench-{self.name}/bin/python"

    def version(self) -> str:
        """Return the version that is installed."""
        code = f"from importlib.metadata import version; print(version({self.package!r}))"
        done = subprocess.run([self.python, "-c", code], check=True, stdout=subprocess.PIPE, text=True)
        return done.stdout.strip()


#: By the module of the contender.
PEERS: Final = {
    "drt_sync": Peer("drt", "drt-core", {"DO_NOT_TRACK": "1"}),
    "dlt_destination": Peer("dlt", "dlt", {"RUNTIME__DLTHUB_TELEMETRY": "false"}),
}
