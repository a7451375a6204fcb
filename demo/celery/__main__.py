"""The command `python -m demo.celery`."""

from __future__ import annotations

import argparse
import sys

from rich.console import Console

from demo.celery.run import run_demo
from demo.command import exit_code


def main() -> int:
    """Run the demo, and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m demo.celery",
        description="Import a year of purchases on several machines while some of them die, and check each.",
    )
    parser.add_argument(
        "--months",
        type=int,
        choices=range(3, 13),
        default=12,
        metavar="NUMBER",
        help="only the last months of the year, at least 3 (default: %(default)s)",
    )
    months = parser.parse_args().months
    console = Console(highlight=False)
    return exit_code(console, lambda: run_demo(console, months=months))


if __name__ == "__main__":
    sys.exit(main())
