"""`dag.test()`, with which users try their DAGs: its tasks talk to Airflow from several threads as well."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_fullstory.emulator.client import EmulatorClient

DAG_FILE = Path(__file__).parent / "dags" / "many_batches.py"
PROGRAM = """
import sys
from airflow.utils.db import initdb
initdb()
sys.path.insert(0, sys.argv[1])
from many_batches import dag
print("The run is", dag.test().state)
"""


def test_many_uploads_at_once(fullstory_emulator: EmulatorClient, tmp_path: Path) -> None:
    dags = tmp_path / "dags"
    dags.mkdir()
    shutil.copy(DAG_FILE, dags)
    environment = os.environ | {
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW_CONN_FULLSTORY_DEFAULT": fullstory_emulator.connection_json(),
    }

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(dags)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert "The run is success" in done.stdout, done.stdout[-3000:] + done.stderr[-3000:]
    imported = [event["event"]["properties"]["number"] for event in fullstory_emulator.events()]
    assert sorted(imported) == list(range(120))
