"""
Kill what another process started, once that is gone, however it ended.

A separate program: it reads from its standard input which sessions to guard (``+ID``) and to leave alone
again (``-ID``), and the end of the input means that the other process is gone. A signal for the end of a
parent would not do: Airflow's scheduler may hang when it is asked to end early, and orphans its workers when
killed.
"""

from __future__ import annotations

import os
import sys

import psutil


def kill_session(session: int) -> None:
    """Kill all processes of a session."""
    # What is being killed may still start something, so look again until nothing is left.
    while members := [process for process in psutil.process_iter() if _is_alive_in(session, process)]:
        for process in members:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(members, timeout=1)


def _is_alive_in(session: int, process: psutil.Process) -> bool:
    try:
        return os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False


def guard() -> None:
    """Follow the input to its end, and kill the sessions that are still guarded then."""
    guarded: set[int] = set()
    for line in sys.stdin:
        change, session = guarded.add if line[0] == "+" else guarded.discard, int(line[1:])
        change(session)
    for session in guarded:
        kill_session(session)


if __name__ == "__main__":
    guard()
