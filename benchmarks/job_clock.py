"""A FullStory that only knows when its jobs end, cheap enough to leave the processors to what is measured."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import json
import random
import ssl
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

API_KEY = "na1.benchmark/key"


@dataclass
class JobClock:
    """
    Tell the status of jobs by the clock, and remember when it was asked for.

    :param certificate: File of the certificate that clients have to trust.
    :param latency: Seconds between a request and its answer, as over a network.
    :param url: Where it listens.
    :param ends: When each job ends, in seconds since the epoch.
    :param looks: When each job was asked for.
    :param connections: How many connections were opened.
    """

    certificate: Path
    latency: float
    url: str = ""
    ends: dict[str, float] = field(default_factory=dict)
    looks: dict[str, list[float]] = field(default_factory=dict)
    connections: int = 0

    def connection_json(self) -> str:
        """Return an Airflow connection that leads here."""
        extra = {"ca_bundle": str(self.certificate)}
        return json.dumps(
            {"conn_type": "fullstory", "host": self.url, "password": API_KEY, "extra": json.dumps(extra)}
        )

    def status(self, job_id: str) -> bytes:
        """
        Return the answer about a job.

        :param job_id: The job.
        """
        now = time.time()
        self.looks.setdefault(job_id, []).append(now)
        state = "COMPLETED" if now >= self.ends[job_id] else "PROCESSING"
        job = {"id": job_id, "status": state, "created": "2026-01-01T00:00:00Z"}
        return json.dumps({"imports": 1, "errors": 0, "job": job}).encode()


class _Connection(asyncio.Protocol):
    def __init__(self, clock: JobClock) -> None:
        self._clock = clock
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._clock.connections += 1

    def data_received(self, data: bytes) -> None:
        self._received += data
        while b"\r\n\r\n" in self._received:
            head, _, self._received = self._received.partition(b"\r\n\r\n")
            path = head.split(b" ", 2)[1].decode()
            latency = self._clock.latency * random.uniform(0.5, 1.5)  # noqa: S311 - As a network's varies.
            asyncio.get_running_loop().call_later(latency, self._answer, path)

    def _answer(self, path: str) -> None:
        body = self._clock.status(unquote(path.rpartition("/")[2]))
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        if not self._transport.is_closing():
            self._transport.write(head.encode() + body)  # type: ignore[attr-defined]


@contextmanager
def running_job_clock(directory: Path, latency: float) -> Iterator[JobClock]:
    """
    Serve job statuses over https, from a thread of this process.

    :param directory: Where its certificate goes.
    :param latency: Seconds between a request and its answer.
    """
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    _make_certificate(certificate, key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    clock = JobClock(certificate, latency)
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(
        loop.create_server(lambda: _Connection(clock), "127.0.0.1", 0, ssl=context)
    )
    clock.url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield clock
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.close()


def _make_certificate(certificate: Path, key: Path) -> None:
    private_key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(private_key, hashes.SHA256())
    )
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        private_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
