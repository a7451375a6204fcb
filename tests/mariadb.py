"""A MariaDB server of our own."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import socket
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING, Any

from demo.processes import Process, wait_for

if TYPE_CHECKING:
    from pathlib import Path

# Debian's server is where only root looks by default.
_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"])
PROGRAMS = [shutil.which(name, path=_PATH) for name in ("mariadbd", "mariadb-install-db")]

USER, PASSWORD, DATABASE = "reader", "secret", "warehouse"


class MariaDb:
    """
    Run MariaDB below a directory, with all data in it.

    :param directory: An existing directory with a short path, since that of a socket is limited to about
        100 characters.
    :param settings: Options of the server, such as ``net-write-timeout=1``.
    """

    def __init__(self, directory: Path, *settings: str) -> None:
        self._data = directory / "mariadb"
        self._socket = directory / "socket"
        self._log = directory / "mariadb.log"
        self._settings = settings
        self.port = 0
        self._process: Process | None = None

    def start(self) -> None:
        """Start the server, with an empty database and a user of it."""
        server, install = PROGRAMS
        if server is None or install is None:
            raise RuntimeError("MariaDB is not installed.")
        common = ["--no-defaults", f"--datadir={self._data}", f"--user={getpass.getuser()}"]
        subprocess.run(
            [install, *common, "--skip-test-db", "--auth-root-authentication-method=normal"],
            check=True,
            capture_output=True,
        )
        with closing(socket.socket()) as listener:
            listener.bind(("127.0.0.1", 0))
            self.port = listener.getsockname()[1]
        self._process = Process(
            name="MariaDB",
            command=[
                server,
                *common,
                f"--socket={self._socket}",
                f"--port={self.port}",
                "--bind-address=127.0.0.1",
                *(f"--{setting}" for setting in self._settings),
            ],
            log=self._log,
        )
        self._process.start()
        wait_for("MariaDB to accept connections", self._is_up, [self._process], seconds=60)
        self.run(f"CREATE DATABASE {DATABASE}")
        self.run(f"CREATE USER {USER} IDENTIFIED BY '{PASSWORD}'")
        self.run(f"GRANT ALL ON {DATABASE}.* TO {USER}")

    def stop(self) -> None:
        """Stop the server."""
        if self._process is not None:
            self._process.stop()

    def run(self, sql: str) -> tuple[tuple[Any, ...], ...]:
        """Run a statement as root, and return its rows."""
        import pymysql

        with closing(pymysql.connect(unix_socket=str(self._socket), user="root")) as connection:
            cursor = connection.cursor()
            cursor.execute(sql)
            rows: tuple[tuple[Any, ...], ...] = cursor.fetchall()
        return rows

    def connection_json(self, **extra: str) -> str:
        """Return a value for `AIRFLOW_CONN_...`."""
        return json.dumps(
            {
                "conn_type": "mysql",
                "host": "127.0.0.1",
                "port": self.port,
                "login": USER,
                "password": PASSWORD,
                "schema": DATABASE,
                "extra": extra,
            }
        )

    def _is_up(self) -> bool:
        import pymysql

        try:
            self.run("SELECT 1")
        except pymysql.OperationalError:
            return False
        return True
