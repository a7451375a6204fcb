"""The command ``fullstory-sync``: look at what syncs remember, and change it."""

from __future__ import annotations

import argparse
import contextlib
import getpass
import os
import socket
import sys
from typing import TYPE_CHECKING, Final

from airflow_provider_fullstory.exceptions import FullStoryError, FullStoryInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_provider_fullstory.syncs.catalog import Sync
    from airflow_provider_fullstory.syncs.changes import Change

_PROGRAM: Final = "fullstory-sync"


def main(arguments: Sequence[str] | None = None) -> None:
    """
    Run the command.

    The exit code is 1 if nothing could be changed or shown, and 2 if the arguments are wrong.

    :param arguments: The arguments, by default those of the process.
    """
    # As the commands of Airflow do, so that connections in its database are found.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    given = _parser().parse_args(arguments)
    given.output = sys.stdout
    try:
        # Airflow 2 logs to where the output should be alone.
        with contextlib.redirect_stdout(sys.stderr):
            code: int = given.run(given)
        sys.exit(code)
    except FullStoryError as error:
        sys.stderr.write(f"{_PROGRAM}: {error}\n")
        sys.exit(2 if isinstance(error, FullStoryInputError) else 1)
    except KeyboardInterrupt:
        sys.stderr.write(f"{_PROGRAM}: interrupted\n")
        sys.exit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_PROGRAM, description="Look at what syncs remember from one run to the next, and change it."
    )
    parser.add_argument(
        "--state-uri",
        metavar="URI",
        help="the folder of the state, as the operator has it (default: [fullstory] state_uri of Airflow)",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        command.set_defaults(run=run)
        if name != "list":
            command.add_argument("name", metavar="NAME", help="the name of the sync")
        if name not in ("list", "show"):
            command.add_argument("--yes", action="store_true", help="do not ask")
        return command

    add("list", _list, "list all syncs")
    show = add("show", _show, "show all that is known of a sync")
    show.add_argument("--json", action="store_true", help="as a JSON object")
    set_ = add("set", _set, "move the watermark of a sync")
    set_.add_argument("value", metavar="VALUE", help="the new value; one that begins with - comes after --")
    set_.add_argument("--column", metavar="C", help="its column (default: the one it has)")
    set_.add_argument("--type", metavar="T", help="the type of the value (default: the one it has)")
    add("reset", _reset, "remove the watermark of a sync, so that the next run begins at the initial value")
    forget = add("forget", _forget, "forget the insert ids of a sync")
    forget.add_argument("--abandon", action="store_true", help="forget an open import too")
    return parser


def _list(given: argparse.Namespace) -> int:
    from airflow_provider_fullstory.syncs.catalog import Sync, all_syncs
    from airflow_provider_fullstory.syncs.overview import table

    found = list(all_syncs(_state_uri(given)))
    given.output.write(f"{table([sync for sync in found if isinstance(sync, Sync)])}\n")
    errors = [error for error in found if not isinstance(error, Sync)]
    for error in errors:
        sys.stderr.write(f"{_PROGRAM}: {error}\n")
    return 1 if errors else 0


def _show(given: argparse.Namespace) -> int:
    from airflow_provider_fullstory.syncs.overview import as_json, description

    sync = _sync(given)
    given.output.write(f"{as_json(sync) if given.json else description(sync)}\n")
    return 0


def _set(given: argparse.Namespace) -> int:
    from airflow_provider_fullstory.syncs.changes import watermark_set

    sync = _sync(given)
    change = watermark_set(
        sync.record,
        given.value,
        column=given.column,
        type_name=given.type,
        by=f"{_PROGRAM} set ({_person()})",
    )
    return _make(change, sync, given)


def _reset(given: argparse.Namespace) -> int:
    from airflow_provider_fullstory.syncs.changes import watermark_removed

    sync = _sync(given)
    return _make(watermark_removed(sync.record), sync, given)


def _forget(given: argparse.Namespace) -> int:
    from airflow_provider_fullstory.syncs.changes import insert_ids_removed

    sync = _sync(given)
    return _make(insert_ids_removed(sync.record, abandon=given.abandon), sync, given)


def _make(change: Change, sync: Sync, given: argparse.Namespace) -> int:
    from airflow_provider_fullstory.syncs.changes import check_free, make

    check_free(sync)
    given.output.write("\n".join([*change.effects, ""]))
    given.output.flush()
    if change.needs_consent and not given.yes and not _agrees():
        given.output.write("Nothing was changed.\n")
        return 1
    make(change, sync, f"{_PROGRAM} ({_person()})")
    given.output.write("Done.\n")
    return 0


def _agrees() -> bool:
    if not sys.stdin.isatty():
        raise FullStoryInputError("Nothing was changed: this needs --yes where nobody can be asked.")
    return input("Go on? [y/N] ").strip().lower() in ("y", "yes")


def _sync(given: argparse.Namespace) -> Sync:
    from airflow_provider_fullstory.syncs.catalog import sync_named

    return sync_named(_state_uri(given), given.name)


def _state_uri(given: argparse.Namespace) -> str:
    from airflow.providers.common.compat.sdk import conf

    uri: str | None = given.state_uri or conf.get("fullstory", "state_uri", fallback="")
    if not uri:
        raise FullStoryInputError(
            "It is not known where the syncs are: give --state-uri, or set [fullstory] state_uri in "
            "Airflow's configuration."
        )
    return uri


def _person() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        # A container may run as a user without a name.
        user = f"user {os.getuid()}"
    return f"{user} on {socket.gethostname()}, process {os.getpid()}"


if __name__ == "__main__":
    main()
