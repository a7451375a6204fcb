"""From a row of the source to a valid record, without requests to FullStory."""

from __future__ import annotations
