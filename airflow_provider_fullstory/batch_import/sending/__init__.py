"""Batches on their way to FullStory."""
