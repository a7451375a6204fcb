"""Hooks for FullStory's server API: one for tasks (requests), one for triggers (aiohttp)."""

from __future__ import annotations

import asyncio
import copy
import importlib
import ssl
import threading
import time
from contextlib import contextmanager
from functools import cached_property
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, TypeVar

import requests
import tenacity
from airflow.providers.common.compat.connection import get_async_connection, get_async_extra_dejson
from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook
from requests.adapters import HTTPAdapter
from urllib3.exceptions import NewConnectionError

from airflow_provider_fullstory.api import protocol
from airflow_provider_fullstory.api.models import Resource
from airflow_provider_fullstory.exceptions import (
    FullStoryAmbiguousError,
    FullStoryAuthenticationError,
    FullStoryError,
    FullStoryInputError,
    FullStoryRateLimitError,
    FullStoryTransportError,
    FullStoryUnreachableError,
)
from airflow_provider_fullstory.get_provider_info import connection_type
from airflow_provider_fullstory.hooks.settings import CONNECT_TIMEOUT, Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from typing import Self

    from airflow_provider_fullstory.api.models import Account, Job, JobStatus, Page, Quotas, RecordError
    from airflow_provider_fullstory.api.protocol import Content
    from airflow_provider_fullstory.hooks.clients import Client, SharedClients

T = TypeVar("T")
R = TypeVar("R")

#: Connections that one hook keeps open; as many uploads of a task may go on at the same time.
POOL_SIZE = 16
_SECONDS_BETWEEN_CLOSING_CHECKS = 0.5
#: Of hundreds of 429 in a row, one line now and then says enough.
_SECONDS_BETWEEN_LIMIT_LINES = 60.0
#: What fails before a connection stands, so that not a byte of the request was sent.
_UNSENT = (requests.ConnectTimeout, NewConnectionError)
#: Seconds for which hooks that are opened on the same event loop look up a connection only once.
_SETTINGS_SECONDS = 30.0


class Doubt:
    """
    Remember over the attempts of one request since when FullStory may have done it without our knowing.

    :param since: When a request was sent that got no answer, in seconds since the epoch.
    """

    def __init__(self, since: float | None = None) -> None:
        self._since = since

    @contextmanager
    def watching(self) -> Iterator[None]:
        """
        Watch one attempt: a later refusal does not undo that an earlier attempt may have worked.

        :raises FullStoryAmbiguousError: Where FullStory may have forgotten the key.
        """
        if self.forbids(0):
            raise FullStoryAmbiguousError(
                "FullStory may have this batch, but would no longer recognize it: it was first sent almost "
                "24 hours ago, and no answer arrived. It was not sent again. Look for its records in "
                'FullStory; on_ambiguous="resend" sends them again.'
            )
        started_at = time.time()
        try:
            yield
        except FullStoryError as error:
            if self._since is None and error.is_ambiguous:
                self._since = started_at
            error.is_ambiguous = self._since is not None
            raise

    def forbids(self, wait: float) -> bool:
        """
        Tell whether FullStory may have forgotten the key by the time of the next attempt.

        :param wait: Seconds until then.
        """
        return self._since is not None and time.time() + wait >= self._since + protocol.IDEMPOTENCY_SECONDS


class Patience:
    """
    Tell over the attempts of one request when to give it up.

    :param retry_for: Seconds for which a fault may last.
    :param rate_limited_for: Seconds for which the answer may be 429. A fault that comes after such answers
        has its own time: FullStory was there meanwhile.
    """

    def __init__(self, retry_for: float, rate_limited_for: float | None) -> None:
        self._retry_for = retry_for
        self._rate_limited_for = rate_limited_for
        self._faulty_since: float | None = 0.0

    def is_over(self, state: tenacity.RetryCallState) -> bool:
        """
        Tell whether the next attempt would come too late.

        :param state: What was attempted so far.
        """
        passed = state.seconds_since_start or 0.0
        if self._rate_limited_for is not None and isinstance(_failure(state), FullStoryRateLimitError):
            self._faulty_since = None
            return passed + state.upcoming_sleep >= self._rate_limited_for
        if self._faulty_since is None:
            self._faulty_since = passed
        return passed - self._faulty_since + state.upcoming_sleep >= self._retry_for


class Turn:
    """
    Have one of several requests that are answered with 429 ask again at a time; a context manager for one.

    Each may carry a batch of many megabytes, and what FullStory does not take from one it takes from none.

    :param taken: Shared by these requests.
    :param closing: Ends the wait.
    """

    def __init__(self, taken: threading.Lock, closing: threading.Event) -> None:
        self._taken = taken
        self._closing = closing
        self._is_mine = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._is_mine:
            self._taken.release()

    def wait(self) -> None:
        """Wait until no other one asks; this one then does so until it is done."""
        while not self._is_mine and not self._closing.is_set():
            self._is_mine = self._taken.acquire(timeout=_SECONDS_BETWEEN_CLOSING_CHECKS)


class FullStoryBaseHook(BaseHook):
    """
    What both hooks share: the connection and when a request is sent again.

    :param fullstory_conn_id: The connection: password is the API key, host optional.
    :param retry_for: Seconds for which a request that fails in a passing way (no answer, 429, 5xx) is sent
        again: first after FullStory's ``Retry-After``, else after growing waits. 0 sends each request once.
    :param rate_limited_for: Seconds for which that goes on where the answer is 429, by default as long. An
        organization whose limit of unfinished records is reached may need much longer than a fault to pass.
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
    ) -> None:
        super().__init__()
        self.fullstory_conn_id = fullstory_conn_id
        self.retry_for = retry_for
        self.rate_limited_for = rate_limited_for
        #: How many requests were sent again.
        self.retries = 0
        self._closing = threading.Event()
        self._limited = threading.Lock()
        self._next_limit_line_at = 0.0

    def _no_connection(self) -> FullStoryInputError:
        return FullStoryInputError(
            f"Airflow has no connection {self.fullstory_conn_id!r}. Add one of type 'fullstory', with the "
            "API key as its password, for example: airflow connections add "
            f"{self.fullstory_conn_id} --conn-type fullstory --conn-password <API key>"
        )

    def _retry_options(self, doubt: Doubt) -> dict[str, Any]:
        """Return the arguments that both kinds of tenacity's retrying take."""
        patience = Patience(self.retry_for, self.rate_limited_for)
        return {
            "retry": tenacity.retry_if_exception(protocol.is_transient),
            "wait": lambda state: protocol.retry_seconds(_failure(state), state.attempt_number),
            "stop": lambda state: patience.is_over(state) or doubt.forbids(state.upcoming_sleep),
            "before_sleep": self._log_retry,
            "reraise": True,
        }

    def _log_retry(self, state: tenacity.RetryCallState) -> None:
        self.retries += 1
        failure = _failure(state)
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
        if session := self.__dict__.pop("session", None):
            session.close()

    def without_retries(self) -> Self:
        """Return a hook on the same session that sends each request once, for a caller that looks again."""
        hook = copy.copy(self)
        hook.__dict__["session"] = self.session
        hook.retry_for, hook.rate_limited_for = 0.0, None
        return hook

    @cached_property
    def settings(self) -> Settings:
        """What the connection says."""
        try:
            connection = self.get_connection(self.fullstory_conn_id)
        except AirflowNotFoundException:
            raise self._no_connection() from None
        return Settings.from_connection(connection, connection.extra_dejson)

    @cached_property
    def session(self) -> requests.Session:
        """The HTTP session."""
        settings = self.settings
        session = requests.Session()
        session.mount("https://", HTTPAdapter(pool_connections=1, pool_maxsize=POOL_SIZE))
        session.mount("http://", HTTPAdapter(pool_connections=1, pool_maxsize=POOL_SIZE))
        session.headers["User-Agent"] = protocol.user_agent()
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        # An auth object also keeps requests from putting credentials of ~/.netrc into the header.
        session.auth = _put_key(settings.api_key)
        session.trust_env = not settings.is_local
        if settings.proxy and not settings.is_local:
            session.proxies = {"http": settings.proxy, "https": settings.proxy}
        return session

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
        call = protocol.create_import(Resource(resource), body, idempotency_key)
        return self._call(call, Doubt(sent_before))

    def get_job_status(self, resource: Resource | str, job_id: str) -> JobStatus:
        """
        Return how far a job is.

        :param resource: ``events`` or ``users``.
        :param job_id: Id of the job.
        """
        return self._call(protocol.job_status(Resource(resource), job_id))

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
            lambda token: protocol.imports_page(
                Resource(resource), job_id, token, include_schema=include_schema
            )
        )

    def iter_errors(self, resource: Resource | str, job_id: str) -> Iterator[Page[RecordError]]:
        """
        Yield the records that a job refused, page by page.

        :param resource: ``events`` or ``users``.
        :param job_id: Id of the job.
        :raises FullStoryPermissionError: Where the key is below Architect level.
        :raises FullStoryNotReadyError: Where the job is still processed after ``retry_for`` seconds.
        """
        return self._pages(lambda token: protocol.errors_page(Resource(resource), job_id, token))

    def get_quotas(self) -> Quotas:
        """Return the organization's quotas for sessions and server events."""
        return self._call(protocol.quotas())

    def get_account(self) -> Account:
        """Return whose API key the connection holds."""
        return self._call(protocol.me())

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

    def _call(self, call: protocol.Call[T], doubt: Doubt | None = None) -> T:
        """Send a request, again where that can help, and return what the answer says."""
        doubt = doubt or Doubt()
        closing = self._closing
        options = self._retry_options(doubt)
        is_enough = options["stop"]
        options |= {
            "sleep": tenacity.sleep_using_event(closing),
            "stop": lambda state: closing.is_set() or is_enough(state),
        }

        with Turn(self._limited, closing) as turn:

            def prepare(state: tenacity.RetryCallState) -> None:
                self._log_retry(state)
                if isinstance(_failure(state), FullStoryRateLimitError):
                    turn.wait()

            def attempt() -> T:
                with doubt.watching():
                    return call.result(self._send(call))

            return tenacity.Retrying(**options | {"before_sleep": prepare})(attempt)

    def _send(self, call: protocol.Call[Any]) -> protocol.Response:
        request = call.request
        try:
            response = self.session.request(
                request.method,
                self.settings.base_url + request.path,
                params=request.query,
                headers=request.headers,
                data=request.body,
                timeout=(CONNECT_TIMEOUT, self.settings.timeout),
                allow_redirects=False,
                # Given here, since on a session the environment's REQUESTS_CA_BUNDLE would override it.
                verify=self.settings.ca_bundle or True,
            )
        except requests.RequestException as error:
            raise _transport_error(call, self.settings, error, _UNSENT) from error
        return protocol.Response(response.status_code, response.headers, response.content)

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
        call = protocol.create_import(Resource(resource), body, idempotency_key)
        return await self._call(call, Doubt(sent_before))

    async def get_job_status(self, resource: Resource | str, job_id: str) -> JobStatus:
        """Return how far a job is; see :meth:`FullStoryHook.get_job_status`."""
        return await self._call(protocol.job_status(Resource(resource), job_id))

    def iter_imports(
        self, resource: Resource | str, job_id: str, *, include_schema: bool = False
    ) -> AsyncIterator[Page[dict[str, Any]]]:
        """Yield the records that a job imported; see :meth:`FullStoryHook.iter_imports`."""
        return self._pages(
            lambda token: protocol.imports_page(
                Resource(resource), job_id, token, include_schema=include_schema
            )
        )

    def iter_errors(self, resource: Resource | str, job_id: str) -> AsyncIterator[Page[RecordError]]:
        """Yield the records that a job refused; see :meth:`FullStoryHook.iter_errors`."""
        return self._pages(lambda token: protocol.errors_page(Resource(resource), job_id, token))

    async def get_quotas(self) -> Quotas:
        """Return the organization's quotas for sessions and server events."""
        return await self._call(protocol.quotas())

    async def get_account(self) -> Account:
        """Return whose API key the connection holds."""
        return await self._call(protocol.me())

    async def _settings_since(self, since: float) -> Settings:
        return await self._shared.settings((type(self), self.fullstory_conn_id), self._read_settings, since)

    async def _read_settings(self) -> Settings:
        try:
            connection = await get_async_connection(self.fullstory_conn_id, hook=self)
        except AirflowNotFoundException:
            raise self._no_connection() from None
        return Settings.from_connection(connection, await get_async_extra_dejson(connection))

    async def _call(self, call: protocol.Call[T], doubt: Doubt | None = None) -> T:
        doubt = doubt or Doubt()

        async def attempt() -> T:
            sent_at, settings = _now(), self._settings
            with doubt.watching():
                try:
                    return call.result(await self._send(call))
                except FullStoryAuthenticationError:
                    if not await self._has_changed(settings, sent_at):
                        raise
                return call.result(await self._send(call))

        if not self.retry_for and not self.rate_limited_for:
            # Retrying would make up a fifth of what it costs a thousand waits to look at their jobs.
            return await attempt()
        return await tenacity.AsyncRetrying(**self._retry_options(doubt))(attempt)

    async def _has_changed(self, refused: Settings, since: float) -> bool:
        """Read the connection anew, and go on with what it says, if that is not what FullStory refused."""
        settings = await self._settings_since(since)
        if settings == refused:
            return False
        client = await self._shared.take(settings)
        former, self._settings, self._client = self._settings, settings, client
        await self._shared.give_back(former)
        return True

    async def _send(self, call: protocol.Call[Any]) -> protocol.Response:
        client, settings = self._client, self._settings
        # Another call may meanwhile find that the connection has changed, and give the client back.
        self._shared.take_again(settings)
        try:
            return await client.send(call.request)
        except client.ERRORS as error:
            raise _transport_error(call, settings, error, client.UNSENT) from error
        finally:
            await self._shared.give_back(settings)

    async def _pages(self, page: Callable[[str | None], protocol.Call[Page[R]]]) -> AsyncIterator[Page[R]]:
        tokens: set[str] = set()
        token: str | None = None
        while True:
            result = await self._call(page(token))
            yield result
            token = _next_token(result, tokens)
            if token is None:
                return


def _failure(state: tenacity.RetryCallState) -> BaseException:
    error = state.outcome.exception() if state.outcome else None
    return error or FullStoryError("The request failed.")


def _put_key(api_key: str) -> Callable[[requests.PreparedRequest], requests.PreparedRequest]:
    def authorize(request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = protocol.authorization(api_key)
        return request

    return authorize


def _now() -> float:
    return asyncio.get_running_loop().time()


def _next_token(page: Page[Any], seen: set[str]) -> str | None:
    """Return the token of the next page; a token that comes again would read the same pages for ever."""
    token = page.next_page_token
    if not token or token in seen:
        return None
    seen.add(token)
    return token


def _transport_error(
    call: protocol.Call[Any],
    settings: Settings,
    error: BaseException,
    unsent: tuple[type[BaseException], ...],
) -> FullStoryTransportError | FullStoryInputError:
    cause, is_unsent = error, isinstance(error, unsent)
    # Errors of earlier attempts are part of the chain, behind the error that they became.
    while (following := cause.__cause__ or cause.__context__) and not isinstance(following, FullStoryError):
        cause = following
        is_unsent = is_unsent or isinstance(cause, unsent)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return FullStoryInputError(
            f"The certificate of {settings.base_url} is not trusted ({cause.verify_message}). Where a proxy "
            "re-encrypts the traffic, name its authority in the connection's extra: ca_bundle."
        )
    error_type = FullStoryUnreachableError if is_unsent else FullStoryTransportError
    return error_type(
        f"Could not {call.purpose}: no answer from {settings.base_url} ({type(error).__name__}: {cause})."
    )


def _form_type(field: dict[str, Any]) -> str:
    kinds = field["schema"]["type"]
    return str(next(kind for kind in kinds if kind != "null"))
