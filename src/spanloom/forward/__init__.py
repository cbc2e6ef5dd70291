"""`spanloom forward`: trace files to a backend, each span at least once, from where the last time ended."""
