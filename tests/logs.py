"""What tests of the log, of XCom and of metrics share."""

from __future__ import annotations

import asyncio
import importlib
import json
import re
from typing import TYPE_CHECKING, Any

from airflow_provider_fullstory.operators.fullstory import FullStoryImportEventsOperator
from tests.tries import (
    REFUSED_BY_FULLSTORY,
    REFUSED_HERE,
    orders,
)

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import TaskDeferred

SECRET = "Zq7secret"
START = "Importing events from "
FINISHED = re.compile(
    r"Job (?P<number>\d+) of (?P<jobs>\d+) is finished: \d+ imported, \d+ rejected \((?P<id>\S+)\)\.$"
)
PROGRESS = "Sent: "
PROGRESS_LINE = re.compile(
    r"Sent: \d+ batch(es)? with (?P<records>\d+) records? \(\d+\.\d MB, [\d,]+ records a second\)"
    r"(, \d+ batch(es)? in flight)?(, \d+ jobs? not known to be finished)?\.$"
)


def importing(**arguments: Any) -> FullStoryImportEventsOperator:
    given = {"task_id": "import", "poll_interval": 0.01, "batch_size": 10, **arguments}
    return FullStoryImportEventsOperator(**given)


class Log:
    """All lines that the package logs, whichever way Airflow carries them."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __str__(self) -> str:
        return "\n".join(self.lines)

    def having(self, text: str) -> list[str]:
        return [line for line in self.lines if text in line]

    @property
    def finished(self) -> list[str]:
        """The ids of jobs, as often as they are said to be finished."""
        return [match["id"] for line in self.lines if (match := FINISHED.search(line))]

    @property
    def table(self) -> dict[str, int]:
        """The numbers of the closing table."""
        start = next(n for n, line in enumerate(self.lines) if re.match("Import of events finished", line))
        rows = (line.split() for line in self.lines[start + 1 :] if line.startswith("  "))
        return {
            (row[2].strip(",:") if row[0] == "reason" else row[0]): int(row[1].replace(",", ""))
            for row in rows
            if len(row) > 1 and row[1].replace(",", "").isdigit()
        }


def resume(operator: Any, context: Any, deferral: TaskDeferred) -> Any:
    """Go on after a deferral, with nothing but what Airflow stores."""
    path, arguments = deferral.trigger.serialize()
    module, _, name = path.rpartition(".")
    trigger = getattr(importlib.import_module(module), name)(**json.loads(json.dumps(arguments)))
    event = json.loads(json.dumps(asyncio.run(anext(trigger.run())).payload))
    return getattr(operator, deferral.method_name)(context, event=event)


MIXED = [*orders(23), REFUSED_HERE, REFUSED_BY_FULLSTORY, REFUSED_BY_FULLSTORY]
