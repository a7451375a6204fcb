"""Trino's side of its protocol (trino.io/docs/current/develop/client-protocol.html), with one page."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.sources.drivers.servers.http import answering

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def simple(name: str, *arguments: Any) -> dict[str, Any]:
    """Return the signature of a type, whose arguments are signatures or numbers."""
    kinds = [{"kind": "LONG" if isinstance(value, int) else "TYPE", "value": value} for value in arguments]
    return {"rawType": name, "arguments": kinds}


def row(**fields: dict[str, Any]) -> dict[str, Any]:
    """Return the signature of a row with names."""
    arguments = [
        {"kind": "NAMED_TYPE", "value": {"fieldName": {"name": name}, "typeSignature": signature}}
        for name, signature in fields.items()
    ]
    return {"rawType": "row", "arguments": arguments}


@contextmanager
def trino(*columns: tuple[str, dict[str, Any], Any]) -> Iterator[Callable[[], Any]]:
    """
    Give a function that connects to a server whose every query gives one row.

    :param columns: Of each column its type, the signature of that, and the value as Trino writes it.
    """

    def answer(_: str, __: bytes) -> tuple[str, bytes]:
        page = {
            "id": "20260701_100000_00001_abcde",
            "infoUri": "http://127.0.0.1/ui/query.html",
            "columns": [
                {"name": f"c{index}", "type": kind, "typeSignature": signature}
                for index, (kind, signature, _) in enumerate(columns)
            ],
            "data": [[value for *_, value in columns], [None for _ in columns]],
            "stats": {"state": "FINISHED"},
        }
        return "application/json", json.dumps(page).encode()

    from trino.dbapi import connect

    with answering(answer) as port:
        yield lambda: connect(host="127.0.0.1", port=port, user="reader")
