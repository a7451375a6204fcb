"""The emulated organization: how it accepts imports, and what it returns about them."""

from __future__ import annotations
