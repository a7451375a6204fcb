"""The control API below ``/_emulator``, for tests. It needs no key, and faults do not apply to it."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from typing import TYPE_CHECKING, TypeVar

import msgspec
from aiohttp import web

from airflow_provider_fullstory.emulator.answers import Answer, ApiError, invalid, json_answer, not_found
from airflow_provider_fullstory.emulator.clock import timestamp
from airflow_provider_fullstory.emulator.injection.faults import Fault
from airflow_provider_fullstory.emulator.injection.rejections import OrderedRejection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Executor

    from airflow_provider_fullstory.emulator.organization.organization import Organization
    from airflow_provider_fullstory.emulator.store.entries import Job, StoredRecord, StoredUser

Shape = TypeVar("Shape")

_LINES_AT_ONCE = 1000
#: A century; much more would exceed the years that dates can have.
_MOST_SECONDS = 100 * 365 * 24 * 60 * 60


class _Clock(msgspec.Struct, forbid_unknown_fields=True):
    advance_seconds: float


@dataclasses.dataclass
class Control:
    """Answer the control API; slow reads use the executor, so that the event loop keeps answering."""

    organization: Organization
    executor: Executor

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one request whose path starts with ``/_emulator/``."""
        name = request.path.removeprefix("/_emulator/")
        try:
            if request.method == "GET" and name in {"events", "users"}:
                lines = self._events(request.query.get("job_id")) if name == "events" else self._users()
                return await self._stream(request, lines)
            answer = self._answer(request.method, name, await request.read())
        except ApiError as error:
            answer = error.answer()
        return web.Response(status=answer.status, body=answer.body, content_type="application/json")

    def _answer(self, method: str, name: str, body: bytes) -> Answer:
        answers: dict[tuple[str, str], Callable[[], Answer]] = {
            ("GET", "requests"): self._requests,
            ("GET", "jobs"): self._jobs,
            ("GET", "most_unfinished"): self._most_unfinished,
            ("GET", "annotations"): self._annotations,
            ("GET", "faults"): self._faults,
            ("POST", "faults"): lambda: self._order_fault(body),
            ("DELETE", "faults"): self._forget_faults,
            ("GET", "rejections"): self._rejections,
            ("POST", "rejections"): lambda: self._order_rejection(body),
            ("DELETE", "rejections"): self._forget_rejections,
            ("GET", "settings"): self._settings,
            ("POST", "settings"): lambda: self._configure(body),
            ("GET", "clock"): self._clock,
            ("POST", "clock"): lambda: self._advance_clock(body),
            ("POST", "reset"): self._reset,
        }
        if (method, name) not in answers:
            raise not_found()
        return answers[method, name]()

    def _events(self, job_id: str | None) -> Iterator[bytes]:
        jobs = self.organization.jobs
        for job in jobs.all():
            if job.resource == "events" and job_id in {None, job.id}:
                yield from _chunked(_event_lines(job, jobs.imported(job)))

    def _users(self) -> Iterator[bytes]:
        users = self.organization.users.all()
        return _chunked(map(_user_line, users))

    async def _stream(self, request: web.Request, chunks: Iterator[bytes]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        loop = asyncio.get_running_loop()
        while chunk := await loop.run_in_executor(self.executor, next, chunks, b""):
            await response.write(chunk)
        await response.write_eof()
        return response

    def _requests(self) -> Answer:
        return json_answer({"requests": list(self.organization.requests)})

    def _jobs(self) -> Answer:
        return json_answer({"jobs": [self._described(job) for job in self.organization.jobs.all() if job.id]})

    def _most_unfinished(self) -> Answer:
        batches, records = self.organization.jobs.most_unfinished()
        return json_answer({"batches": batches, "records": records})

    def _annotations(self) -> Answer:
        stored = self.organization.annotations.store.all()
        return json_answer({"annotations": [msgspec.Raw(text) for text in stored]})

    def _described(self, job: Job) -> dict[str, object]:
        return {
            "id": job.id,
            "resource": job.resource,
            "status": self.organization.results.state(job),
            "created": timestamp(job.created),
            "started": timestamp(job.started),
            "finished": timestamp(job.finished),
            "records": job.records,
            "imports": job.imports,
            "errors": job.errors,
            "idempotency_key": job.idempotency_key,
        }

    def _faults(self) -> Answer:
        return json_answer({"faults": self.organization.faults.ordered()})

    def _order_fault(self, body: bytes) -> Answer:
        self.organization.faults.order(_decode(body, Fault))
        return self._faults()

    def _forget_faults(self) -> Answer:
        self.organization.faults.forget()
        return self._faults()

    def _rejections(self) -> Answer:
        return json_answer({"rejections": self.organization.rejections.ordered()})

    def _order_rejection(self, body: bytes) -> Answer:
        self.organization.rejections.order(_decode(body, OrderedRejection))
        return self._rejections()

    def _forget_rejections(self) -> Answer:
        self.organization.rejections.forget()
        return self._rejections()

    def _settings(self) -> Answer:
        return json_answer(dataclasses.asdict(self.organization.settings))

    def _configure(self, body: bytes) -> Answer:
        changes = _decode(body, dict[str, object])
        try:
            self.organization.configure(self.organization.settings.replace(changes))
        except ValueError as error:
            raise invalid(str(error)) from error
        return self._settings()

    def _clock(self) -> Answer:
        return json_answer({"now": timestamp(self.organization.clock.now())})

    def _advance_clock(self, body: bytes) -> Answer:
        seconds = _decode(body, _Clock).advance_seconds
        if not 0 <= seconds <= _MOST_SECONDS:
            raise invalid(f"advance_seconds must be 0 to {_MOST_SECONDS}")
        self.organization.advance_clock(seconds)
        return self._clock()

    def _reset(self) -> Answer:
        self.organization.reset()
        return json_answer({})


def _decode(body: bytes, shape: type[Shape]) -> Shape:
    try:
        return msgspec.json.decode(body, type=shape)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError) as error:
        raise invalid(str(error)) from error


def _event_lines(job: Job, records: Iterable[StoredRecord]) -> Iterator[bytes]:
    head = b'{"job_id":%b,"ordinal":' % msgspec.json.encode(job.id)
    tail = b',"shared":%b}\n' % job.shared if job.shared else b"}\n"
    return (b'%b%d,"event":%b%b' % (head, record.ordinal, record.text, tail) for record in records)


def _user_line(user: StoredUser) -> bytes:
    line = {"id": user.id, "user": msgspec.Raw(user.text), "is_being_deleted": user.is_being_deleted}
    return msgspec.json.encode(line) + b"\n"


def _chunked(lines: Iterable[bytes]) -> Iterator[bytes]:
    remaining = iter(lines)
    while chunk := b"".join(itertools.islice(remaining, _LINES_AT_ONCE)):
        yield chunk
