"""Where records come from: values at hand, files, queries. Knows nothing of what a record is."""
