"""The HTTP server: it passes requests to endpoints, and applies faults and idempotency keys."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import logging
import socket
import struct
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from http import HTTPStatus
from http.client import responses
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

from aiohttp import web

from airflow_provider_fullstory.emulator.answers import Answer, ApiError, invalid
from airflow_provider_fullstory.emulator.clock import timestamp
from airflow_provider_fullstory.emulator.http.control import Control
from airflow_provider_fullstory.emulator.http.page import page
from airflow_provider_fullstory.emulator.http.routes import Call, Route, check_level, find_route, level_of
from airflow_provider_fullstory.emulator.injection.faults import Fault
from airflow_provider_fullstory.emulator.organization.organization import LoggedRequest, Organization

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_fullstory.emulator.settings import Settings

Result = TypeVar("Result")

_LOGGER = logging.getLogger(__name__)

# Requests that write wait for each other in their threads; some must be left for requests that read.
_THREADS = 32

_CODES = {
    400: "invalid_argument",
    401: "unauthorized",
    403: "forbidden",
    404: "resource_not_found",
    409: "conflict",
    429: "too_many_requests",
}


class Server:
    """
    Serve an emulated organization over HTTP; an asynchronous context manager.

    :param settings: Limits and behaviour.
    :param host: Address to listen on.
    :param port: Port to listen on; 0 lets the system choose.
    :param data: Database file that outlives the server; a temporary one by default.
    """

    def __init__(
        self, settings: Settings, host: str = "127.0.0.1", port: int = 0, data: Path | None = None
    ) -> None:
        self._settings = settings
        self._host = host
        self._port = port
        self._data = data
        self._open = AsyncExitStack()
        self.url = ""

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as opening:
            if self._data is None:
                directory = opening.enter_context(tempfile.TemporaryDirectory(prefix="fullstory-emulator-"))
                self._data = Path(directory, "emulator.sqlite")
            self._organization = Organization(self._data, self._settings)
            opening.callback(self._organization.close)
            self._executor = opening.enter_context(ThreadPoolExecutor(_THREADS))
            self._control = Control(self._organization, self._executor)
            application = web.Application(client_max_size=0)
            application.router.add_route("*", "/_emulator/{name:.*}", self._control.answer)
            application.router.add_route("GET", "/", self._serve_page)
            application.router.add_route("*", "/{path:.*}", self._serve)
            runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0, auto_decompress=False)
            await runner.setup()
            opening.push_async_callback(runner.cleanup)
            site = web.TCPSite(runner, self._host, self._port)
            await site.start()
            port = runner.addresses[0][1]
            host = f"[{self._host}]" if ":" in self._host else self._host
            self.url = f"http://{host}:{port}"
            self._open = opening.pop_all()
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._organization.faults.forget()
        await self._open.aclose()

    async def _serve_page(self, request: web.Request) -> web.StreamResponse:
        """Show a person what there is; a client of the API gets FullStory's answer."""
        if "text/html" not in request.headers.get("Accept", ""):
            return await self._serve(request)
        text = await self._in_thread(page, self._organization)
        return web.Response(text=text, content_type="text/html")

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        began = time.monotonic()
        path, _, query = request.raw_path.partition("?")
        key = request.headers.get("Idempotency-Key") or None
        logged = LoggedRequest(timestamp(self._organization.clock.now()), request.method, path, query, key)
        self._organization.requests.append(logged)
        try:
            answer = await self._answer(request, logged)
        except ApiError as error:
            answer = error.answer()
        except ConnectionError:
            # Either a fault, or the client has disconnected.
            _abort(request)
            return web.Response()
        except Exception:
            _LOGGER.exception("The emulator failed at %s %s", request.method, path)
            answer = ApiError(500, "server_error", "Server error was encountered").answer()
        logged.status, logged.records = answer.status, answer.records
        logged.seconds = round(time.monotonic() - began, 6)
        return web.Response(
            status=answer.status,
            body=answer.body,
            headers={"Content-Type": "application/json"} | dict(answer.headers),
        )

    async def _answer(self, request: web.Request, logged: LoggedRequest) -> Answer:
        body = await request.read()
        logged.body_bytes, logged.body_sha256 = len(body), await self._in_thread(_sha256, body)
        level = level_of(request.headers.get("Authorization", ""))
        fault = self._organization.faults.take(request.method, logged.path) or Fault()
        route, found_id = find_route(request.method, logged.path)
        check_level(route, level)
        self._check_body(request, body)
        key = logged.idempotency_key if route.takes_key else None
        call = Call(level, body, request.query, found_id, key, self._organization.clock.now())
        if call.idempotency_key is None:
            return await self._faulty(fault, route, call, logged)
        with self._organization.idempotency.executing(route.path, call.idempotency_key):
            return await self._faulty(fault, route, call, logged)

    def _check_body(self, request: web.Request, body: bytes) -> None:
        limit = self._organization.settings.max_body_bytes
        if limit is not None and len(body) > limit:
            raise ApiError(413, "request_too_large", f"the request body must not exceed {limit} bytes")
        # Unknown: whether compressed bodies are accepted. Here they are not.
        if request.headers.get("Content-Encoding", "identity") != "identity":
            raise invalid("Content-Encoding is not supported")

    async def _faulty(self, fault: Fault, route: Route, call: Call, logged: LoggedRequest) -> Answer:
        """Answer a request, with its fault."""
        if fault.delay_seconds > 0:
            await self._organization.faults.delay(fault.delay_seconds)
            call = dataclasses.replace(call, arrived=self._organization.clock.now())
        if fault.reset == "before":
            raise ConnectionAbortedError
        instead = None if fault.status is None else _answer_of(fault, fault.status)
        work = None if fault.work_done or fault.reset == "after" else instead
        try:
            answer = await self._in_thread(self._execute, route, call, logged, work)
        except ApiError as error:
            answer = error.answer()
        if fault.reset == "after":
            raise ConnectionAbortedError
        return instead or answer

    def _execute(self, route: Route, call: Call, logged: LoggedRequest, instead: Answer | None) -> Answer:
        """Answer a request; ``instead`` takes the place of the endpoint's answer."""
        organization, memory = self._organization, self._organization.idempotency
        if route.method == "GET":
            return instead or route.endpoint(organization, call)
        with organization.database.transaction():
            scope, key, digest = route.path, call.idempotency_key, logged.body_sha256
            remembered = memory.recall(scope, key, digest) if key else None
            if remembered is not None:
                logged.replayed = True
                return remembered
            try:
                answer = instead or route.endpoint(organization, call)
            except ApiError as error:
                answer = error.answer()
            if key:
                server_errors = organization.settings.replay_server_errors
                memory.remember(scope, key, digest, answer, server_errors=server_errors)
            return answer

    async def _in_thread(self, function: Callable[..., Result], *arguments: object) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._executor, function, *arguments)


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _answer_of(fault: Fault, status: int) -> Answer:
    if bytes(fault.body):
        return Answer(status, bytes(fault.body), fault.headers)
    if status < HTTPStatus.MULTIPLE_CHOICES:
        return Answer(status, b"{}", fault.headers)
    code = _CODES.get(status, "server_error")
    return ApiError(status, code, responses.get(status, ""), fault.headers).answer()


def _abort(request: web.Request) -> None:
    transport = request.transport
    if transport is None:
        return
    # With a linger time of 0 the system sends a reset instead of closing the connection in good order.
    connection: socket.socket | None = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
