"""The emulated organisation: everything that outlives one request."""

from __future__ import annotations

import dataclasses
from collections import deque
from typing import TYPE_CHECKING

from airflow_provider_fullstory.emulator.clock import Clock
from airflow_provider_fullstory.emulator.faults import Faults
from airflow_provider_fullstory.emulator.idempotency import IdempotencyMemory
from airflow_provider_fullstory.emulator.imports import Imports
from airflow_provider_fullstory.emulator.refusals import OrderedRefusals
from airflow_provider_fullstory.emulator.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_fullstory.emulator.settings import Settings

_LOGGED_REQUESTS = 100_000


@dataclasses.dataclass
class LoggedRequest:
    """
    Say what was asked, without the API key.

    :param time: When it came, ISO 8601.
    :param method: HTTP method.
    :param path: Path as it was sent.
    :param query: Query string as it was sent.
    :param idempotency_key: The ``Idempotency-Key`` header.
    :param body_bytes: Length of the body.
    :param body_sha256: SHA-256 of the body in hexadecimal.
    :param status: Status of the answer; none while there is none, and when the connection was aborted.
    :param seconds: How long the answer took, the arrival of the body included; none where there is none.
    :param records: How many records the request carried, when it was understood.
    :param replayed: Whether the answer was a remembered one.
    """

    time: str
    method: str
    path: str
    query: str
    idempotency_key: str | None
    body_bytes: int = 0
    body_sha256: str = ""
    status: int | None = None
    seconds: float | None = None
    records: int | None = None
    replayed: bool = False


class Organization:
    """
    Hold what the emulator knows, and put its parts together.

    :param data: The database file.
    :param settings: Limits and habits to start with, and to return to at a reset.
    """

    def __init__(self, data: Path, settings: Settings) -> None:
        self._initial_settings = settings
        self.settings = settings
        self.store = Store(data)
        self.clock = Clock(self.store.advanced_seconds())
        self.refusals = OrderedRefusals()
        self.imports = Imports(self.store, self.clock, settings, self.refusals)
        self.idempotency = IdempotencyMemory(self.store, self.clock)
        self.faults = Faults()
        # The latest ones only, so that polling for days does not fill the memory.
        self.requests: deque[LoggedRequest] = deque(maxlen=_LOGGED_REQUESTS)

    def configure(self, settings: Settings) -> None:
        """
        Put settings into force for what comes from now on.

        :param settings: All settings.
        """
        self.settings = settings
        self.imports.settings = settings

    def advance_clock(self, seconds: float) -> None:
        """
        Move the clock forward.

        :param seconds: By how much.
        """
        self.clock.advance(seconds)
        self.store.save_advanced_seconds(self.clock.advanced_seconds)

    def reset(self) -> None:
        """Forget everything, and return to the settings of the start."""
        self.faults.forget()
        self.refusals.forget()
        self.store.clear()
        self.requests.clear()
        self.clock.advanced_seconds = 0.0
        self.configure(self._initial_settings)

    def close(self) -> None:
        """Let go of the database."""
        self.store.close()
