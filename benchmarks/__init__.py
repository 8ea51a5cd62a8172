"""What the plugin costs, as ratios to floors measured beside them: `python -m benchmarks`, or `make bench`.

pairs    two things measured by turns, and the median of their ratios
scenes   scratch projects with a batch, and what Claude Code tells a hook in them
inside   work that is measured within a process: run as a program of its own, one sample a line
rows     the table: what is measured, against what, what is to be reached
facts    what is no ratio: memory, bytes, system calls, files, tokens

Of its own is what a cluster costs beside its clients, by the clock: `python -m benchmarks.cluster`, with `idlers`.
"""
