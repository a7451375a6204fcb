"""Clocks of processes that go ahead of this machine's, with Debian's package libfaketime."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import timedelta


def can_be_moved() -> bool:
    """Return whether Debian's package `faketime` is installed."""
    return _library() is not None


def moved(offset: timedelta) -> dict[str, str]:
    """
    Return the environment variables that let a process, and what it starts, live at another time.

    :param offset: How far its clock goes ahead.
    """
    library = _library()
    if library is None:
        raise RuntimeError("Debian's package faketime is missing.")
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME": f"{offset.total_seconds():+.0f}",
        # Timeouts are measured with the monotonic clock, which stays true.
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        # Otherwise threads that wait for Python's lock do not sleep, and keep out the one that holds it.
        "FAKETIME_FORCE_MONOTONIC_FIX": "0",
        # Otherwise Python would take its cached bytecode for stale, and compile Airflow anew.
        "NO_FAKE_STAT": "1",
        "PYTHONPATH": str(Path(__file__).with_name("moved_clock")),
    }


def _library() -> Path | None:
    return next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
