"""What the organization remembers, in SQLite."""

from __future__ import annotations
