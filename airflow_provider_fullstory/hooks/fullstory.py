"""Hooks for FullStory's server API: one for tasks (requests), one for triggers (aiohttp)."""

from __future__ import annotations

import asyncio
import copy
import importlib
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_fullstory.api import jobs, organization
from airflow_provider_fullstory.api.annotations import create_annotation, new_annotation
from airflow_provider_fullstory.api.jobs import Resource
from airflow_provider_fullstory.exceptions import FullStoryError, FullStoryInputError
from airflow_provider_fullstory.hooks import connection_form
from airflow_provider_fullstory.hooks.async_single_records import AsyncSingleRecords
from airflow_provider_fullstory.hooks.connections import async_settings_of, settings_of
from airflow_provider_fullstory.hooks.lineage import report_write
from airflow_provider_fullstory.hooks.pages import async_pages, pages
from airflow_provider_fullstory.hooks.retrying import Retries, RetryBudget
from airflow_provider_fullstory.hooks.single_records import SingleRecords
from airflow_provider_fullstory.hooks.transport import Transport

if TYPE_CHECKING:
    import datetime
    from collections.abc import AsyncIterator, Iterator
    from typing import Self

    import requests

    from airflow_provider_fullstory.api.annotations import Annotation
    from airflow_provider_fullstory.api.http import Content
    from airflow_provider_fullstory.api.jobs import Job, JobStatus, Page, RecordError
    from airflow_provider_fullstory.api.organization import Account, Quotas
    from airflow_provider_fullstory.api.protocol import Call
    from airflow_provider_fullstory.hooks.async_transport import AsyncTransport
    from airflow_provider_fullstory.hooks.settings import Settings

T = TypeVar("T")


class FullStoryBaseHook(BaseHook):
    """
    The connection, and when a request is sent again.

    :param fullstory_conn_id: The connection: password is the API key, host optional.
    :param retry_for: Seconds for which a request that fails in a passing way (no answer, 429, 5xx) is sent
        again: after FullStory's ``Retry-After``, else after growing waits. 0 sends each request once.
    :param rate_limited_for: Seconds for which a request is sent again if the answer is 429; by default
        ``retry_for``. An organization at its limit of unfinished records may need much longer than a fault.
    :param deadline: The time after which no request may last, in seconds since the epoch. By default a
        request has the connection's ``timeout``, and time for its bytes at 50 kB a second.
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
        self._retries = Retries(self.log.warning)

    @property
    def retries(self) -> int:
        """How many requests were sent again."""
        return self._retries.count

    @property
    def rate_limited(self) -> int:
        """How many requests were answered with 429; counted in tasks only."""
        return self._retries.rate_limited

    @property
    def rate_limited_seconds(self) -> float:
        """The seconds in which at least one request waited after 429; counted in tasks only."""
        return self._retries.limit_waits.seconds

    @property
    def _budget(self) -> RetryBudget:
        return RetryBudget(self.retry_for, self.rate_limited_for, self.deadline)


class FullStoryHook(SingleRecords, FullStoryBaseHook):
    """
    Call FullStory's server API from a task.

    One session with pooled connections serves all calls of a hook, from several threads. The hook is a
    context manager; ``close`` frees the connections.

    .. code-block:: python

        with FullStoryHook() as hook:
            status = hook.get_job_status("events", job_id)

    What a hook writes is reported to Airflow's collector of lineage as an output of the task.

    The parameters are those of :class:`FullStoryBaseHook`.
    """

    _reports_lineage = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """
        Free the connections, and end the retries of calls that are in flight in other threads.

        The next call opens new connections.
        """
        self._retries.close()
        self._transport.close()

    @property
    def settings(self) -> Settings:
        """The settings of the connection, looked up once."""
        return self._transport.settings

    @property
    def session(self) -> requests.Session:
        """The HTTP session."""
        return self._transport.session

    def without_retries(self) -> Self:
        """Return a hook on the same session that sends each request once, for a caller that polls."""
        # Made before the copy, which shares it.
        _ = self._transport
        hook = copy.copy(self)
        hook.retry_for, hook.rate_limited_for = 0.0, None
        return hook

    def without_lineage(self) -> Self:
        """Return a hook on the same session for a caller that reports itself where records go."""
        _ = self._transport
        hook = copy.copy(self)
        hook._reports_lineage = False
        return hook

    def imports(self, resource: Resource | str) -> ResourceImports:
        """
        Return a client for the imports of one resource, for a caller that reports their lineage itself.

        :param resource: ``events`` or ``users``.
        """
        return ResourceImports(self, resource)

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
        :param body: The request's JSON: ``{"requests": [...]}``, at most 50,000 of them; bytes, or an object
            that yields them piece by piece, again for each attempt.
        :param idempotency_key: For 24 hours FullStory answers the same key and body with the same job, and
            refuses the key with another body (developer.fullstory.com/server/idempotent-requests). After
            that it would import the batch again, so a request with an unknown outcome is not repeated then.
        :param sent_before: When this request was first sent, in seconds since the epoch, if its answer is
            unknown.
        :raises FullStoryError: If FullStory did not accept the batch. ``is_ambiguous`` says whether it may
            have accepted it without its answer arriving.
        """
        return self._call(jobs.create_import(Resource(resource), body, idempotency_key, sent_before))

    def get_job_status(self, resource: Resource | str, job_id: str) -> JobStatus:
        """
        Return the status of a job, with counts of its records.

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
        :raises FullStoryPermissionError: If the key is below Architect level.
        :raises FullStoryNotReadyError: If the job is still processed after ``retry_for`` seconds.
        """
        kind = Resource(resource)
        return pages(
            lambda token: self._call(jobs.imports_page(kind, job_id, token, include_schema=include_schema))
        )

    def iter_errors(self, resource: Resource | str, job_id: str) -> Iterator[Page[RecordError]]:
        """
        Yield the records of a job that FullStory rejected, page by page.

        :param resource: ``events`` or ``users``.
        :param job_id: Id of the job.
        :raises FullStoryPermissionError: If the key is below Architect level.
        :raises FullStoryNotReadyError: If the job is still processed after ``retry_for`` seconds.
        """
        kind = Resource(resource)
        return pages(lambda token: self._call(jobs.errors_page(kind, job_id, token)))

    def create_annotation(
        self,
        text: str,
        *,
        start_time: datetime.datetime | str | None = None,
        end_time: datetime.datetime | str | None = None,
        source: str | None = None,
    ) -> Annotation:
        """
        Put a mark into FullStory's charts, and return it as FullStory has it.

        FullStory recognizes no mark that it has already, and can neither list nor delete one. So a request
        that may have arrived is not sent again: ``is_ambiguous`` of the error then is True, and nobody can
        know whether the mark is there. What surely did not arrive, or was refused for the rate limit, is sent
        again as ``retry_for`` says.

        :param text: What the mark says, up to 200 characters.
        :param start_time: When it starts: a datetime, or text in ISO 8601. Without a time zone it is in UTC.
            By default FullStory takes the time of the request.
        :param end_time: When it ends, by default at its start.
        :param source: Where the mark comes from, up to 40 characters.
        :raises FullStoryInputError: Before anything is sent, if FullStory would not take it.
        :raises FullStoryError: If no answer says that FullStory has it.
        """
        return self._call(create_annotation(new_annotation(text, start_time, end_time, source)))

    def get_quotas(self) -> Quotas:
        """Return the organization's quotas for sessions and server events."""
        return self._call(organization.quotas())

    def get_account(self) -> Account:
        """Return the owner and the level of the connection's API key."""
        return self._call(organization.me())

    def test_connection(self) -> tuple[bool, str]:
        """Return whether FullStory knows the connection's key, and what the key may do."""
        try:
            account = self.without_retries().get_account()
        except FullStoryError as error:
            return False, str(error)
        message = f"Connected to FullStory organization {account.org_id}; the key's role is {account.role}."
        if not account.reads_results:
            message += (
                " Imports work, but this key cannot read which records FullStory rejected and why: "
                "that takes an Architect or Admin key."
            )
        return True, message

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return how the connection form looks (Airflow below 3.2)."""
        return connection_form.ui_field_behaviour()

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the additional fields of the connection form (Airflow below 3.2)."""
        return connection_form.widgets()

    def _call(self, call: Call[T]) -> T:
        result = self._retries.call(call, lambda: self._transport.send(call, self.deadline), self._budget)
        if self._reports_lineage:
            report_write(self, self.settings, call.request)
        return result

    @cached_property
    def _transport(self) -> Transport:
        return Transport(self._read_settings)

    def _read_settings(self) -> Settings:
        return settings_of(self, self.fullstory_conn_id)


class ResourceImports:
    """
    Create and follow the imports of one resource.

    Polls are sent once, since a caller that polls decides itself when to poll again.

    :param hook: Sends the requests.
    :param resource: ``events`` or ``users``.
    """

    def __init__(self, hook: FullStoryHook, resource: Resource | str) -> None:
        self._hook = hook.without_lineage()
        self._polling_hook = hook.without_retries()
        self._resource = Resource(resource)

    def create_import(
        self, body: bytes | Content, idempotency_key: str, *, sent_before: float | None = None
    ) -> Job:
        """Start an import of a batch; see :meth:`FullStoryHook.create_import`."""
        return self._hook.create_import(self._resource, body, idempotency_key, sent_before=sent_before)

    def get_job_status(self, job_id: str) -> JobStatus:
        """Return the status of a job; see :meth:`FullStoryHook.get_job_status`."""
        return self._polling_hook.get_job_status(self._resource, job_id)

    def iter_errors(self, job_id: str) -> Iterator[Page[RecordError]]:
        """Yield the rejected records of a job; see :meth:`FullStoryHook.iter_errors`."""
        return self._hook.iter_errors(self._resource, job_id)


class FullStoryAsyncHook(AsyncSingleRecords, FullStoryBaseHook):
    """
    Call FullStory's server API from a trigger, without blocking its event loop.

    The hook is an asynchronous context manager. Hooks that are open on the same event loop with the same host
    and key share pooled connections. If FullStory does not know the key, the hook looks the connection up
    again before it gives up, so a key may be replaced while imports wait.

    .. code-block:: python

        async with FullStoryAsyncHook() as hook:
            status = await hook.get_job_status("events", job_id)

    The parameters are those of :class:`FullStoryBaseHook`.
    """

    _transport: AsyncTransport | None = None

    async def __aenter__(self) -> Self:
        # The import takes tenths of a second: not in the event loop.
        module = "airflow_provider_fullstory.hooks.async_transport"
        transports = await asyncio.to_thread(importlib.import_module, module)
        transport = transports.AsyncTransport((type(self), self.fullstory_conn_id), self._read_settings)
        self._transport = await transport.__aenter__()
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self._transport is not None:
            await self._transport.__aexit__(*exception)

    async def get_job_status(self, resource: Resource | str, job_id: str) -> JobStatus:
        """Return the status of a job; see :meth:`FullStoryHook.get_job_status`."""
        return await self._call(jobs.job_status(Resource(resource), job_id))

    def iter_imports(
        self, resource: Resource | str, job_id: str, *, include_schema: bool = False
    ) -> AsyncIterator[Page[dict[str, Any]]]:
        """Yield the records that a job imported; see :meth:`FullStoryHook.iter_imports`."""
        kind = Resource(resource)
        return async_pages(
            lambda token: self._call(jobs.imports_page(kind, job_id, token, include_schema=include_schema))
        )

    def iter_errors(self, resource: Resource | str, job_id: str) -> AsyncIterator[Page[RecordError]]:
        """Yield the records that FullStory rejected; see :meth:`FullStoryHook.iter_errors`."""
        kind = Resource(resource)
        return async_pages(lambda token: self._call(jobs.errors_page(kind, job_id, token)))

    async def create_annotation(
        self,
        text: str,
        *,
        start_time: datetime.datetime | str | None = None,
        end_time: datetime.datetime | str | None = None,
        source: str | None = None,
    ) -> Annotation:
        """Put a mark into FullStory's charts; see :meth:`FullStoryHook.create_annotation`."""
        return await self._call(create_annotation(new_annotation(text, start_time, end_time, source)))

    async def get_quotas(self) -> Quotas:
        """Return the organization's quotas for sessions and server events."""
        return await self._call(organization.quotas())

    async def get_account(self) -> Account:
        """Return the owner and the level of the connection's API key."""
        return await self._call(organization.me())

    async def _call(self, call: Call[T]) -> T:
        transport = self._transport
        if transport is None:
            raise FullStoryInputError(
                "Nothing was sent: the hook is not open. Use it in an async with block."
            )
        return await self._retries.call_async(call, lambda: transport.send(call, self.deadline), self._budget)

    async def _read_settings(self) -> Settings:
        return await async_settings_of(self, self.fullstory_conn_id)
