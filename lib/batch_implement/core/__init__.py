"""The state of a batch and what may happen to it: pure functions, without files, clock or processes."""
