"""The name by which Airflow knows a machine; all of them are processes of this one."""

from __future__ import annotations

import os

VARIABLE = "FULLSTORY_DEMO_MACHINE"


def hostname() -> str:
    """Return the name of the machine that this process is a part of."""
    return os.environ.get(VARIABLE, "central")
