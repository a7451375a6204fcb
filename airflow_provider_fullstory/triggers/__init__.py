"""Triggers, which wait in the triggerer."""

from __future__ import annotations
