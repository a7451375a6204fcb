"""What a sync remembers from one run to the next: its watermark, and the insert ids that it has imported."""
