"""FullStory's HTTP contract, without I/O and without Airflow."""

from __future__ import annotations
