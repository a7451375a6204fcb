"""The drivers of MySQL and MariaDB: unbuffered cursors."""

from __future__ import annotations

import logging
from contextlib import closing
from typing import Any, Final

from airflow_provider_fullstory.sources.drivers.driver import Driver

log = logging.getLogger(__name__)


class _MySQL(Driver):
    """
    Drivers whose plain cursor may fetch the whole result at once, and which have an unbuffered one.

    With that, the server sends rows only as fast as they are read.
    """

    #: Seconds, more than FullStory is likely to make the reading wait. By default, MySQL cuts a connection
    #: on which nothing was read for 60.
    net_write_timeout: Final = 7 * 24 * 3600

    def cursor(self, connection: Any) -> Any:
        """Make an unbuffered cursor, on a connection that may be idle for long."""
        try:
            with closing(connection.cursor()) as cursor:
                cursor.execute(f"SET SESSION net_write_timeout = {self.net_write_timeout}")
        except Exception:
            # A database that only speaks MySQL's protocol need not know the setting.
            log.info("The database may give up when FullStory makes it wait:", exc_info=True)
        return self.unbuffered_cursor(connection)

    def unbuffered_cursor(self, connection: Any) -> Any:
        """Make the driver's own kind of unbuffered cursor."""
        raise NotImplementedError

    def close_cursor(self, cursor: Any) -> None:
        """Leave it to the connection: a cursor reads all that is left before it closes, or refuses to."""


class MySQLClient(_MySQL):
    """mysqlclient, which is MySQLdb's successor."""

    def unbuffered_cursor(self, connection: Any) -> Any:
        """Make a cursor of the class that does not buffer."""
        from MySQLdb.cursors import SSCursor

        return connection.cursor(SSCursor)


class PyMySQL(_MySQL):
    """PyMySQL, in pure Python."""

    def unbuffered_cursor(self, connection: Any) -> Any:
        """Make a cursor of the class that does not buffer."""
        from pymysql.cursors import SSCursor

        return connection.cursor(SSCursor)

    def close_connection(self, connection: Any) -> None:
        """Close a connection without reading what is left of a result."""
        # Collected as garbage, its result would try to read what is left.
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
        # With the C extension, this close() reads all that is left; that of the connection inside does not.
        getattr(connection, "_cmysql", connection).close()
