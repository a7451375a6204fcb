"""
The floor: PostgreSQL builds the JSON, and Python only cuts it into bodies.

It checks nothing, keeps no account and cannot send again; it shows what reading and sending alone take.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

import psycopg2
import requests
from requests.adapters import HTTPAdapter

from benchmarks.orders import COPY

if TYPE_CHECKING:
    from benchmarks.place import Place

_UPLOADS: Final = 4


class _Bodies:
    """
    Take lines of JSON, as psycopg2 writes them, and send 50,000 at a time.

    :param place: Where to.
    """

    def __init__(self, place: Place) -> None:
        self.sent = 0
        self._place = place
        self._lines: list[bytes] = []
        self._rest = b""
        self._session = requests.Session()
        self._session.mount("http://", HTTPAdapter(pool_connections=1, pool_maxsize=_UPLOADS))
        self._pool = ThreadPoolExecutor(_UPLOADS)
        self._uploads: set[Future[None]] = set()

    def write(self, data: bytes) -> int:
        """Take some bytes of the result."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._lines += lines
        if len(self._lines) >= 50_000:
            self._send(self._lines[:50_000])
            self._lines = self._lines[50_000:]
        return len(data)

    def finish(self) -> None:
        """Send the rest, and wait for all answers."""
        if self._lines:
            self._send(self._lines)
        self._pool.shutdown()
        for upload in self._uploads:
            upload.result()

    def _send(self, lines: list[bytes]) -> None:
        if len(self._uploads) == _UPLOADS:
            done, self._uploads = wait(self._uploads, return_when=FIRST_COMPLETED)
            for upload in done:
                upload.result()
        self.sent += len(lines)
        self._uploads.add(self._pool.submit(self._post, b'{"requests":[' + b",".join(lines) + b"]}"))

    def _post(self, body: bytes) -> None:
        headers = {
            "Authorization": f"Basic {self._place.api_key}",
            "Content-Type": "application/json",
            "Idempotency-Key": hashlib.sha256(body).hexdigest()[:32],
        }
        self._session.post(self._place.batches_url, data=body, headers=headers, timeout=60).raise_for_status()


def send(place: Place) -> int:
    """Send all orders."""
    bodies: Any = _Bodies(place)
    with closing(psycopg2.connect(**place.database)) as connection, connection.cursor() as cursor:
        cursor.copy_expert(COPY, bodies)
    bodies.finish()
    sent: int = bodies.sent
    return sent
