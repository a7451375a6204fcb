"""What this package adds to Airflow's UI: the history of imports."""

from __future__ import annotations
