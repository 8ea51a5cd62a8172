"""What the demo's scripted worker types, done by hand: no client, no model."""

from __future__ import annotations

from pathlib import Path

from solutions import Solution


def type_in(project: Path, done: Solution, *kinds: str) -> None:
    """Do the Write and Edit calls of a solution's changes of these kinds; what is replaced is there exactly once."""
    for kind in kinds:
        for turn in done.turns(kind):
            ((tool, given),) = turn.tools
            path = project / given["file_path"]
            if tool == "Write":
                assert not path.exists()
                path.write_text(given["content"], encoding="utf-8")
            else:
                text = path.read_text(encoding="utf-8")
                assert text.count(given["old_string"]) == 1
                path.write_text(text.replace(given["old_string"], given["new_string"]), encoding="utf-8")
