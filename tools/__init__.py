"""Scripts for those who work on the package."""

from __future__ import annotations
