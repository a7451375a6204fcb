"""The demo as a person runs it, and what is left of it when it ends or is ended."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

import pytest

from tests.commands import no_process_left, read_until, start_demo

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.skipif(sys.platform != "linux", reason="Looks for orphans in the way of Linux")
class TestDemo:
    def test_it_succeeds_and_cleans_up(self, temporary_directory: Path) -> None:
        with no_process_left():
            demo = start_demo(temporary_directory)
            output, _ = demo.communicate(timeout=240)
        assert demo.returncode == 0, output
        assert "All 69,659 purchases are in FullStory" in output
        assert not [*temporary_directory.iterdir()]

    @pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_it_cleans_up_when_it_is_interrupted(
        self, temporary_directory: Path, number: signal.Signals, exit_code: int
    ) -> None:
        with no_process_left():
            demo = start_demo(temporary_directory)
            read_until("Waiting for Airflow to start", demo)
            demo.send_signal(number)
            demo.communicate(timeout=60)
        assert demo.returncode == exit_code
        assert not [*temporary_directory.iterdir()]

    def test_it_leaves_nothing_running_when_it_is_killed(self, temporary_directory: Path) -> None:
        with no_process_left():
            demo = start_demo(temporary_directory)
            read_until("Running the DAG", demo)
            demo.kill()
            demo.communicate(timeout=60)
