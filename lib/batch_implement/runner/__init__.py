"""Unattended driving of a batch: `batchctl run`. Each worker is a batch of one in a work tree of its own."""
