"""The audit log as text for `batchctl log` and `--watch`: one line for each entry. Pure.

`core/batch_events` makes the entries of a batch's changes; the store, hooks and commands add others.
"""

from __future__ import annotations

from collections import defaultdict

from ..base.text import clean
from ..core import batch_policy
from ..core.batch_events import MAX_REASON_CHARS, MAX_TEXT_CHARS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Iterable, Iterator, List

    from ..core.batch_events import Event

_MESSAGES: Dict[str, str] = {
    "created": "batch {batch_id} created; features: {features}",
    "added": "features added: {features}",
    "acquired": "session {session} (process {client}) acquired the batch",
    "released": "its client released the batch",
    "policy changed": "policy changed",
    "started": "attempt {attempt} started",
    "phase": "{phase}",
    "worker exited": "worker exited without reporting done or failed ({times} in this attempt)",
    "completed": "done",
    "failed": "failed: {why}",
    "skipped": "skipped: {why}",
    "pending": "pending again",
    "attempt ended": "attempt {attempt} failed ({failure_class}): {why}",
    "decided": "decided by default: {question} -> {answer}",
    "compacted": "context window {context} compacted at {tokens} tokens",
    "reminded": "context window {context} reminded ({channel})",
    "reviewed": "reviewed: {verdict}",
    "published": "{operation}",
    "issue": "issue: {operation}",
    "paused": "paused: {reason}",
    "resumed": "resumed",
    "moved": "moved to another branch; before: {from_branch}",
    "reopened": "batch reopened",
    "ended": "batch {status}: {completed} done, {failed} failed, {skipped} skipped",
    "continued": "coordinator stopped; told to continue",
    "worker continued": "worker stopped; told to continue",
    "run started": "`batchctl run` started, {jobs} in parallel, into {branch}",
    "verified": "verified, waiting for its merge",
    "interrupted": "client interrupted: {why}",
    "waiting": "waiting until {until} ({failure_class}): {reason}",
    "wait ended": "wait ended",
    "run ended": "`batchctl run` ended: {why}",
    "denied": "{tool} denied: {reason}",
    "refused": "`{asked}` refused: {message}",
    "archived": "batch archived ({why})",
    "hook error": "{hook} hook failed: {what}",
    "migrated": "older state file migrated",
    "repaired": "repaired: {what}",
}
_EXTRA_FIELDS = ("commit", "no_change", "asserted", "snapshot", "retry_after", "url", "branch", "error", "from_session")


def format_entries(entries: Iterable[Event]) -> List[str]:
    """Return one line for each entry (time, feature, message), and one for each repair of a migration."""
    return [_format_entry(each) for entry in entries for each in (entry, *_repair_entries(entry))]


def _repair_entries(entry: Event) -> Iterator[Event]:
    repairs = entry.get("repairs") if entry["event"] == "migrated" else None
    for what in repairs if isinstance(repairs, list) else filter(None, (repairs,)):  # a text if it was shortened
        yield {"event": "repaired", "at": entry.get("at"), "what": what}


def _cut_field(name: str, value: object) -> str:
    """Return a field as text: a reason whole, others cut."""
    return clean(str(value))[: MAX_REASON_CHARS if name in ("why", "reason", "message") else MAX_TEXT_CHARS]


def _format_entry(entry: Event) -> str:
    fields = defaultdict(lambda: "?", {name: _cut_field(name, value) for name, value in entry.items()})
    template = _MESSAGES.get(entry["event"])
    message = template.format_map(fields) if template else str(fields.get("text", fields["event"]))
    if entry["event"] == "policy changed":
        names = [name for name in (*batch_policy.DEFAULT, *batch_policy.RUN_FIELDS) if name in entry]
        message += ": " + ", ".join(f"{name} {' '.join(fields[name].split())}" for name in names)
    shown = [name for name in _EXTRA_FIELDS if f"{{{name}}}" not in (template or "")]
    extra = [f"{name} {fields[name]}" for name in shown if entry.get(name) not in (None, False, "")]
    number = entry.get("feature")
    feature = f"feature {number}" if type(number) is int else ""
    time = str(entry.get("at", ""))[:19].replace("T", " ")
    return f"{time}  {feature:<11}  {message}{'; ' if extra else ''}{', '.join(extra)}".rstrip()
