"""Assets: what FullStory has, as DAG files name it."""

from __future__ import annotations
