"""Where rows come from and events go to, as one argument of a contender's process."""

from __future__ import annotations

import dataclasses
import json
from typing import Any


@dataclasses.dataclass(frozen=True)
class Place:
    """
    Say where the database and FullStory are.

    :param database: What psycopg2 connects with.
    :param fullstory: URL of FullStory.
    :param api_key: A key that it knows.
    """

    database: dict[str, Any]
    fullstory: str
    api_key: str = "na1.emulator/admin"

    @property
    def batches_url(self) -> str:
        """Where batches are posted to."""
        return f"{self.fullstory}/v2/events/batch"

    def to_json(self) -> str:
        """Return a text that `from_json` understands."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Place:
        """
        Return the place that a text describes.

        :param text: What `to_json` gave.
        """
        return cls(**json.loads(text))
