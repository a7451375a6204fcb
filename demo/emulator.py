"""FullStory's emulator, in its own process."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from airflow_provider_fullstory.emulator.client import EmulatorClient
from demo.processes import Process, wait_for

if TYPE_CHECKING:
    from pathlib import Path


class Emulator:
    """
    Run the emulator on a port that the system chooses.

    :param directory: Where its data and its log go.
    :param processing_seconds: How long it takes over each batch.
    """

    def __init__(self, directory: Path, processing_seconds: float) -> None:
        self._directory = directory
        self._processing_seconds = processing_seconds
        self.process = self._process(port=0)

    def start(self) -> EmulatorClient:
        """Start it, wait until it listens and return a client of its control API."""
        self.process.start()
        self._client = EmulatorClient(
            wait_for("the emulator to listen", self._url, [self.process], seconds=60)
        )
        return self._client

    def crash(self) -> None:
        """Kill it, and start it again with its data, at the same address."""
        self.process.kill()
        self.process = self._process(urlsplit(self._client.url).port or 0)
        self.process.start()
        wait_for("the emulator to listen again", self._is_up, [self.process], seconds=60)

    def stop(self) -> None:
        """Stop it; what it has imported is forgotten."""
        self.process.stop()

    def _process(self, port: int) -> Process:
        return Process(
            name="The emulator",
            command=[
                *(sys.executable, "-m", "airflow_provider_fullstory.emulator", "--exit-with-parent"),
                *("--port", str(port), "--processing-seconds", str(self._processing_seconds)),
                *("--data", str(self._directory / "emulator.sqlite")),
            ],
            log=self._directory / "logs" / "emulator.log",
        )

    def _is_up(self) -> bool:
        try:
            self._client.faults()
        except ConnectionError:
            return False
        return True

    def _url(self) -> str | None:
        announced = re.search(r"listening on (http://\S+)", self.process.log.read_text())
        return announced.group(1) if announced else None
