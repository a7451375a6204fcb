"""The command ``fullstory-preview``: show what a task of a DAG would send; nothing is sent."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_fullstory.exceptions import FullStoryError, FullStoryInputError

if TYPE_CHECKING:
    import datetime
    from collections.abc import Sequence

    from airflow_provider_fullstory.batch_import.reporting.preview import Preview

_PROGRAM: Final = "fullstory-preview"


def main(arguments: Sequence[str] | None = None) -> None:
    """
    Run the command.

    The exit code is 1 if the source could not be read, and 2 if the arguments or the task are wrong.

    :param arguments: The arguments, by default those of the process.
    """
    # As the commands of Airflow do, so that connections in its database are found.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    given = _parser().parse_args(arguments)
    try:
        # DAG files print, and Airflow 2 logs to where the output should be alone.
        with contextlib.redirect_stdout(sys.stderr):
            preview = _preview(given)
    except FullStoryError as error:
        sys.stderr.write(f"{_PROGRAM}: {error}\n")
        sys.exit(2 if isinstance(error, FullStoryInputError) else 1)
    except KeyboardInterrupt:
        sys.stderr.write(f"{_PROGRAM}: interrupted\n")
        sys.exit(1)
    for line in preview.lines():
        sys.stdout.write(f"{line}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description="Show what a task of a DAG would send to FullStory. Its source is read; nothing is sent.",
    )
    parser.add_argument("dag_id", metavar="DAG", help="the id of the DAG")
    parser.add_argument("task_id", metavar="TASK", help="the id of the task")
    parser.add_argument(
        "--logical-date",
        type=_date,
        metavar="DATE",
        help="the logical date of the run, in UTC unless it has an offset (default: now)",
    )
    parser.add_argument(
        "--conf", type=_conf, metavar="JSON", help="the configuration of the run, a JSON object"
    )
    parser.add_argument(
        "--map-index", type=int, default=-1, metavar="N", help="which instance of a mapped task, from 0"
    )
    parser.add_argument(
        "--limit",
        type=_limit,
        default=1000,
        metavar="N",
        help="the most records to read, or all (default: 1000)",
    )
    return parser


def _preview(given: argparse.Namespace) -> Preview:
    from airflow_provider_fullstory.preview.dags import dag_named, import_task
    from airflow_provider_fullstory.preview.rendering import rendered
    from airflow_provider_fullstory.preview.runs import dag_run

    dag = dag_named(given.dag_id)
    task = import_task(dag, given.task_id, given.map_index)
    run = dag_run(dag, given.logical_date, given.conf)
    return rendered(task, run, given.map_index).preview(limit=given.limit)


def _date(text: str) -> datetime.datetime:
    import pendulum

    try:
        date = pendulum.parse(text)
    except ValueError:
        date = None
    if not isinstance(date, pendulum.DateTime):
        raise argparse.ArgumentTypeError(f"{text!r} is no date of ISO 8601")
    return date


def _conf(text: str) -> dict[str, Any]:
    try:
        conf = json.loads(text)
    except ValueError:
        conf = None
    if not isinstance(conf, dict):
        raise argparse.ArgumentTypeError("it is no JSON object")
    return conf


def _limit(text: str) -> int | None:
    if text == "all":
        return None
    limit = int(text)
    if limit < 1:
        raise argparse.ArgumentTypeError("it is less than 1")
    return limit


if __name__ == "__main__":
    main()
