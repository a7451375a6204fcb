"""The demo as a person runs it, and what is left of it when it ends or is ended."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from demo.processes import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PR_SET_CHILD_SUBREAPER = 36


@contextmanager
def no_process_left() -> Iterator[None]:
    """Check that nothing that was started inside is still running afterwards, however it was started."""
    libc = ctypes.CDLL(None)
    before = set(psutil.Process().children())
    # Orphans become our children instead of those of process 1.
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    try:
        yield
        try:
            wait_for("the last process to end", lambda: not running_children() - before)
        except TimeoutError as error:
            pytest.fail(f"{error} Still there: {running_children() - before}")
    finally:
        libc.prctl(PR_SET_CHILD_SUBREAPER, 0)


def running_children() -> set[psutil.Process]:
    return {child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE}


@pytest.fixture
def temporary_directory() -> Iterator[Path]:
    """A short path, unlike `tmp_path`, for PostgreSQL's socket."""
    directory = Path(tempfile.mkdtemp(prefix="demo-test-"))
    yield directory
    shutil.rmtree(directory)


def start_demo(directory: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "demo"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(directory)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def read_until(text: str, demo: subprocess.Popen[str]) -> None:
    assert demo.stdout
    for line in demo.stdout:
        if text in line:
            return
    pytest.fail(f"The demo ended without {text!r}.")


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
