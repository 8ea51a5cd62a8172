"""Check before a run starts what would stop it."""
