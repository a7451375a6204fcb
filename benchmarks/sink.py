"""
A FullStory that only reads bodies: it takes every batch and keeps none, so it costs the senders no time.

``python -m benchmarks.sink`` prints its port, then serves until it is killed.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import re
from typing import Final

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_BUFFER_BYTES: Final = 2**20
_QUOTAS: Final = b'{"session_quota":{"usage":"0"},"server_event_quota":{"usage":"0"}}'
_ACCOUNT: Final = b'{"orgId":"sink","role":"ADMIN","email":""}'
_JOB: Final = b'{"job":{"id":"job-%d","status":"%s"},"imports":"0"}'
_numbers = itertools.count(1)


class _Connection(asyncio.BufferedProtocol):
    """
    Answer the requests of a connection.

    :param answer_seconds: How long a batch takes to be answered once it has arrived.
    """

    def __init__(self, answer_seconds: float) -> None:
        self._answer_seconds = answer_seconds
        self._buffer = bytearray(_BUFFER_BYTES)
        self._head = b""
        self._left = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - Tells the type checker.
        self._transport = transport

    def get_buffer(self, sizehint: int) -> bytearray:  # noqa: ARG002 - asyncio's signature.
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._left:
            # All that is done with a body.
            self._left -= nbytes
        else:
            self._head += self._buffer[:nbytes]
            head, end, body = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            length = _LENGTH.search(head)
            self._left = (int(length[1]) if length else 0) - len(body)
            self._request, self._head = head.partition(b"\r\n")[0], b""
        if not self._left:
            self._answer()

    def _answer(self) -> None:
        if self._request.startswith(b"POST"):
            asyncio.get_running_loop().call_later(
                self._answer_seconds, self._send, _JOB % (next(_numbers), b"PROCESSING")
            )
        elif b"quotas" in self._request:
            self._send(_QUOTAS)
        elif self._request.startswith(b"GET /me "):
            self._send(_ACCOUNT)
        else:
            number = int(self._request.partition(b"job-")[2].split()[0])
            self._send(_JOB % (number, b"COMPLETED"))

    def _send(self, content: bytes) -> None:
        assert self._transport is not None  # noqa: S101 - Tells the type checker.
        self._transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
            % (len(content), content)
        )


async def _serve(answer_seconds: float) -> None:
    server = await asyncio.get_running_loop().create_server(
        lambda: _Connection(answer_seconds), "127.0.0.1", 0
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answer-seconds", type=float, default=0)
    asyncio.run(_serve(parser.parse_args().answer_seconds))
