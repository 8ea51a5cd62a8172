"""Time, paths, JSON, processes and files: what every layer may use."""
