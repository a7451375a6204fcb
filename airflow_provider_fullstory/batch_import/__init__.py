"""The engine of an import, a folder for each phase. It knows a client of the API, but no operator."""

from __future__ import annotations
