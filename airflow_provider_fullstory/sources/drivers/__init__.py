"""How the result of each database driver is read piece by piece."""
