"""What tests inject: faults of the connection, and rejections of records that break no rule."""

from __future__ import annotations
