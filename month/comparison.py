"""Whether FullStory has what the warehouse says it should have, record by record."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from month.customers import Profile
    from month.warehouse import Version

Key = tuple[int, datetime]
KINDS_OF_DIFFERENCES: Final = ("missing", "doubled", "altered", "outdated", "surplus")


@dataclass
class Differences:
    """
    How FullStory differs from the warehouse.

    :param compared: How many records were compared.
    :param missing: Records that are not there.
    :param doubled: Records that are there more than once.
    :param altered: Records that are not as they should be.
    :param outdated: Users who are as they once were.
    :param surplus: Records that should not be there.
    """

    compared: int = 0
    missing: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    altered: list[str] = field(default_factory=list)
    outdated: list[str] = field(default_factory=list)
    surplus: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return any(self._named().values())

    def __str__(self) -> str:
        return ", ".join(
            f"{len(records):,} {what} (such as {records[0]})"
            for what, records in self._named().items()
            if records
        )

    def _named(self) -> dict[str, list[str]]:
        return {name: getattr(self, name) for name in KINDS_OF_DIFFERENCES}


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
            differences.surplus.append(_named(key))
        elif event != version.event():
            differences.altered.append(_named(key))
    for key, version in known.items():
        is_due = version.fixed == "done" if version.is_refused else version.committed <= seen
        if is_due and not found[key]:
            differences.missing.append(_named(key))
    differences.doubled = [_named(key) for key, times in found.items() if times > 1]
    differences.compared = found.total()
    return differences


def _named(key: Key) -> str:
    return f"record {key[0]} of {key[1]}"


def compare_users(profiles: Iterable[Profile], imported: Iterable[dict[str, Any]], seen: int) -> Differences:
    """
    Compare the users that FullStory has with what they should be.

    :param profiles: Every version of every user that was ever committed, in that order.
    :param imported: The users that FullStory has.
    :param seen: All that was committed up to this moment must be there; what came later may be.
    """
    known: dict[str, list[Profile]] = {}
    for profile in profiles:
        known.setdefault(profile.uid, []).append(profile)
    differences = Differences()
    found = set()
    for user in imported:
        uid = user.get("uid", "nobody")
        found.add(uid)
        differences.compared += 1
        versions = [profile for profile in known.get(uid, ()) if not profile.is_refused]
        if not versions:
            differences.surplus.append(f"user {uid}")
        elif all(user != profile.user() for profile in versions):
            differences.altered.append(f"user {uid}")
        elif all(user != profile.user() for profile in _possible(known[uid], seen)):
            differences.outdated.append(f"user {uid}")
    for uid, versions in known.items():
        if uid not in found and not _may_be_missing(versions, seen):
            differences.missing.append(f"user {uid}")
    return differences


def unchanged(sent: Iterable[dict[str, Any]]) -> list[str]:
    """
    Return the users who were sent as they were sent before.

    :param sent: The users of all imports, in their order.
    """
    again = []
    latest: dict[str, dict[str, Any]] = {}
    for user in sent:
        if latest.get(user["uid"]) == user:
            again.append(f"user {user['uid']}")
        latest[user["uid"]] = user
    return again


def _possible(versions: Sequence[Profile], seen: int) -> list[Profile]:
    """Return the versions of a user that FullStory may have: the latest that was seen, and later ones."""
    earlier, later = _told_apart(versions, seen)
    until = earlier if _is_replaced(earlier, later) else earlier[-1:]
    return [profile for profile in (*until, *later) if not profile.is_refused]


def _may_be_missing(versions: Sequence[Profile], seen: int) -> bool:
    earlier, later = _told_apart(versions, seen)
    return not earlier or _is_replaced(earlier, later)


def _told_apart(versions: Sequence[Profile], seen: int) -> tuple[list[Profile], list[Profile]]:
    earlier = [profile for profile in versions if profile.committed <= seen]
    return earlier, list(versions[len(earlier) :])


def _is_replaced(earlier: Sequence[Profile], later: Sequence[Profile]) -> bool:
    """Return whether no run may have seen the latest version: a refused one may have come before the read."""
    return any(profile.is_refused for profile in (*earlier[-1:], *later))
