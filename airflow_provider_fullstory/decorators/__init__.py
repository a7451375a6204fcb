"""Decorators of TaskFlow, which make tasks of functions."""

from __future__ import annotations
