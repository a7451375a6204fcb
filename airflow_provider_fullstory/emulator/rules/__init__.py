"""FullStory's rules: which requests, events, users and properties it accepts."""

from __future__ import annotations
