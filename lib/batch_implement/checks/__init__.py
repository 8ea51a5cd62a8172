"""Checks: what would stop a batch, and whether files are what the schemas say."""
