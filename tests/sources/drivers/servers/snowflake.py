"""Snowflake's side of its protocol, as its connector asks for it: a login, and results as JSON."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.sources.drivers.servers.http import answering

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOGIN = {
    "token": "token",
    "masterToken": "master",
    "validityInSeconds": 3600,
    "masterValidityInSeconds": 14400,
    "sessionId": 1,
    "parameters": [],
    "sessionInfo": {"databaseName": None, "schemaName": None, "warehouseName": None, "roleName": "PUBLIC"},
}
NO_DETAILS = ("length", "byteLength", "precision", "scale", "collation")


@contextmanager
def snowflake(*columns: tuple[dict[str, Any], str]) -> Iterator[Callable[[], Any]]:
    """
    Give a function that connects to a server whose every query gives one row.

    :param columns: Of each column its type, as in ``rowtype``, and the value as Snowflake writes it.
    """
    result = {
        "parameters": [{"name": "TIMEZONE", "value": "UTC"}],
        "rowtype": [
            {"name": f"C{index}", "nullable": True, **dict.fromkeys(NO_DETAILS), **kind}
            for index, (kind, _) in enumerate(columns)
        ],
        "rowset": [[value for _, value in columns], [None for _ in columns]],
        "total": 2,
        "returned": 2,
        "queryId": "01b6a3f0-0000-0000-0000-000000000001",
        "numberOfBinds": 0,
        "arrayBindSupported": False,
        "statementTypeId": 4096,
        "version": 1,
        "queryResultFormat": "json",
    }

    def answer(path: str, _: bytes) -> tuple[str, bytes]:
        data = LOGIN if "login-request" in path else result if "query-request" in path else None
        return "application/json", json.dumps({"data": data, "success": True}).encode()

    import snowflake.connector

    with answering(answer) as port:
        yield lambda: snowflake.connector.connect(
            user="reader", password="secret", account="a", host="127.0.0.1", port=port, protocol="http"
        )
