"""An import on several machines: CeleryExecutor, workers and triggerers without a common disk, and S3."""

from __future__ import annotations
