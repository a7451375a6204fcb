"""The identity of an import, and the keys that follow from it."""

from __future__ import annotations

import dataclasses
import json
import uuid
from collections import Counter
from typing import Final

#: Keys are UUIDs, as developer.fullstory.com/server/idempotent-requests suggests.
_KEY_NAMESPACE: Final = uuid.UUID("6e1b1f0c-53a5-4d0e-9a53-6a3f0a3e7f0d")


@dataclasses.dataclass(frozen=True, slots=True)
class RunIdentity:
    """
    The identity of one import of a task, the same in all its tries.

    :param dag_id: Its DAG.
    :param run_id: Its DAG run.
    :param task_id: The operator's own id, since several operators may be executed inside one task.
    :param map_index: Its index among mapped tasks, -1 if it is not mapped.
    :param salt: Any text; another text makes another import of the same run.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1
    salt: str = ""

    def idempotency_key(self, digest: str, occurrence: int) -> str:
        """
        Return the key of a body.

        The body alone is not enough: another run may send equal records without timestamps.

        :param digest: SHA-256 of the body, in hex.
        :param occurrence: How many equal bodies the run had before.
        """
        return str(uuid.uuid5(_KEY_NAMESPACE, json.dumps([*dataclasses.astuple(self), digest, occurrence])))


class RunKeys:
    """
    Give the bodies of a run their keys, in their order.

    :param run: The run.
    """

    def __init__(self, run: RunIdentity) -> None:
        self._run = run
        self._occurrences: Counter[str] = Counter()

    def next(self, digest: str) -> str:
        """Return the key of the next body."""
        key = self._run.idempotency_key(digest, self._occurrences[digest])
        self._occurrences[digest] += 1
        return key
