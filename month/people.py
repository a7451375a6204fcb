"""What people do with runs and with refused records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from month.runs import kill
from month.warehouse import fixed_customer

if TYPE_CHECKING:
    import random
    from collections import Counter

    from month.plan import Hour
    from month.processes import Run
    from month.runs import Runs
    from month.table import Table
    from month.tasks import Kind
    from month.warehouse import Records, Version


class People:
    """
    Clear runs, and fix what was refused.

    :param kind: The kind of sync.
    :param directory: Where the files go.
    :param runs: All runs.
    :param table: The table that is synced.
    :param counts: Counts what they do.
    """

    def __init__(self, kind: Kind, directory: Path, runs: Runs, table: Table, counts: Counter[str]) -> None:
        self._kind = kind
        self._directory = directory
        self._runs = runs
        self._table = table
        self._counts = counts

    def meddle(self, hour: Hour, chance: random.Random, *, is_failing: bool) -> None:
        """
        Do what is planned for an hour.

        :param is_failing: Whether anything fails, so that nobody thinks of refused records.
        """
        runs = self._runs
        if "green run cleared" in hour.happenings and runs.green:
            self._counts["clears of green runs"] += 1
            self._clear(chance.choice(runs.green[-30:]))
        if "red run cleared" in hour.happenings and runs.red:
            self._counts["clears of red runs"] += 1
            self._clear(chance.choice(list(runs.red.values())[-30:]))
        if "file of refused records imported" in hour.happenings and runs.files and not is_failing:
            self._import_file(runs.files.pop(chance.randrange(len(runs.files))), chance)

    def _clear(self, run: Run) -> None:
        # An earlier try may have read the rows, so it is not known which of them the run has seen.
        self._runs.finish(run, self._runs.cleared(run), 0)

    def _import_file(self, uri: str, chance: random.Random) -> None:
        """Fix the refused records of a run, and import them."""
        lines, versions = self._fixed(Path(uri.removeprefix("file://")))
        if not lines:
            return
        self._counts["files of refused records imported"] += 1
        self._counts["refused records fixed in a file"] += len(lines)
        name = f"fixed-{self._counts['files of refused records imported']}"
        path = self._directory / f"{name}.ndjson"
        path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        run = self._runs.new("file", name, self._kind.file(self._directory, f"file://{path}"))
        is_killed = chance.random() < 0.3
        ending = self._runs.finish(
            run, self._runs.start(run, kill=kill(chance) if is_killed else None).end(), 0
        )
        if ending.state == "success":
            for version in versions:
                version.fixed = "done"

    def _fixed(self, path: Path) -> tuple[list[dict[str, Any]], list[Version]]:
        """Return the lines of a file as they should be, and what they are versions of."""
        records = cast("Records", self._table)
        known = {
            (version.record_id, version.event()["timestamp"]): version
            for version in records.versions.values()
        }
        lines, versions = [], []
        for text in path.read_text().splitlines():
            line = json.loads(text)
            event, properties = line["event"], line["event"]["properties"]
            version = known[properties["record_id"], properties["updated_at"]]
            if version.fixed != "no" and not self._kind.insert_id:
                # Nothing else would keep it from being sent twice.
                continue
            event.setdefault("user", {}).setdefault("uid", fixed_customer(version.record_id))
            properties.pop("note", None)
            version.fixed = "done" if version.fixed == "done" else "begun"
            lines.append(line)
            versions.append(version)
        return lines, versions
