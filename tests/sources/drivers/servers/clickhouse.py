"""ClickHouse's engine (chdb) behind its two protocols: HTTP, and the native one."""

from __future__ import annotations

from contextlib import contextmanager
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from tests.sources.drivers.servers.http import answering

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def run(sql: str) -> bytes:
    """Return the result of a query in ClickHouse's native format."""
    import chdb

    return bytes(chdb.query(sql, "Native").bytes())


@contextmanager
def clickhouse_connect() -> Iterator[Callable[[], Any]]:
    """Give a function that connects through HTTP."""
    from clickhouse_connect import dbapi

    def answer(path: str, body: bytes) -> tuple[str, bytes]:
        [sql] = parse_qs(urlsplit(path).query).get("query", [body.decode()])
        return "application/octet-stream", run(sql)

    with answering(answer) as port:
        yield lambda: dbapi.connect(host="127.0.0.1", port=port)


#: Packets of the client and of the server (src/Core/Protocol.h of ClickHouse), and a revision of the protocol
#: whose packets have but a few fields.
HELLO, QUERY, DATA = 0, 1, 2
SERVER_HELLO, SERVER_DATA, SERVER_END = 0, 1, 5
REVISION = 54058
#: The fields of a block before its columns: it is not an overflow, and has no bucket.
BLOCK_INFO = b"\x01\x00\x02\xff\xff\xff\xff\x00"


class Native(StreamRequestHandler):
    """One connection of clickhouse-driver."""

    def handle(self) -> None:
        while packet := self.rfile.read(1):
            if packet[0] == HELLO:
                self._greet()
            elif packet[0] == QUERY:
                self._answer()

    def _greet(self) -> None:
        self._text()
        for _ in range(3):
            self._number()
        for _ in range(3):
            self._text()
        version = b"\x15\x01" + _number(REVISION)
        self.wfile.write(bytes([SERVER_HELLO]) + _text(b"ClickHouse") + version + _text(b"UTC"))

    def _answer(self) -> None:
        self._text()  # The query's id.
        if self.rfile.read(1) != b"\x00":
            self._client()
        while self._text():
            self._number()  # The only setting that is sent is a number, max_block_size.
        self._number()
        self._number()
        sql = self._text().decode()
        # An empty block ends the tables that a query may bring along.
        self.rfile.read(len(bytes([DATA]) + b"\x00" + BLOCK_INFO + b"\x00\x00"))
        self.wfile.write(bytes([SERVER_DATA]) + b"\x00" + BLOCK_INFO + run(sql))
        self.wfile.write(bytes([SERVER_END]))

    def _client(self) -> None:
        for _ in range(3):
            self._text()
        self.rfile.read(1)
        for _ in range(3):
            self._text()
        for _ in range(3):
            self._number()

    def _number(self) -> int:
        number = shift = 0
        while True:
            [byte] = self.rfile.read(1)
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number
            shift += 7

    def _text(self) -> bytes:
        return self.rfile.read(self._number())


def _number(number: int) -> bytes:
    if number < 0x80:
        return bytes([number])
    return bytes([number & 0x7F | 0x80]) + _number(number >> 7)


def _text(text: bytes) -> bytes:
    return _number(len(text)) + text


@contextmanager
def clickhouse_driver() -> Iterator[Callable[[], Any]]:
    """Give a function that connects through the native protocol."""
    from clickhouse_driver import dbapi

    with ThreadingTCPServer(("127.0.0.1", 0), Native) as server:
        server.daemon_threads = True
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield lambda: dbapi.connect(host="127.0.0.1", port=server.server_address[1], user="default")
        finally:
            server.shutdown()
