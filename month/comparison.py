"""Whether FullStory has what the warehouse says it should have, record by record, each once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from month.warehouse import Version

Key = tuple[int, datetime]


@dataclass
class Differences:
    """
    How FullStory differs from the warehouse.

    :param compared: How many records were compared.
    :param missing: Records that are not there.
    :param doubled: Records that are there more than once.
    :param altered: Records that are not as they should be.
    :param surplus: Records that should not be there.
    """

    compared: int = 0
    missing: list[Key] = field(default_factory=list)
    doubled: list[Key] = field(default_factory=list)
    altered: list[Key] = field(default_factory=list)
    surplus: list[Key] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.missing or self.doubled or self.altered or self.surplus)

    def __str__(self) -> str:
        return ", ".join(
            f"{len(keys):,} {what} (such as record {keys[0][0]} of {keys[0][1]})"
            for what, keys in (
                ("missing", self.missing),
                ("doubled", self.doubled),
                ("altered", self.altered),
                ("surplus", self.surplus),
            )
            if keys
        )


def compare(versions: Iterable[Version], imported: Iterable[dict[str, Any]], seen: int) -> Differences:
    """
    Compare what was imported with what should be.

    :param versions: Every version of every row that was ever committed.
    :param imported: The events that FullStory has.
    :param seen: All that was committed up to this moment must be there; what came later may be.
    """
    known = {version.key: version for version in versions}
    found: Counter[Key] = Counter()
    differences = Differences()
    for event in imported:
        properties = event["properties"]
        key = (properties["record_id"], datetime.fromisoformat(properties["updated_at"]))
        found[key] += 1
        version = known.get(key)
        if version is None or (version.is_refused and version.fixed == "no"):
            differences.surplus.append(key)
        elif event != version.event():
            differences.altered.append(key)
    for key, version in known.items():
        is_due = version.fixed == "done" if version.is_refused else version.committed <= seen
        if is_due and not found[key]:
            differences.missing.append(key)
    differences.doubled = [key for key, times in found.items() if times > 1]
    differences.compared = found.total()
    return differences
