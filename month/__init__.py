"""Proof by a month: syncs that run every hour while much goes wrong, and a count of every record."""
