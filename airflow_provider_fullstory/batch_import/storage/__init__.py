"""Files in object storage and on the worker's disk."""
