from __future__ import annotations

import json


def test_connections_for_airflow(fullstory_emulator):
    from airflow.models.connection import Connection

    for value in (fullstory_emulator.connection_json(), fullstory_emulator.connection_uri()):
        arguments = {"uri": value} if value.startswith("fullstory:") else json.loads(value)
        connection = Connection(**arguments)
        assert connection.conn_type == "fullstory"
        assert connection.host == fullstory_emulator.url
        assert connection.password == fullstory_emulator.architect_key
    assert fullstory_emulator.standard_key in fullstory_emulator.connection_json(
        fullstory_emulator.standard_key
    )
    assert len(fullstory_emulator.keys) == 3
