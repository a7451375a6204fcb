"""Measurements; each prints what the documentation claims."""
