"""batch-implement: a list of features, implemented one by one by Claude Code, verified and committed.

The packages are described in ARCHITECTURE.md. Nothing is imported here: a hook
pays only for what it uses.
"""

__version__ = "0.1.0"
