"""A batch whose every text was written by somebody who wants the report to be more than text."""

from __future__ import annotations

from typing import Any

from run_report_samples import client_state, run_state

OURS = frozenset((
    "status", "batch_id", "outcome", "source_type", "workflow_mode", "evidence_kinds", "step", "phase", "how",
))  # fmt: skip
TIMES = frozenset((
    "started_at", "ended_at", "since", "until", "timestamp", "created_at", "updated_at", "resume_after", "retry_after",
))  # fmt: skip
FRAGMENTS = (
    "<script>alert(1)</script>", "</style>", "</pre></div></main>", "<!--", "-->", "]]>", "&lt;b&gt;", "&#60;",
    '" onload="x', "' onload='x", "<img src=x onerror=alert(1)>", "<a href=//evil.invalid>", "[a](http://evil.invalid)",
    "![i](x.png)", "http://evil.invalid", "www.evil.invalid", "@somebody", "#1", "owner/repo#1", "`", "``", "```",
    "````", "~~~", "\n```\n", "\n# heading\n", "\n- item\n", "\n\n", "\n    code", "\n---\n", "| a | b |",
    "**bold**", "\\", "\\`", "$x$", "\u202e", "\u2066", "\x1b[31m", "\x00", "\u2028", "\r", "\t", "{", "url(x)",
    "@import", "\ud800", "e\u0301", "\U0001f600",
)  # fmt: skip


def batches() -> list[dict[str, Any]]:
    """One batch that was driven, one from inside a client."""
    return [run_state(12), client_state()]


def rewritten(value: Any, text: str, name: str = "", *, times: bool) -> Any:
    """A state with `text` in the place of every text that is not ours; of times only when `times`."""
    if isinstance(value, dict):
        return {at: rewritten(held, text, at, times=times) for at, held in value.items()}
    if isinstance(value, list) and name != "evidence":
        return [rewritten(held, text, name, times=times) for held in value]
    if isinstance(value, str) and name not in OURS and (times or name not in TIMES):
        return text
    return value
