"""Answer the events of Claude Code: one module per concern; `dispatch` picks the one of an event."""
