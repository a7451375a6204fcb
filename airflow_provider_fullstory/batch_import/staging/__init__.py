"""Batches that wait in object storage between two tries."""
