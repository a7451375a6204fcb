"""Two days of `make month`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_two_days_of_syncs_bring_every_record_to_fullstory_once() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "month", "--days", "2", "--seed", "1"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "each exactly once" in done.stdout
