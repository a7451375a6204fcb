"""What became of every record."""
