"""The command `python -m demo`."""

from __future__ import annotations

import argparse
import signal
import sys

from rich.console import Console

from demo.local_airflow import DagImportError
from demo.processes import ProcessDiedError
from demo.purchases import PurchasesUnavailableError
from demo.run import DemoFailedError, run_demo

EXPECTED_ERRORS = (DagImportError, DemoFailedError, ProcessDiedError, PurchasesUnavailableError, TimeoutError)


def main() -> int:
    """Run the demo, and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m demo",
        description="Import 69,659 purchases into an emulated FullStory with a real Airflow, and check each.",
    )
    parser.add_argument("--ui", action="store_true", help="then keep Airflow's UI up until Ctrl-C")
    keep_ui = parser.parse_args().ui
    # Exceptions, so that all is stopped on the way out. Some shells start a command with SIGINT ignored.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    console = Console(highlight=False)
    try:
        run_demo(console, keep_ui=keep_ui)
    except KeyboardInterrupt:
        console.print("Interrupted.")
        return 128 + signal.SIGINT
    except EXPECTED_ERRORS as error:
        console.print("The demo failed.", style="bold red")
        for text in (str(error), *getattr(error, "__notes__", ())):
            console.print(text, markup=False, soft_wrap=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
