"""Proof by breaking: imports on a real Airflow, what goes wrong with them, and a count of every record."""
