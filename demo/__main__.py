"""The command `python -m demo`."""

from __future__ import annotations

import argparse
import sys

from rich.console import Console

from demo.command import exit_code
from demo.run import run_demo


def main() -> int:
    """Run the demo, and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m demo",
        description="Import 69,659 purchases into an emulated FullStory with a real Airflow, and check each.",
    )
    parser.add_argument("--ui", action="store_true", help="then keep Airflow's UI up until Ctrl-C")
    keep_ui = parser.parse_args().ui
    console = Console(highlight=False)
    return exit_code(console, lambda: run_demo(console, keep_ui=keep_ui))


if __name__ == "__main__":
    sys.exit(main())
