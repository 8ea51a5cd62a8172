"""Questions asked of git and gh, and worktrees."""
