"""From a row of a source to a valid record."""
