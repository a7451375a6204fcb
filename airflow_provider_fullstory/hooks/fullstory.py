"""Hooks for FullStory's server API: one for tasks (requests), one for triggers (aiohttp)."""

from __future__ import annotations

import asyncio
import copy
import importlib
import threading
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import tenacity
from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_fullstory.api import jobs, organization, protocol
from airflow_provider_fullstory.api.jobs import Resource
from airflow_provider_fullstory.exceptions import (
    FullStoryAuthenticationError,
    FullStoryError,
    FullStoryRateLimitError,
)
from airflow_provider_fullstory.get_provider_info import connection_type
from airflow_provider_fullstory.hooks import sessions
from airflow_provider_fullstory.hooks.connections import async_settings_of, settings_of
from airflow_provider_fullstory.hooks.failures import time_is_up, transport_error
from airflow_provider_fullstory.hooks.retrying import RateLimitTurn, RetryLimit, UnknownOutcome, failure_of
from airflow_provider_fullstory.hooks.time_limit import TimeLimit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from typing import Self

    import requests

    from airflow_provider_fullstory.api.http import Content
    from airflow_provider_fullstory.api.jobs import Job, JobStatus, Page, RecordError
    from airflow_provider_fullstory.api.organization import Account, Quotas
    from airflow_provider_fullstory.hooks.clients import Client, SharedClients
    from airflow_provider_fullstory.hooks.settings import Settings

T = TypeVar("T")
R = TypeVar("R")

#: Of hundreds of 429 in a row, one line now and then says enough.
_SECONDS_BETWEEN_LIMIT_LINES = 60.0
#: Seconds for which hooks that are opened on the same event loop look up a connection only once.
_SETTINGS_SECONDS = 30.0


class FullStoryBaseHook(BaseHook):
    """
    What both hooks share: the connection and when a request is sent again.

    :param fullstory_conn_id: The connection: password is the API key, host optional.
    :param retry_for: Seconds for which a request that fails in a passing way (no answer, 429, 5xx) is sent
        again: first after FullStory's ``Retry-After``, else after growing waits. 0 sends each request once.
    :param rate_limited_for: Seconds for which that goes on where the answer is 429, by default as long. An
        organization whose limit of unfinished records is reached may need much longer than a fault to pass.
    :param deadline: When no request may go on any longer, in seconds since the epoch; by default a request is
        bounded by its own size only: the connection's ``timeout``, and time for its bytes at 50 kB a second.
    """

    conn_name_attr = "fullstory_conn_id"
    default_conn_name = "fullstory_default"
    conn_type = "fullstory"
    hook_name = "FullStory"

    def __init__(
        self,
        fullstory_conn_id: str = default_conn_name,
        *,
        retry_for: float = 300.0,
        rate_limited_for: float | None = None,
        deadline: float | None = None,
    ) -> None:
        super().__init__()
        self.fullstory_conn_id = fullstory_conn_id
        self.retry_for = retry_for
        self.rate_limited_for = rate_limited_for
        self.deadline = deadline
        #: How many requests were sent again.
        self.retries = 0
        self._closing = threading.Event()
        self._limited = threading.Lock()
        self._next_limit_line_at = 0.0

    def _retry_options(self, outcome: UnknownOutcome) -> dict[str, Any]:
        """Return the arguments that both kinds of tenacity's retrying take."""
        limit = RetryLimit(self.retry_for, self.rate_limited_for, self.deadline)
        return {
            "retry": tenacity.retry_if_exception(protocol.is_transient),
            "wait": lambda state: protocol.retry_seconds(failure_of(state), state.attempt_number),
            "stop": lambda state: limit.is_over(state) or outcome.forbids(state.upcoming_sleep),
            "before_sleep": self._log_retry,
            "reraise": True,
        }

    def _log_retry(self, state: tenacity.RetryCallState) -> None:
        self.retries += 1
        failure = failure_of(state)
        if isinstance(failure, FullStoryRateLimitError):
            if (now := time.monotonic()) < self._next_limit_line_at:
                return
            self._next_limit_line_at = now + _SECONDS_BETWEEN_LIMIT_LINES
            self.log.warning(
                "%s The request is repeated until FullStory takes it: %d attempts in %.0f s so far.",
                failure,
                state.attempt_number,
                state.seconds_since_start or 0.0,
            )
            return
        self.log.warning("%s Trying again in %.1f s.", failure, state.upcoming_sleep)


class FullStoryHook(FullStoryBaseHook):
    """
    Call FullStory's server API from a task.

    One session with pooled connections serves all calls of a hook and may be used from several threads. Good
    as a context manager; ``close`` frees the connections.

    .. code-block:: python

        with FullStoryHook() as hook:
            status = hook.get_job_status("events", job_id)

    :param fullstory_conn_id: The connection: password is the API key, host optional.
    :param retry_for: Seconds for which a request that fails in a passing way (no answer, 429, 5xx) is sent
        again: first after FullStory's ``Retry-After``, else after growing waits. 0 sends each request once.
    :param rate_limited_for: Seconds for which that goes on where the answer is 429, by default as long. An
        organization whose limit of unfinished records is reached may need much longer than a fault to pass.
    :param deadline: When no request may go on any longer, in seconds since the epoch; by default a request is
        bounded by its own size only: the connection's ``timeout``, and time for its bytes at 50 kB a second.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """
        Free the connections, and end the retries of calls that other threads have under way.

        The next call opens new connections.
        """
        self._closing.set()
        self._closing = threading.Event()
        self._access.close()

    def without_retries(self) -> Self:
        """Return a hook on the same session that sends each request once, for a caller that polls again."""
        hook = copy.copy(self)
        hook.retry_for, hook.rate_limited_for = 0.0, None
        return hook

    @property
    def settings(self) -> Settings:
        """What the connection says; looked up once."""
        return self._access.settings

    @property
    def session(self) -> requests.Session:
        """The HTTP session."""
        return self._access.session

    @cached_property
    def _access(self) -> _Access:
        return _Access(lambda: settings_of(self, self.fullstory_conn_id))

    def create_import(
        self,
        resource: Resource | str,
        body: bytes | Content,
        idempotency_key: str,
        *,
        sent_before: float | None = None,
    ) -> Job:
        """
        Start an import of a batch.

        :param resource: ``events`` or ``users``.
        :param body: The request's JSON: ``{"requests": [...]}``, at most 50,000 of them; bytes, or what
            gives them piece by piece, anew for each attempt.
        :param idempotency_key: For 24 hours FullStory answers the same key and body with the same job, and
            refuses the key with another body (developer.fullstory.com/server/idempotent-requests). After
            that it would import the batch again, so no request that may already have been done is repeated.
        :param sent_before: When this request was first sent, in seconds since the epoch, where its answer
            is not known.
        :raises FullStoryError: Where FullStory did not accept the batch. ``is_ambiguous`` tells whether it
            may have done so without its answer arriving.
        """
        call = jobs.create_import(Resource(resource), body, idempotency_key)
        return self._call(call, UnknownOutcome(sent_before))

    def get_job_status(self, resource: Resource | str, job_id: str) -> JobStatus:
        """
        Return how far a job is.

        :param resource: ``events`` or ``users``.
        :param job_id: Id of the job.
        """
        return self._call(jobs.job_status(Resource(resource), job_id))

    def iter_imports(
        self, resource: Resource | str, job_id: str, *, include_schema: bool = False
    ) -> Iterator[Page[dict[str, Any]]]:
        """
        Yield the records that a job imported, page by page.

        :param resource: ``events`` or ``users``.
        :param job_id: Id of the job.
        :param include_schema: Whether records come with the types of their properties.
        :raises FullStoryPermissionError: Where the key is below Architect level.
        :raises FullStoryNotReadyError: Where the job is still processed after ``retry_for`` seconds.
        """
        return self._pages(
            lambda token: jobs.imports_page(Resource(resource), job_id, token, include_schema=include_schema)
        )

    def iter_errors(self, resource: Resource | str, job_id: str) -> Iterator[Page[RecordError]]:
        """
        Yield the records that a job refused, page by page.

        :param resource: ``events`` or ``users``.
        :param job_id: Id of the job.
        :raises FullStoryPermissionError: Where the key is below Architect level.
        :raises FullStoryNotReadyError: Where the job is still processed after ``retry_for`` seconds.
        """
        return self._pages(lambda token: jobs.errors_page(Resource(resource), job_id, token))

    def get_quotas(self) -> Quotas:
        """Return the organization's quotas for sessions and server events."""
        return self._call(organization.quotas())

    def get_account(self) -> Account:
        """Return whose API key the connection holds."""
        return self._call(organization.me())

    def test_connection(self) -> tuple[bool, str]:
        """Tell whether FullStory knows the connection's key, and what the key may do."""
        try:
            account = FullStoryHook(self.fullstory_conn_id, retry_for=0).get_account()
        except FullStoryError as error:
            return False, str(error)
        message = f"Connected to FullStory organization {account.org_id}; the key's role is {account.role}."
        if not account.reads_results:
            message += (
                " Imports work, but this key cannot read which records FullStory refused and why: "
                "that takes an Architect or Admin key."
            )
        return True, message

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return how the connection form looks (Airflow below 3.2)."""
        behaviour = connection_type()["ui-field-behaviour"]
        return {
            "hidden_fields": behaviour["hidden-fields"],
            "relabeling": behaviour["relabeling"],
            "placeholders": behaviour["placeholders"],
        }

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the additional fields of the connection form (Airflow below 3.2)."""
        from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
        from wtforms import IntegerField, StringField
        from wtforms.validators import Optional

        fields = {"integer": IntegerField, "string": StringField}
        return {
            name: fields[_form_type(field)](
                field["label"],
                description=field["description"],
                widget=BS3TextFieldWidget(),
                validators=[Optional()],
            )
            for name, field in connection_type()["conn-fields"].items()
        }

    def _call(self, call: protocol.Call[T], outcome: UnknownOutcome | None = None) -> T:
        """Send a request, again where that can help, and return what the answer says."""
        outcome = outcome or UnknownOutcome()
        closing = self._closing
        options = self._retry_options(outcome)
        is_enough = options["stop"]
        options |= {
            "sleep": tenacity.sleep_using_event(closing),
            "stop": lambda state: closing.is_set() or is_enough(state),
        }

        with RateLimitTurn(self._limited, closing) as turn:

            def prepare(state: tenacity.RetryCallState) -> None:
                self._log_retry(state)
                if isinstance(failure_of(state), FullStoryRateLimitError):
                    turn.wait()

            def attempt() -> T:
                with outcome.watching():
                    return self._send(call)

            return tenacity.Retrying(**options | {"before_sleep": prepare})(attempt)

    def _send(self, call: protocol.Call[T]) -> T:
        settings = self.settings
        limit = TimeLimit.of(call.request, settings.timeout, self.deadline)
        if not limit.left:
            raise time_is_up(call)
        try:
            response = sessions.send(self.session, settings, call.request, limit)
        except sessions.ERRORS.all as error:
            failure = transport_error(call, settings, error, limit, sessions.ERRORS)
        else:
            return call.result(response, settings.secrets)
        # Raised here, since the errors below may hold a proxy's password.
        raise failure

    def _pages(self, page: Callable[[str | None], protocol.Call[Page[R]]]) -> Iterator[Page[R]]:
        tokens: set[str] = set()
        token: str | None = None
        while True:
            result = self._call(page(token))
            yield result
            token = _next_token(result, tokens)
            if token is None:
                return


class FullStoryAsyncHook(FullStoryBaseHook):
    """
    Call FullStory's server API from a trigger, without ever blocking its event loop.

    An asynchronous context manager. Hooks that are open on the same event loop with the same host and key
    share pooled connections, and one that FullStory tells that its key is unknown looks for another key in
    the connection before it gives up, so a key may be replaced while imports wait.

    .. code-block:: python

        async with FullStoryAsyncHook() as hook:
            status = await hook.get_job_status("events", job_id)

    :param fullstory_conn_id: The connection: password is the API key, host optional.
    :param retry_for: Seconds for which a request that fails in a passing way (no answer, 429, 5xx) is sent
        again: first after FullStory's ``Retry-After``, else after growing waits. 0 sends each request once.
    :param rate_limited_for: Seconds for which that goes on where the answer is 429, by default as long. An
        organization whose limit of unfinished records is reached may need much longer than a fault to pass.
    :param deadline: When no request may go on any longer, in seconds since the epoch; by default a request is
        bounded by its own size only: the connection's ``timeout``, and time for its bytes at 50 kB a second.
    """

    _shared: SharedClients
    _client: Client
    _settings: Settings

    async def __aenter__(self) -> Self:
        # The import takes tenths of a second: not in the event loop.
        clients = await asyncio.to_thread(importlib.import_module, "airflow_provider_fullstory.hooks.clients")
        self._shared = clients.SharedClients.of_this_loop()
        self._settings = await self._settings_since(_now() - _SETTINGS_SECONDS)
        self._client = await self._shared.take(self._settings)
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._shared.give_back(self._settings)

    async def create_import(
        self,
        resource: Resource | str,
        body: bytes | Content,
        idempotency_key: str,
        *,
        sent_before: float | None = None,
    ) -> Job:
        """Start an import of a batch; see :meth:`FullStoryHook.create_import`."""
        call = jobs.create_import(Resource(resource), body, idempotency_key)
        return await self._call(call, UnknownOutcome(sent_before))

    async def get_job_status(self, resource: Resource | str, job_id: str) -> JobStatus:
        """Return how far a job is; see :meth:`FullStoryHook.get_job_status`."""
        return await self._call(jobs.job_status(Resource(resource), job_id))

    def iter_imports(
        self, resource: Resource | str, job_id: str, *, include_schema: bool = False
    ) -> AsyncIterator[Page[dict[str, Any]]]:
        """Yield the records that a job imported; see :meth:`FullStoryHook.iter_imports`."""
        return self._pages(
            lambda token: jobs.imports_page(Resource(resource), job_id, token, include_schema=include_schema)
        )

    def iter_errors(self, resource: Resource | str, job_id: str) -> AsyncIterator[Page[RecordError]]:
        """Yield the records that a job refused; see :meth:`FullStoryHook.iter_errors`."""
        return self._pages(lambda token: jobs.errors_page(Resource(resource), job_id, token))

    async def get_quotas(self) -> Quotas:
        """Return the organization's quotas for sessions and server events."""
        return await self._call(organization.quotas())

    async def get_account(self) -> Account:
        """Return whose API key the connection holds."""
        return await self._call(organization.me())

    async def _settings_since(self, since: float) -> Settings:
        return await self._shared.settings((type(self), self.fullstory_conn_id), self._read_settings, since)

    async def _read_settings(self) -> Settings:
        return await async_settings_of(self, self.fullstory_conn_id)

    async def _call(self, call: protocol.Call[T], outcome: UnknownOutcome | None = None) -> T:
        outcome = outcome or UnknownOutcome()

        async def attempt() -> T:
            sent_at, settings = _now(), self._settings
            with outcome.watching():
                try:
                    return await self._send(call)
                except FullStoryAuthenticationError:
                    if not await self._has_changed(settings, sent_at):
                        raise
                return await self._send(call)

        if not self.retry_for and not self.rate_limited_for:
            # Retrying would make up a fifth of what it costs a thousand waits to look at their jobs.
            return await attempt()
        return await tenacity.AsyncRetrying(**self._retry_options(outcome))(attempt)

    async def _has_changed(self, refused: Settings, since: float) -> bool:
        """Read the connection anew, and go on with what it says, if that is not what FullStory refused."""
        settings = await self._settings_since(since)
        if settings == refused:
            return False
        client = await self._shared.take(settings)
        former, self._settings, self._client = self._settings, settings, client
        await self._shared.give_back(former)
        return True

    async def _send(self, call: protocol.Call[T]) -> T:
        client, settings = self._client, self._settings
        limit = TimeLimit.of(call.request, settings.timeout, self.deadline)
        if not limit.left:
            raise time_is_up(call)
        # Another call may meanwhile find that the connection has changed, and give the client back.
        self._shared.take_again(settings)
        try:
            response = await client.send(call.request, limit)
        except client.ERRORS.all as error:
            failure = transport_error(call, settings, error, limit, client.ERRORS)
        else:
            return call.result(response, settings.secrets)
        finally:
            await self._shared.give_back(settings)
        raise failure

    async def _pages(self, page: Callable[[str | None], protocol.Call[Page[R]]]) -> AsyncIterator[Page[R]]:
        tokens: set[str] = set()
        token: str | None = None
        while True:
            result = await self._call(page(token))
            yield result
            token = _next_token(result, tokens)
            if token is None:
                return


class _Access:
    """
    What a hook and its copies share: the settings of the connection, and a session made from them.

    :param read: Looks the connection up.
    """

    def __init__(self, read: Callable[[], Settings]) -> None:
        self._read = read
        self._lock = threading.RLock()
        self._settings: Settings | None = None
        self._session: requests.Session | None = None

    @property
    def settings(self) -> Settings:
        """The settings; a look-up that fails is tried again by the next call."""
        with self._lock:
            if self._settings is None:
                self._settings = self._read()
            return self._settings

    @property
    def session(self) -> requests.Session:
        """The session; a new one after ``close``."""
        with self._lock:
            if self._session is None:
                self._session = sessions.new_session(self.settings)
            return self._session

    def close(self) -> None:
        """Close the session."""
        with self._lock:
            session, self._session = self._session, None
        if session is not None:
            session.close()


def _now() -> float:
    return asyncio.get_running_loop().time()


def _next_token(page: Page[Any], seen: set[str]) -> str | None:
    """Return the token of the next page; a token that comes again would read the same pages for ever."""
    token = page.next_page_token
    if not token or token in seen:
        return None
    seen.add(token)
    return token


def _form_type(field: dict[str, Any]) -> str:
    kinds = field["schema"]["type"]
    return str(next(kind for kind in kinds if kind != "null"))
