"""FullStory's emulator as a process of its own."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

from airflow_provider_fullstory.emulator.client import EmulatorClient
from demo.processes import Process, wait_for

if TYPE_CHECKING:
    from pathlib import Path


class Emulator:
    """
    Run the emulator on a port that the system chooses.

    :param directory: Where its log goes.
    :param processing_seconds: How long it takes over each batch.
    """

    def __init__(self, directory: Path, processing_seconds: float) -> None:
        self.process = Process(
            name="The emulator",
            command=[
                *(sys.executable, "-m", "airflow_provider_fullstory.emulator"),
                *("--port", "0", "--processing-seconds", str(processing_seconds), "--exit-with-parent"),
            ],
            log=directory / "logs" / "emulator.log",
        )

    def start(self) -> EmulatorClient:
        """Start it, wait until it listens and return a client of its control API."""
        self.process.start()
        return EmulatorClient(wait_for("the emulator to listen", self._url, [self.process], seconds=60))

    def stop(self) -> None:
        """Stop it; what it has imported is forgotten."""
        self.process.stop()

    def _url(self) -> str | None:
        announced = re.search(r"listening on (http://\S+)", self.process.log.read_text())
        return announced.group(1) if announced else None
