"""The parts of an organization: everything that outlives a request."""

from __future__ import annotations

import dataclasses
from collections import deque
from typing import TYPE_CHECKING

from airflow_provider_fullstory.emulator.clock import Clock
from airflow_provider_fullstory.emulator.injection.faults import Faults
from airflow_provider_fullstory.emulator.injection.rejections import OrderedRejections
from airflow_provider_fullstory.emulator.organization.annotations import Annotations
from airflow_provider_fullstory.emulator.organization.idempotency import IdempotencyMemory
from airflow_provider_fullstory.emulator.organization.imports import Imports
from airflow_provider_fullstory.emulator.organization.results import Results
from airflow_provider_fullstory.emulator.organization.single_users import SingleUsers
from airflow_provider_fullstory.emulator.store.annotations import AnnotationStore
from airflow_provider_fullstory.emulator.store.database import Database
from airflow_provider_fullstory.emulator.store.jobs import JobStore
from airflow_provider_fullstory.emulator.store.users import UserStore

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_fullstory.emulator.settings import Settings

_LOGGED_REQUESTS = 100_000


@dataclasses.dataclass
class LoggedRequest:
    """
    Describe a request, without the API key.

    :param time: When it arrived, ISO 8601.
    :param method: HTTP method.
    :param path: Path as it was sent.
    :param query: Query string as it was sent.
    :param idempotency_key: The ``Idempotency-Key`` header.
    :param body_bytes: Length of the body.
    :param body_sha256: SHA-256 of the body in hexadecimal.
    :param status: Status of the answer; none before the answer, and after the connection was aborted.
    :param seconds: Seconds until the answer, the arrival of the body included; none without an answer.
    :param records: Number of records in the request; none when it could not be read.
    :param replayed: Whether the answer was replayed for an idempotency key.
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
    """Hold the data, the clock and the settings of an emulated organization."""

    def __init__(self, data: Path, settings: Settings) -> None:
        self._initial_settings = settings
        self.settings = settings
        self.database = Database(data)
        self.jobs = JobStore(self.database)
        self.clock = Clock(self.database.advanced_seconds())
        self.users = UserStore(self.database, self.clock)
        self.rejections = OrderedRejections()
        self.imports = Imports(self.jobs, self.users, self.clock, settings, self.rejections)
        self.results = Results(self.jobs, self.users, self.clock, settings)
        self.single_users = SingleUsers(self.users, self.clock, settings)
        self.annotations = Annotations(AnnotationStore(self.database), self.clock)
        self.idempotency = IdempotencyMemory(self.database, self.clock)
        self.faults = Faults()
        # Only the latest ones are kept, so that polling for days does not fill the memory.
        self.requests: deque[LoggedRequest] = deque(maxlen=_LOGGED_REQUESTS)

    def configure(self, settings: Settings) -> None:
        """Change the settings; they hold for requests from now on."""
        self.settings = settings
        self.imports.settings = settings
        self.results.settings = settings
        self.single_users.settings = settings

    def advance_clock(self, seconds: float) -> None:
        """Move the clock forward."""
        self.clock.advance(seconds)
        self.database.save_advanced_seconds(self.clock.advanced_seconds)

    def reset(self) -> None:
        """Delete everything, and return to the settings of the start."""
        self.faults.forget()
        self.rejections.forget()
        self.database.clear()
        self.requests.clear()
        self.clock.advanced_seconds = 0.0
        self.configure(self._initial_settings)

    def close(self) -> None:
        """Close the database."""
        self.database.close()
