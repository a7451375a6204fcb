"""The command ``fullstory-emulator``: run a local FullStory Server API until it is interrupted."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import os
import signal
import sqlite3
import sys
from pathlib import Path

from airflow_provider_fullstory.emulator.http.server import Server
from airflow_provider_fullstory.emulator.settings import KEYS, Settings

_PARENT_CHECK_SECONDS = 0.5
_LAST_PORT = 65_535


def main() -> None:
    """Run the command."""
    parent = os.getppid()
    arguments = _parser().parse_args()
    names = [field.name for field in dataclasses.fields(Settings)]
    try:
        settings = Settings().replace({name: getattr(arguments, name) for name in names})
    except ValueError as error:
        sys.exit(f"fullstory-emulator: {error}")
    try:
        server = Server(settings, arguments.host, arguments.port, arguments.data)
        asyncio.run(_serve(server, parent if arguments.exit_with_parent else None))
    except OSError as error:
        sys.exit(f"fullstory-emulator: {error}")
    except sqlite3.Error as error:
        sys.exit(f"fullstory-emulator: {arguments.data} cannot hold the data: {error}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fullstory-emulator", description="Run a local FullStory Server API."
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    add(
        "--port",
        type=_port,
        default=8025,
        help="port; 0 lets the system choose (default: %(default)s)",
    )
    add("--data", type=Path, metavar="FILE", help="keep all data in this file, so that it outlives a restart")
    add("--exit-with-parent", action="store_true", help="stop when the parent process has exited")
    defaults = Settings()
    for option, kind, text in (
        ("--processing-seconds", float, "seconds that FullStory needs for one batch, and to delete a user"),
        ("--max-batch-records", int, "records allowed in one batch"),
        ("--concurrent-batches", int, "batches processed at the same time; further ones wait"),
        ("--max-unfinished-batches", int, "unfinished batches from which on the answer is 429"),
        ("--max-unfinished-records", int, "unfinished records above which the answer is 429"),
        ("--retry-after-seconds", int, "Retry-After of those answers"),
        ("--max-body-bytes", int, "bytes of a request above which the answer is 413"),
        ("--page-size", int, "results on one page"),
        ("--event-quota", int, "events that may be imported in a month"),
    ):
        default = getattr(defaults, option.removeprefix("--").replace("-", "_"))
        add(option, type=kind, default=default, metavar="N", help=f"{text} (default: %(default)s)")
    add(
        "--organization",
        default=defaults.organization,
        metavar="ID",
        help="the id that GET /me returns (default: %(default)s)",
    )
    add("--fail-jobs", action="store_true", help="let jobs end without importing or rejecting a record")
    add("--replay-server-errors", action="store_true", help="replay 5xx answers for an idempotency key too")
    add("--omit-total-records", action="store_true", help="leave total_records out of pages of results")
    add(
        "--repeat-last-page-token",
        action="store_true",
        help="let the last page of results carry a token that leads to itself",
    )
    return parser


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= _LAST_PORT:
        raise argparse.ArgumentTypeError(f"it must be 0 to {_LAST_PORT}, not {port}")
    return port


async def _serve(server: Server, parent: int | None) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with server:
        _announce(server.url)
        if parent is None:
            await stop.wait()
        else:
            await _stop_or_orphaned(stop, parent)


async def _stop_or_orphaned(stop: asyncio.Event, parent: int) -> None:
    while os.getppid() == parent and not stop.is_set():
        try:
            await asyncio.wait_for(stop.wait(), _PARENT_CHECK_SECONDS)
        except TimeoutError:
            continue


def _announce(url: str) -> None:
    connection = f'{{"conn_type":"fullstory","host":"{url}","password":"na1.emulator/architect"}}'
    lines = (
        f"FullStory emulator listening on {url} (API keys: {', '.join(KEYS)})",
        f"To use it from Airflow: export AIRFLOW_CONN_FULLSTORY_DEFAULT='{connection}'",
        f"What was imported: curl {url}/_emulator/events",
    )
    # One write, flushed at once: a parent process may be waiting for the address in the first line.
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
