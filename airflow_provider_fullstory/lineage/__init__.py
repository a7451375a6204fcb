"""Lineage: what OpenLineage is told about an import, from where to where, and how many records."""

from __future__ import annotations
