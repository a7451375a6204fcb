"""Retry policies, as DAG files use them."""

from __future__ import annotations
