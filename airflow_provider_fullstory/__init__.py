"""Apache Airflow provider for FullStory."""

# Airflow loads this package while it configures itself: nothing of Airflow may be imported here.
from __future__ import annotations

__version__ = "0.1.0"
