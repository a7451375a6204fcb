"""Hooks: the requests to FullStory, from tasks and from the triggerer."""

from __future__ import annotations
