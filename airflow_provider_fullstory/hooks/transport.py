"""How a task's calls reach FullStory: a connection that is looked up once, and one session."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

from airflow_provider_fullstory.hooks import sessions
from airflow_provider_fullstory.hooks.failures import time_is_up, transport_error
from airflow_provider_fullstory.hooks.time_limit import TimeLimit

if TYPE_CHECKING:
    from collections.abc import Callable

    import requests

    from airflow_provider_fullstory.api.protocol import Call
    from airflow_provider_fullstory.hooks.settings import Settings

T = TypeVar("T")


class Transport:
    """Send calls, each once, from several threads."""

    def __init__(self, read_settings: Callable[[], Settings]) -> None:
        self._read_settings = read_settings
        self._lock = threading.RLock()
        self._settings: Settings | None = None
        self._session: requests.Session | None = None

    @property
    def settings(self) -> Settings:
        """The settings of the connection; a look-up that fails is tried again by the next call."""
        with self._lock:
            if self._settings is None:
                self._settings = self._read_settings()
            return self._settings

    @property
    def session(self) -> requests.Session:
        """The session; a new one after ``close``."""
        with self._lock:
            if self._session is None:
                self._session = sessions.new_session(self.settings)
            return self._session

    def send(self, call: Call[T], deadline: float | None) -> T:
        """Return the result of a call, which has no use after the deadline, in seconds since the epoch."""
        settings = self.settings
        limit = TimeLimit.of(call.request, settings.timeout, deadline)
        if not limit.left:
            raise time_is_up(call)
        try:
            response = sessions.send(self.session, settings, call.request, limit)
        except sessions.ERRORS.all as error:
            failure = transport_error(call, settings, error, limit, sessions.ERRORS)
        else:
            return call.result(response, settings.secrets)
        # Raised here, since the errors above may hold a proxy's password.
        raise failure

    def close(self) -> None:
        """Free the connections."""
        with self._lock:
            session, self._session = self._session, None
        if session is not None:
            session.close()
