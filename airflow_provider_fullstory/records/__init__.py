"""From a row of a source to a valid record."""

from __future__ import annotations
