"""Create annotations, which the API neither lists nor deletes."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from airflow_provider_fullstory.emulator.answers import Answer, json_answer
from airflow_provider_fullstory.emulator.clock import Clock, timestamp
from airflow_provider_fullstory.emulator.rules.annotations import read_annotation

if TYPE_CHECKING:
    from airflow_provider_fullstory.emulator.store.annotations import AnnotationStore


@dataclasses.dataclass
class Annotations:
    """Take annotations."""

    store: AnnotationStore
    clock: Clock

    def create(self, body: bytes) -> Answer:
        """Create an annotation. Call it within a transaction."""
        answer = json_answer(read_annotation(body, timestamp(self.clock.now())))
        self.store.add(answer.body)
        return answer
