"""
What Python imports first where the clock was moved.

With the monotonic clock left alone, libfaketime refuses the system call that `time.sleep` makes.
"""

from __future__ import annotations

import select
import time


def _sleep(seconds: float) -> None:
    select.select((), (), (), seconds)


time.sleep = _sleep
