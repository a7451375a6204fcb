"""The insert ids that a sync has imported: whole on the worker's disk, hardly any of them in memory."""
