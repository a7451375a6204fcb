"""The demo of several machines in a short form: three months, and one kill of each kind."""

from __future__ import annotations

import shutil
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from tests.commands import no_process_left, read_until, start_demo

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.celery,
    pytest.mark.skipif(find_spec("moto") is None, reason="The group celery is not installed."),
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="Redis is not installed."),
    pytest.mark.skipif(sys.platform != "linux", reason="Looks for orphans in the way of Linux"),
]


def test_every_record_is_accounted_for_though_machines_and_the_database_die(
    temporary_directory: Path,
) -> None:
    with no_process_left():
        demo = start_demo(temporary_directory, "demo.celery", "--months", "3")
        output, _ = demo.communicate(timeout=600)
    assert demo.returncode == 0, output
    assert output.count("and its disk is lost") == 2
    assert "Airflow's database was killed, and is back" in output
    assert "All 7,816 purchases of 3 months are accounted for" in output
    assert not [*temporary_directory.iterdir()]


def test_it_leaves_nothing_running_when_it_is_killed(temporary_directory: Path) -> None:
    with no_process_left():
        demo = start_demo(temporary_directory, "demo.celery")
        read_until("Waiting for Airflow to start", demo)
        demo.kill()
        demo.communicate(timeout=60)
