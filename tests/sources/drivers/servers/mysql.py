"""MySQL's side of its protocol (mysql-mimic): MariaDB has no type JSON."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from queue import Queue
from threading import Thread
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def mysql(**columns: tuple[str, Any]) -> Iterator[int]:
    """
    Run a server whose every query gives one row, and give its port.

    :param columns: Of each column the name of its type in the protocol, and the value.
    """
    from mysql_mimic import MysqlServer, ResultColumn, ResultSet, Session
    from mysql_mimic.types import ColumnType

    class OneRow(Session):
        async def query(self, *_: Any) -> ResultSet:
            described = [ResultColumn(name, ColumnType[kind]) for name, (kind, _) in columns.items()]
            return ResultSet([[value for _, value in columns.values()], [None for _ in columns]], described)

    ports: Queue[int] = Queue()
    stopped = asyncio.Event()

    async def serve() -> None:
        server = MysqlServer(session_factory=OneRow)
        await server.start_server(host="127.0.0.1", port=0)
        ports.put(server._server.sockets[0].getsockname()[1])
        await stopped.wait()
        server.close()

    # At the end, this cancels the connections that are left.
    with asyncio.Runner() as runner:
        thread = Thread(target=runner.run, args=(serve(),), daemon=True)
        thread.start()
        try:
            yield ports.get(timeout=60)
        finally:
            runner.get_loop().call_soon_threadsafe(stopped.set)
            thread.join()
