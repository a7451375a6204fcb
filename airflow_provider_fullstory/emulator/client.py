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
    Ask and steer a running emulator, wherever it was started.

    :param url: Where it listens, such as ``http://127.0.0.1:8025``.
    """

    url: str

    standard_key = "na1.emulator/standard"
    architect_key = "na1.emulator/architect"
    admin_key = "na1.emulator/admin"

    @property
    def keys(self) -> tuple[str, str, str]:
        """The API keys it knows, from the least to the most powerful."""
        return self.standard_key, self.architect_key, self.admin_key

    def connection_json(self, key: str | None = None) -> str:
        """
        Return a value for ``AIRFLOW_CONN_FULLSTORY_DEFAULT``, as JSON.

        :param key: The API key; by default one of level Architect, which may read why records were refused.
        """
        return json.dumps({"conn_type": "fullstory", "host": self.url, "password": key or self.architect_key})

    def connection_uri(self, key: str | None = None) -> str:
        """
        Return a value for ``AIRFLOW_CONN_FULLSTORY_DEFAULT``, as a URI.

        :param key: The API key; by default one of level Architect.
        """
        return f"fullstory://:{quote(key or self.architect_key, safe='')}@{quote(self.url, safe='')}"

    def configure(self, **settings: object) -> dict[str, Any]:
        """
        Change settings until the next :meth:`reset`, and return all of them.

        :param settings: Fields of :class:`~airflow_provider_fullstory.emulator.settings.Settings`.
        """
        return self._call("POST", "settings", settings)

    def iterate_events(self, job_id: str | None = None) -> Iterator[dict[str, Any]]:
        """
        Walk the imported events in the order of acceptance, without holding them all.

        An import cannot be cancelled, so those of jobs that are still processing are included. Each is an
        object with ``job_id`` (null when it was sent outside a batch), ``ordinal`` (its place in the batch,
        from 0), ``event`` (as it was sent) and, if the request had it, ``shared``.

        :param job_id: Only events of this job.
        """
        return self._lines("events?" + urlencode({"job_id": job_id}) if job_id else "events")

    def events(self, job_id: str | None = None) -> list[dict[str, Any]]:
        """
        Return the imported events; see :meth:`iterate_events`.

        :param job_id: Only events of this job.
        """
        return list(self.iterate_events(job_id))

    def users(self) -> list[dict[str, Any]]:
        """Return all users that were created or updated, each with ``id`` and ``user``, ordered by id."""
        return list(self._lines("users"))

    def requests(self) -> list[dict[str, Any]]:
        """Return what was asked, oldest first; see ``LoggedRequest``."""
        requests: list[dict[str, Any]] = self._call("GET", "requests")["requests"]
        return requests

    def jobs(self) -> list[dict[str, Any]]:
        """Return all jobs in the order of acceptance, with their counts and times."""
        jobs: list[dict[str, Any]] = self._call("GET", "jobs")["jobs"]
        return jobs

    def most_unfinished(self) -> dict[str, int]:
        """Return how many ``batches``, and how many ``records``, were unfinished at most at the same time."""
        most: dict[str, int] = self._call("GET", "most_unfinished")
        return most

    def order_fault(self, **fault: object) -> None:
        """
        Order something to go wrong.

        :param fault: Fields of :class:`~airflow_provider_fullstory.emulator.faults.Fault`.
        """
        self._call("POST", "faults", fault)

    def faults(self) -> list[dict[str, Any]]:
        """Return the faults that have not all happened yet."""
        faults: list[dict[str, Any]] = self._call("GET", "faults")["faults"]
        return faults

    def forget_faults(self) -> None:
        """Cancel the faults that have not happened yet."""
        self._call("DELETE", "faults")

    def order_refusal(
        self,
        path: str,
        values: Iterable[object] | None = None,
        *,
        code: str | None = "invalid_argument",
        message: str | None = "the record was refused",
    ) -> None:
        """
        Order that records of batches be refused that break no rule, until the next :meth:`reset`.

        Of several orders for a record the first one counts. A record that breaks a rule is refused for that.

        :param path: Dotted path into the event or user, such as ``properties.order_id``.
        :param values: Values there of those to refuse; by default all that have the path.
        :param code: What ``/errors`` gives as code; None leaves it out.
        :param message: What ``/errors`` gives as message; None leaves it out.
        """
        meant = None if values is None else list(values)
        self._call("POST", "refusals", {"path": path, "values": meant, "code": code, "message": message})

    def refusals(self) -> list[dict[str, Any]]:
        """Return the refusals that are ordered; see :meth:`order_refusal`."""
        refusals: list[dict[str, Any]] = self._call("GET", "refusals")["refusals"]
        return refusals

    def forget_refusals(self) -> None:
        """Cancel all orders of refusals; what was refused stays refused."""
        self._call("DELETE", "refusals")

    def advance_clock(self, seconds: float) -> None:
        """
        Move the emulator's clock forward, instead of sleeping.

        :param seconds: By how much.
        """
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
        # Not urllib.request, which would look for a local server behind a proxy.
        with closing(HTTPConnection(urlsplit(self.url).netloc)) as connection:
            body = None if value is None else json.dumps(value)
            connection.request(method, f"/_emulator/{name}", body)
            response = connection.getresponse()
            if response.status >= HTTPStatus.BAD_REQUEST:
                raise ValueError(json.load(response)["message"])
            yield response
