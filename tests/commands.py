"""Demos as a person runs them, and what is left of them when they end or are ended."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from demo.processes import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
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


def start_demo(directory: Path, module: str = "demo", *arguments: str) -> subprocess.Popen[str]:
    """
    Start the command of a demo.

    :param directory: Where it makes its temporary files.
    :param module: Which demo.
    :param arguments: Arguments of the command.
    """
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
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
