"""Show a run while it is running."""
