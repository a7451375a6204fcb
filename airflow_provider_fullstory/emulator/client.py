"""A client of the emulator's control API, for tests and demos."""

from __future__ import annotations

import dataclasses
import json
from contextlib import closing, contextmanager
from http import HTTPStatus
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from http.client import HTTPResponse


@dataclasses.dataclass(frozen=True)
class EmulatorClient:
    """
    Inspect and control a running emulator, however it was started.

    :param url: Its address, such as ``http://127.0.0.1:8025``.
    """

    url: str

    standard_key = "na1.emulator/standard"
    architect_key = "na1.emulator/architect"
    admin_key = "na1.emulator/admin"

    @property
    def keys(self) -> tuple[str, str, str]:
        """The API keys that the emulator knows, from the lowest level to the highest."""
        return self.standard_key, self.architect_key, self.admin_key

    def connection_json(self, key: str | None = None) -> str:
        """
        Return a value for ``AIRFLOW_CONN_FULLSTORY_DEFAULT``, as JSON.

        :param key: The API key; by default one of level Architect, which may read why records were rejected.
        """
        return json.dumps({"conn_type": "fullstory", "host": self.url, "password": key or self.architect_key})

    def connection_uri(self, key: str | None = None) -> str:
        """Return the same connection as :meth:`connection_json`, as a URI."""
        return f"fullstory://:{quote(key or self.architect_key, safe='')}@{quote(self.url, safe='')}"

    def configure(self, **settings: object) -> dict[str, Any]:
        """
        Change settings until the next :meth:`reset`, and return all of them.

        :param settings: Fields of :class:`~airflow_provider_fullstory.emulator.settings.Settings`.
        """
        return self._call("POST", "settings", settings)

    def iterate_events(self, job_id: str | None = None) -> Iterator[dict[str, Any]]:
        """
        Iterate over the imported events, or those of one job, in the order of acceptance.

        They are not all held in memory. Events of jobs that are still processing are included, since an
        import cannot be cancelled. Each event is an object with ``job_id`` (null when it was sent outside a
        batch), ``ordinal`` (its place in the batch, from 0), ``event`` (as it was sent) and, if the request
        had it, ``shared``.
        """
        return self._lines("events?" + urlencode({"job_id": job_id}) if job_id else "events")

    def events(self, job_id: str | None = None) -> list[dict[str, Any]]:
        """Return the imported events; see :meth:`iterate_events`."""
        return list(self.iterate_events(job_id))

    def users(self) -> list[dict[str, Any]]:
        """
        Return all users that are not yet deleted, ordered by id.

        Each is an object with ``id``, ``user`` (all that was sent of it, merged, without the properties that
        FullStory drops) and ``is_being_deleted``.
        """
        return list(self._lines("users"))

    def annotations(self) -> list[dict[str, Any]]:
        """Return the annotations, oldest first, each with text, start_time, end_time and source."""
        annotations: list[dict[str, Any]] = self._call("GET", "annotations")["annotations"]
        return annotations

    def requests(self) -> list[dict[str, Any]]:
        """Return the requests, oldest first; see ``LoggedRequest``."""
        requests: list[dict[str, Any]] = self._call("GET", "requests")["requests"]
        return requests

    def jobs(self) -> list[dict[str, Any]]:
        """Return all jobs in the order of acceptance, with their counts and times."""
        jobs: list[dict[str, Any]] = self._call("GET", "jobs")["jobs"]
        return jobs

    def most_unfinished(self) -> dict[str, int]:
        """Return the most ``batches``, and the most ``records``, that were unfinished at the same time."""
        most: dict[str, int] = self._call("GET", "most_unfinished")
        return most

    def order_fault(self, **fault: object) -> None:
        """
        Inject a fault.

        :param fault: Fields of :class:`~airflow_provider_fullstory.emulator.injection.faults.Fault`.
        """
        self._call("POST", "faults", fault)

    def faults(self) -> list[dict[str, Any]]:
        """Return the faults that are still to happen."""
        faults: list[dict[str, Any]] = self._call("GET", "faults")["faults"]
        return faults

    def forget_faults(self) -> None:
        """Cancel the faults that have not happened yet."""
        self._call("DELETE", "faults")

    def order_rejection(
        self,
        path: str,
        values: Iterable[object] | None = None,
        *,
        code: str | None = "invalid_argument",
        message: str | None = "the record was rejected",
    ) -> None:
        """
        Reject records of batches that break no rule, until the next :meth:`reset`.

        The oldest order that matches a record counts. A record that breaks a rule is rejected for that.

        :param path: Dotted path in the event or user, such as ``properties.order_id``.
        :param values: Reject records with one of these values at the path; by default with any value.
        :param code: Code in ``/errors``; None leaves it out.
        :param message: Message in ``/errors``; None leaves it out.
        """
        wanted = None if values is None else list(values)
        self._call("POST", "rejections", {"path": path, "values": wanted, "code": code, "message": message})

    def rejections(self) -> list[dict[str, Any]]:
        """Return the rejections that are ordered; see :meth:`order_rejection`."""
        rejections: list[dict[str, Any]] = self._call("GET", "rejections")["rejections"]
        return rejections

    def forget_rejections(self) -> None:
        """Cancel all ordered rejections; records that were rejected stay rejected."""
        self._call("DELETE", "rejections")

    def advance_clock(self, seconds: float) -> None:
        """Move the emulator's clock forward by some seconds, instead of sleeping."""
        self._call("POST", "clock", {"advance_seconds": seconds})

    def reset(self) -> None:
        """Forget all data, orders and requests, and return to the settings and the clock of the start."""
        self._call("POST", "reset")

    def _call(self, method: str, name: str, value: object = None) -> dict[str, Any]:
        with self._open(method, name, value) as response:
            answer: dict[str, Any] = json.load(response)
        return answer

    def _lines(self, name: str) -> Iterator[dict[str, Any]]:
        with self._open("GET", name) as response:
            for line in response:
                yield json.loads(line)

    @contextmanager
    def _open(self, method: str, name: str, value: object = None) -> Iterator[HTTPResponse]:
        # Not urllib.request, which would send requests to a local server through a proxy.
        with closing(HTTPConnection(urlsplit(self.url).netloc)) as connection:
            body = None if value is None else json.dumps(value)
            connection.request(method, f"/_emulator/{name}", body)
            response = connection.getresponse()
            if response.status >= HTTPStatus.BAD_REQUEST:
                raise ValueError(json.load(response)["message"])
            yield response
