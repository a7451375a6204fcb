"""What happens in a round: everything that is left to chance follows from the round's seed."""

from __future__ import annotations

import random
from dataclasses import dataclass

#: What can be done to the processes, what people do, and how FullStory can fail.
KINDS = (
    "task killed",
    "worker killed",
    "worker terminated",
    "triggerer killed",
    "scheduler killed",
    "database down",
    "task cleared",
    "run deleted",
    "emulator restarted",
    "reset before the work",
    "reset after the work",
    "429 burst",
    "5xx burst",
    "5xx after the work",
    "answers delayed",
)
#: What is done by hand is done to a task that has ended, too.
BY_HAND = ("task cleared", "run deleted")
MODES = (
    "chaos_sync",
    "chaos_deferrable_staged",
    "chaos_sync_folder",
    "chaos_deferrable",
    "chaos_sync_staged",
    "chaos_deferrable_folder",
    "chaos_sync_watermark",
    "chaos_deferrable_watermark",
    "chaos_sync_users",
    "chaos_deferrable_users",
)
#: In these the sync has a watermark and insert ids: half of the records come late.
WATERMARK = "_watermark"
#: In these records are users, half of whom change, and only those who did are sent again.
USERS = "_users"
TASK_ID = "sync_records"
#: Consecutive rounds differ in kind and in mode. len(KINDS) of them meet every kind, and, since it has no
#: divisor in common with either number, len(KINDS) * len(MODES) of them meet every pair.
SEED_STEP = len(KINDS) + 2
MOST_BREAKAGES = 3


@dataclass(frozen=True)
class Breakage:
    """
    Something that goes wrong.

    :param kind: One of `KINDS`.
    :param progress: When: the share of the work that is done by then, above 1 in the wait for FullStory.
    :param times: How often, for what can be repeated.
    """

    kind: str
    progress: float
    times: int

    def __str__(self) -> str:
        return f"{self.kind} at {self.progress:.0%}"


@dataclass(frozen=True)
class Plan:
    """
    One round.

    :param seed: What it follows from.
    :param dag_id: The sync that runs.
    :param breakages: What goes wrong, in order.
    :param second_run: When the second run begins, as a share of the work: the first one may still send, may
        wait for FullStory, or has ended. Only syncs that remember have one.
    """

    seed: int
    dag_id: str
    breakages: tuple[Breakage, ...]
    second_run: float

    @property
    def remembers(self) -> bool:
        """Whether the sync remembers what it imported, so that it runs twice."""
        return self.dag_id.endswith((WATERMARK, USERS))

    @property
    def imports_users(self) -> bool:
        """Whether the records are users."""
        return self.dag_id.endswith(USERS)


def plan(seed: int) -> Plan:
    """Return the round of a seed."""
    chance = random.Random(seed)  # noqa: S311 - Chance that can be repeated is the point.
    kinds = [KINDS[seed % len(KINDS)]]
    kinds += chance.choices(KINDS, k=chance.randrange(MOST_BREAKAGES))
    dag_id = MODES[seed // len(KINDS) % len(MODES)]
    breakages = [_breakage(kind, dag_id, chance) for kind in kinds]
    breakages.sort(key=lambda breakage: breakage.progress)
    # The first run does nearly half of the work.
    return Plan(seed, dag_id, tuple(breakages), second_run=chance.uniform(0.1, 0.7))


def _breakage(kind: str, dag_id: str, chance: random.Random) -> Breakage:
    waits_elsewhere = "deferrable" in dag_id
    if kind in BY_HAND:
        progress = chance.uniform(0.0, 1.2)
    elif kind == "database down":
        progress = chance.uniform(0.0, 1.05)
    elif kind == "triggerer killed" and waits_elsewhere:
        progress = chance.uniform(1.0, 1.1)
    elif kind in {"task killed", "worker killed", "worker terminated"} and not waits_elsewhere:
        progress = chance.uniform(0.0, 1.1)
    else:
        progress = chance.uniform(0.0, 0.97)
    return Breakage(kind, progress, chance.randint(1, 4))
