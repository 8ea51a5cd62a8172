"""Decide whether a shell command would change the state or run a command reserved for the user."""
