"""Redshift as far as its types go: PostgreSQL with the type SUPER, and a door for redshift-connector."""

from __future__ import annotations

import socket
from contextlib import contextmanager, suppress
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from demo.warehouse import Warehouse

#: Redshift's catalog has the type under this number; here it is a twin of json.
ADD_SUPER = """
    SET allow_system_table_mods = on;
    CREATE TEMPORARY TABLE twin AS SELECT * FROM pg_type WHERE typname = 'json';
    UPDATE twin SET oid = 4000, typname = 'super', typarray = 0;
    INSERT INTO pg_type SELECT * FROM twin WHERE oid NOT IN (SELECT oid FROM pg_type);
    DROP TABLE twin
"""


@contextmanager
def redshift(host: str, user: str, database: str) -> Iterator[Callable[[], Any]]:
    """
    Give a function that connects with redshift-connector.

    :param host: The folder with PostgreSQL's socket.
    :param user: A user of it.
    :param database: A database of it.
    """
    import redshift_connector

    class Door(StreamRequestHandler):
        """Leaves out the settings that Redshift knows and PostgreSQL refuses, then passes all on."""

        def handle(self) -> None:
            self.rfile.read(int.from_bytes(self.rfile.read(4)) - 4)
            with socket.socket(socket.AF_UNIX) as server:
                server.connect(f"{host}/.s.PGSQL.5432")
                start = b"\x00\x03\x00\x00" + f"user\0{user}\0database\0{database}\0\0".encode()
                server.sendall((len(start) + 4).to_bytes(4) + start)
                Thread(target=_pass_on, args=(server, self.connection), daemon=True).start()
                _pass_on(self.connection, server)

    with ThreadingTCPServer(("127.0.0.1", 0), Door) as door:
        door.daemon_threads = True
        Thread(target=door.serve_forever, daemon=True).start()
        try:
            yield lambda: redshift_connector.connect(
                host="127.0.0.1",
                port=door.server_address[1],
                user=user,
                database=database,
                password="any",
                ssl=False,
            )
        finally:
            door.shutdown()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_RDWR)


def add_super(postgresql: Warehouse) -> None:
    """Add the type to a database."""
    with postgresql.cursor() as cursor:
        cursor.execute(ADD_SUPER)
