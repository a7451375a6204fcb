"""What the commands that run a demo have in common: how they are ended, and what they say when they fail."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

from demo.local_airflow import DagImportError
from demo.processes import ProcessDiedError
from demo.purchases import PurchasesUnavailableError
from demo.run import DemoFailedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

EXPECTED_ERRORS = (DagImportError, DemoFailedError, ProcessDiedError, PurchasesUnavailableError, TimeoutError)


def exit_code(console: Console, run: Callable[[], None]) -> int:
    """
    Run a demo, and return the exit code of its command.

    :param console: Where to print why it ended.
    :param run: The demo.
    """
    # Exceptions, so that all is stopped on the way out. Some shells start a command with SIGINT ignored.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        run()
    except KeyboardInterrupt:
        console.print("Interrupted.")
        return 128 + signal.SIGINT
    except EXPECTED_ERRORS as error:
        console.print("The demo failed.", style="bold red")
        for text in (str(error), *getattr(error, "__notes__", ())):
            console.print(text, markup=False, soft_wrap=True)
        return 1
    return 0
