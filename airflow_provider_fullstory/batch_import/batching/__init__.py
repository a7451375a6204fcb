"""From events to batches."""
