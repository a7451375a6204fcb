"""What happens in the month of a sync: all that is left to chance follows from the seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from month.tasks import Kind

FILE_IMPORTED: Final = "file of refused records imported"
#: In how many hours each thing happens, as a share of all. At least once, however short the month is.
SHARES: Final = {
    "killed and retried": 0.08,
    "killed and left": 0.05,
    "committed during the read": 0.15,
    "deferred": 0.35,
    "deferred, and killed when it came back": 0.03,
    "deferred, and never came back": 0.03,
    "deferred, and came back hours later": 0.03,
    "green run cleared": 0.04,
    "red run cleared": 0.04,
    "two runs at once": 0.05,
    "second DAG at once": 0.05,
    "no refused record allowed": 0.04,
    FILE_IMPORTED: 0.06,
    "answers lost": 0.05,
    "server errors": 0.05,
}
#: Without insert ids these would send records twice, and are refused.
SHARES_WITH_IDS: Final = {
    "backfill at once": 0.04,
    "full refresh": 0.01,
}
#: Hours that each outage lasts. A batch whose answer was lost is told from one that did not arrive for 24.
OUTAGES: Final = {"FullStory down": 22, "database down": 22, "answers lost for hours": 10}
#: An outage takes no more of the month than one in so many hours.
_ONE_IN: Final = 16


@dataclass(frozen=True)
class Hour:
    """
    One hour.

    :param number: Its number, from 0.
    :param seed: What chance follows from within the hour.
    :param happenings: What happens.
    :param outage: What is down.
    """

    number: int
    seed: int
    happenings: frozenset[str]
    outage: str


def plan(seed: int, days: int, kind: Kind) -> list[Hour]:
    """
    Return the month of a seed.

    :param seed: What it follows from.
    :param days: How many days it has.
    :param kind: The kind of sync.
    """
    chance = random.Random(f"{seed} {kind.name}")  # noqa: S311 - Chance that can be repeated is the point.
    count = 24 * days
    happenings: list[set[str]] = [set() for _ in range(count)]
    for what, share in shares(kind).items():
        for number in chance.sample(range(1, count), max(1, round(share * count))):
            happenings[number].add(what)
    outages = _outages(chance, count)
    return [
        Hour(number, chance.randrange(2**32), frozenset(happenings[number]), outages.get(number, ""))
        for number in range(count)
    ]


def shares(kind: Kind) -> dict[str, float]:
    """Return in how many hours of a kind of sync each thing happens, as a share of all."""
    all_shares = SHARES | (SHARES_WITH_IDS if kind.insert_id else {})
    return {what: share for what, share in all_shares.items() if kind.imports_files or what != FILE_IMPORTED}


def _outages(chance: random.Random, count: int) -> dict[int, str]:
    """Return what is down, by the hour: each outage in its own part of the month, and none at its end."""
    names = list(OUTAGES)
    chance.shuffle(names)
    part = count // len(names)
    outages = {}
    for place, name in enumerate(names):
        length = min(OUTAGES[name], count // _ONE_IN)
        start = place * part + chance.randrange(1, part - length)
        outages |= dict.fromkeys(range(start, start + length), name)
    return outages
