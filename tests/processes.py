"""What runs in processes of their own, which tests kill."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

from airflow_provider_fullstory.api import protocol
from tests.tries import Task


def execute(connection: str, state_uri: str, outcome: str, arguments: dict[str, Any]) -> None:
    """
    Run a try as the main thread of a process, which SIGTERM tells to end, as Airflow does.

    :param connection: The connection to FullStory.
    :param state_uri: Where the try stages, and where its ledger is.
    :param outcome: File that gets the report, or the error.
    :param arguments: Arguments of the operator.
    """
    os.environ["AIRFLOW_CONN_FULLSTORY_DEFAULT"] = connection
    protocol.FIRST_RETRY_SECONDS = 0.01
    task = Task(None, state_uri)
    operator = task.operator(**arguments)
    signal.signal(signal.SIGTERM, lambda *_: operator.on_kill())
    try:
        said = json.dumps(operator.execute(task.next_context()))
    except Exception as error:  # noqa: BLE001 - Whatever it is, the test is to see it.
        said = f"{type(error).__name__}: {error}"
    Path(outcome).write_text(said)
