"""The drivers of MySQL and MariaDB: unbuffered cursors."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from contextlib import closing
from typing import Any, Final

from airflow_provider_fullstory.sources.drivers.driver import Driver

log = logging.getLogger(__name__)


class _MySQL(Driver, ABC):
    """
    Drivers whose plain cursor may fetch the whole result at once, and which have an unbuffered cursor.

    With an unbuffered cursor, the server sends rows only as fast as they are read.
    """

    #: Seconds, more than FullStory is likely to delay reading. By default, MySQL closes a connection on which
    #: nothing was read for 60.
    net_write_timeout: Final = 7 * 24 * 3600

    def cursor(self, connection: Any) -> Any:
        """Make an unbuffered cursor on a connection that may be idle for long."""
        try:
            with closing(connection.cursor()) as cursor:
                cursor.execute(f"SET SESSION net_write_timeout = {self.net_write_timeout}")
        except Exception:
            # Another database with MySQL's protocol may not have the setting.
            log.info("The database may close the connection while FullStory delays reading:", exc_info=True)
        return self.unbuffered_cursor(connection)

    @abstractmethod
    def unbuffered_cursor(self, connection: Any) -> Any:
        """Make the driver's own kind of unbuffered cursor."""

    def close_cursor(self, cursor: Any) -> None:
        """Do nothing: a cursor would first read all that is left, or refuse. Its connection closes anyway."""


class MySQLClient(_MySQL):
    """mysqlclient, the successor of MySQLdb."""

    def unbuffered_cursor(self, connection: Any) -> Any:
        """Make a cursor of the unbuffered class."""
        from MySQLdb.cursors import SSCursor

        return connection.cursor(SSCursor)


class PyMySQL(_MySQL):
    """PyMySQL, in pure Python."""

    def unbuffered_cursor(self, connection: Any) -> Any:
        """Make a cursor of the unbuffered class."""
        from pymysql.cursors import SSCursor

        return connection.cursor(SSCursor)

    def close_connection(self, connection: Any) -> None:
        """Close a connection without reading what is left of a result."""
        # Otherwise the result would read what is left when it is collected as garbage.
        if connection._result is not None:
            connection._result.unbuffered_active = False
        connection.close()


class MySQLConnector(_MySQL):
    """MySQL's own driver, with or without its C extension."""

    def unbuffered_cursor(self, connection: Any) -> Any:
        """Make a cursor that does not buffer."""
        return connection.cursor(buffered=False)

    def close_connection(self, connection: Any) -> None:
        """Close a connection without reading what is left of a result."""
        # With the C extension, close() reads all that is left; close() of the inner connection does not.
        getattr(connection, "_cmysql", connection).close()
