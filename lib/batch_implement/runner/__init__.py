"""Run a batch unattended: `batchctl run`. Each attempt is a batch of one feature in its own worktree."""
