"""SQL Server's side of its protocol (the specification MS-TDS), version 7.4 without encryption."""

from __future__ import annotations

import datetime
import struct
from contextlib import contextmanager
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Thread
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Types of packets.
BATCH, ANSWER, LOGIN, PRELOGIN = 0x01, 0x04, 0x10, 0x12
COLLATION: Final = b"\x09\x04\xd0\x00\x34"
#: Version 16, and encryption, which is not supported.
PRELOGIN_ANSWER: Final = (
    b"\x00\x00\x0b\x00\x06\x01\x00\x11\x00\x01\xff"  # Where the two are.
    b"\x10\x00\x00\x00\x00\x00\x02"
)

NULL_IN_ONE_BYTE: Final = b"\x00"


def text(value: str) -> tuple[bytes, bytes, bytes]:
    """Return nvarchar(max), in which SQL Server gives JSON too: the type, a value and NULL."""
    data = value.encode("utf-16-le")
    chunks = struct.pack("<QI", len(data), len(data)) + data + bytes(4)
    return b"\xe7\xff\xff" + COLLATION, chunks, b"\xff" * 8


def bit(value: int) -> tuple[bytes, bytes, bytes]:
    """Return bit."""
    return b"\x68\x01", bytes([1, value]), NULL_IN_ONE_BYTE


def decimal(digits: int, scale: int) -> tuple[bytes, bytes, bytes]:
    """Return a positive decimal(9, scale)."""
    return bytes([0x6A, 5, 9, scale]), b"\x05\x01" + digits.to_bytes(4, "little"), NULL_IN_ONE_BYTE


def datetime2(value: datetime.datetime) -> tuple[bytes, bytes, bytes]:
    """Return datetime2(7)."""
    return b"\x2a\x07", b"\x08" + _moment(value), NULL_IN_ONE_BYTE


def datetimeoffset(value: datetime.datetime, minutes: int) -> tuple[bytes, bytes, bytes]:
    """Return datetimeoffset(7), of a moment in UTC and an offset from it."""
    return b"\x2b\x07", b"\x0a" + _moment(value) + struct.pack("<h", minutes), NULL_IN_ONE_BYTE


def _moment(value: datetime.datetime) -> bytes:
    since_midnight = value - datetime.datetime.combine(value, datetime.time(), value.tzinfo)
    ticks = since_midnight // datetime.timedelta(microseconds=1) * 10
    return ticks.to_bytes(5, "little") + (value.toordinal() - 1).to_bytes(3, "little")


@contextmanager
def sqlserver(**columns: tuple[bytes, bytes, bytes]) -> Iterator[Callable[[], Any]]:
    """Give a function that connects to a server whose every SELECT gives a row of values and one of NULLs."""
    import pymssql

    class Tds(StreamRequestHandler):
        def handle(self) -> None:
            while header := self.rfile.read(8):
                body = self.rfile.read(int.from_bytes(header[2:4]) - 8)
                self.wfile.write(_packet(_answer(header[0], body)))

    def _answer(packet: int, body: bytes) -> bytes:
        if packet == PRELOGIN:
            return PRELOGIN_ANSWER
        if packet == LOGIN:
            return LOGIN_ANSWER
        sql = body[int.from_bytes(body[:4], "little") :].decode("utf-16-le")
        return _rows(columns) + _done(2) if sql.startswith("SELECT") else _done(0)

    with ThreadingTCPServer(("127.0.0.1", 0), Tds) as server:
        server.daemon_threads = True
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield lambda: pymssql.connect(
                server="127.0.0.1",
                port=server.server_address[1],
                user="reader",
                password="secret",
                tds_version="7.4",
                encryption="off",
            )
        finally:
            server.shutdown()


def _packet(data: bytes) -> bytes:
    return bytes([ANSWER, 1]) + (len(data) + 8).to_bytes(2) + b"\x00\x00\x01\x00" + data


def _short_text(value: str) -> bytes:
    return bytes([len(value)]) + value.encode("utf-16-le")


def _token(kind: int, data: bytes) -> bytes:
    return bytes([kind]) + struct.pack("<H", len(data)) + data


def _done(rows: int) -> bytes:
    return b"\xfd" + struct.pack("<HHQ", 0x10, 0xC1, rows)


def _rows(columns: dict[str, tuple[bytes, bytes, bytes]]) -> bytes:
    described = [struct.pack("<IH", 0, 9) + kind + _short_text(name) for name, (kind, *_) in columns.items()]
    values = b"".join(value for _, value, _ in columns.values())
    nulls = b"".join(null for *_, null in columns.values())
    return (
        b"\x81" + struct.pack("<H", len(columns)) + b"".join(described) + b"\xd1" + values + b"\xd1" + nulls
    )


#: Changes of the environment (the database and the collation), and that the login is accepted.
LOGIN_ANSWER: Final = (
    _token(0xE3, b"\x01" + _short_text("master") * 2)
    + _token(0xE3, b"\x07\x05" + COLLATION + b"\x00")
    + _token(0xAD, b"\x01\x74\x00\x00\x04" + _short_text("Microsoft SQL Server") + b"\x10\x00\x00\x00")
    + _done(0)
)
