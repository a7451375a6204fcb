"""The main job on one machine: PostgreSQL, Airflow and an emulated FullStory. Tests run on it too."""

from __future__ import annotations
