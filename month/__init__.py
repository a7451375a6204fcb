"""Proof by a month: syncs that run every hour while all sorts of things happen, and a count of every record."""
