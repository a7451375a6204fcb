"""HTTP: FullStory's endpoints, and the control API for tests."""

from __future__ import annotations
