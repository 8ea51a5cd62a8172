"""What happened to a batch, as events: from one version of its state to the next, and told to a person. Pure.

    happened(old, new)      the events between two versions, `[{"event": "completed", "feature_index": 0, ...}, ...]`
    of_batch(entries, ...)  the log's entries of one batch
    lines(entries)          the same as text, a line each: time, feature, what

The store writes what `happened` says to the audit log at every write, so no transition can go without a line there.
Others add what changes no state: refusals, denials, stops that were sent on, reminders, quarantine.
"""

from __future__ import annotations

from . import batch_state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, Iterator, List, Optional

    from .batch_state import State

    Event = Dict[str, Any]

MAX_TEXT_CHARS = 300  # characters of a message in the log; the state has all of it


def events_between(old: Optional[State], new: State) -> List[Event]:
    """The events that lead from one version to the next, in order; `old` is None for a first version."""
    if old is None:
        return [
            {
                "event": "created",
                "features": new["total_features"],
                "policy": new["policy"],
                "mode": new["workflow_mode"],
            },
            *_lease_events(None, new["owner"]),
        ]
    events: List[Event] = []
    if new["total_features"] > old["total_features"]:
        events.append({"event": "added", "features": new["total_features"] - old["total_features"]})
    if new["owner"] is not old["owner"]:
        events += _lease_events(old["owner"], new["owner"])
    if new["policy"] is not old["policy"] and new["policy"] != old["policy"]:
        changed = {name: value for name, value in new["policy"].items() if value != old["policy"].get(name)}
        events.append({"event": "policy changed", **changed})
    events += _feature_events(old, new)
    if new.get("run") and new["run"] is not old.get("run"):
        from . import run_transitions

        events += run_transitions.run_events(old.get("run"), new["run"])
    if new["pause"] is not old["pause"] and new["pause"] != old["pause"]:
        if new["pause"] is not None:
            events.append({"event": "paused", "reason": new["pause"]["reason"][:MAX_TEXT_CHARS]})
        elif new["status"] == "in_progress":
            events.append({"event": "unpaused"})
    if new["status"] != old["status"] and not batch_state.is_live(new):
        events.append({"event": "over", "status": new["status"], **_outcome_counts(new)})
    elif not batch_state.is_live(old) and batch_state.is_live(new):
        events.append({"event": "reopened"})
    return events


def _outcome_counts(state: State) -> Event:
    number = batch_state.counts(state)
    return {name: number[name] for name in ("completed", "failed", "skipped")}


def _lease_events(old: Optional[State], new: Optional[State]) -> Iterator[Event]:
    """Who works on the batch now: a client took it, took it over from another, or let it go."""
    before = (old["session_id"], old["pid"]) if old and old["pid"] is not None else None
    after = (new["session_id"], new["pid"]) if new and new["pid"] is not None else None
    if before == after:
        return
    if after is None:
        yield {"event": "let go", "session": before[0] if before else None}
        return
    taken: Event = {"event": "taken", "session": after[0], "client": after[1]}
    if old is not None and old["session_id"] != after[0]:
        taken["from_session"] = old["session_id"]
    yield taken


def _feature_events(old: State, new: State) -> Iterator[Event]:
    """What happened to features: attempts, outcomes, and what was noted on the way."""
    yield from _record_events(old, new)
    yield from _attempt_events(old, new)
    done, was_done = new["completed_features"], old["completed_features"]
    if done is not was_done:
        known = set(was_done)
        for index in done:
            if index not in known:
                proof = new["evidence"].get(batch_state.key(index), {})
                kept = {name: proof[name] for name in ("commit", "no_change", "asserted") if proof.get(name)}
                yield {"event": "completed", "feature_index": index, **kept}
    gone: List[int] = [] if done is was_done else sorted(set(was_done).difference(done))
    for place, name in (("failed_features", "failed"), ("skipped_features", "skipped")):
        if new[place] is old[place]:
            continue
        before = {entry["feature_index"] for entry in old[place]}
        after = {entry["feature_index"] for entry in new[place]}
        for entry in new[place]:
            if entry["feature_index"] not in before:
                why = entry["error_message"] if name == "failed" else entry["reason"]
                yield {"event": name, "feature_index": entry["feature_index"], "why": why[:MAX_TEXT_CHARS]}
        gone += sorted(before - after)
    for index in gone:
        if batch_state.feature_status(new, index) in ("pending", "running"):
            yield {"event": "pending again", "feature_index": index}
    if new["active"] is not None and new["active"] is not old["active"]:
        yield from _active_events(old["active"], new["active"])


def _attempt_events(old: State, new: State) -> Iterator[Event]:
    known, attempts = old.get("attempts", {}), new.get("attempts", {})
    if attempts is known:
        return
    for name, ended in attempts.items():
        if ended and ended is not known.get(name) and (not known.get(name) or ended[-1] != known[name][-1]):
            last = ended[-1]
            if known.get(name) and {**last, "stash": None} == {**known[name][-1], "stash": None}:
                continue  # only its stash was named
            kept = {field: last[field] for field in ("stash", "retry_after") if last.get(field)}
            yield {
                "event": "attempt ended", "feature_index": int(name), "attempt": last["attempt"],
                "failure_class": last["failure_class"], "why": last["error_message"][:MAX_TEXT_CHARS], **kept,
            }  # fmt: skip


def _active_events(before: Optional[State], active: State) -> Iterator[Event]:
    index = active["feature_index"]
    same = before is not None and before["feature_index"] == index and before["attempt"] == active["attempt"]
    if not same:
        yield {
            "event": "started", "feature_index": index, "attempt": active["attempt"], "base": active["base_commit"],
        }  # fmt: skip
    elif before is not None and active["phase"] != before["phase"]:
        yield {"event": "phase", "feature_index": index, "phase": active["phase"]}
    elif before is not None and active.get("interruptions", 0) > before.get("interruptions", 0):
        yield {"event": "left open", "feature_index": index, "times": active["interruptions"]}


def _record_events(old: State, new: State) -> Iterator[Event]:
    """What was recorded on the way: decisions, compactions, reviews, pushes and pull requests, issues told."""
    for decision in new.get("decisions", [])[len(old.get("decisions", [])) :]:
        yield {
            "event": "decided", "feature_index": decision.get("feature_index"),
            "question": decision["question"][:MAX_TEXT_CHARS], "answer": decision["answer"][:MAX_TEXT_CHARS],
        }  # fmt: skip
    if new.get("auto_clear_count", 0) > old.get("auto_clear_count", 0) and new["auto_clear_events"]:
        last = new["auto_clear_events"][-1]
        yield {
            "event": "compacted", "feature_index": last["feature_index"], "context": last.get("context", "main"),
            "tokens": last["context_tokens_before_clear"],
        }  # fmt: skip
    if new["evidence"] is not old["evidence"]:
        for name, proof in new["evidence"].items():
            review = proof.get("review")
            if review and review != old["evidence"].get(name, {}).get("review"):
                yield {"event": "reviewed", "feature_index": int(name), "verdict": review.splitlines()[0][:100]}
    for place, word in (("git_operations", "published"), ("issue_updates", "issue")):
        known, now = old.get(place, {}), new.get(place, {})
        for name in now if now is not known else ():
            for operation, record in now[name].items():
                if operation != "commit" and record != known.get(name, {}).get(operation):
                    yield {"event": word, "feature_index": int(name), "operation": operation, **_record_fields(record)}


def _record_fields(record: State) -> Event:
    return {field: value for field, value in record.items() if field != "timestamp" and value is not None}


# -- told -------------------------------------------------------------------------------------------------------------


def entries_of_batch(
    entries: Iterable[Event], batch_id: Optional[str] = None, feature_index: Optional[int] = None
) -> List[Event]:
    """The entries of batch `batch_id` (None: the one that was created last) since its creation, oldest first; those of
    one feature, when its index is given.

    What names no batch (a refusal, a denial) belongs to it from then on: other state files of the same repository may
    log here, too.
    """
    kept: List[Event] = []
    wanted = batch_id
    for entry in entries:
        if entry["event"] == "created" and batch_id in (None, entry.get("batch_id")):
            wanted, kept = entry.get("batch_id"), []
        if entry.get("batch_id", wanted) == wanted:
            kept.append(entry)
    return [entry for entry in kept if feature_index in (None, entry.get("feature_index"))]


def format_entries(entries: Iterable[Event]) -> List[str]:
    """The entries as text for a person, a line each: time, feature, what; and one for each thing that a migration has
    mended.
    """
    return [_format_entry(each) for entry in entries for each in (entry, *_repair_entries(entry))]


def _repair_entries(entry: Event) -> Iterator[Event]:
    mended = entry.get("mended")
    for what in mended if entry["event"] == "migrated" and isinstance(mended, list) else ():
        yield {"event": "mended", "at": entry.get("at"), "what": what}


class _EntryFields(dict):  # type: ignore[type-arg]
    """An entry's fields for a template: on one line, cut; what an entry does not have is `?`."""

    def __missing__(self, name: str) -> str:
        return "?"


_MESSAGES: Dict[str, str] = {
    "created": "batch {batch_id} is created, {features} to do",
    "added": "{features} more to do",
    "taken": "session {session} (process {client}) works on it",
    "let go": "its client has let it go",
    "policy changed": "the policy is changed",
    "started": "attempt {attempt} begins",
    "phase": "{phase}",
    "left open": "its worker left without a verdict ({times} in this attempt)",
    "completed": "completed",
    "failed": "failed for good: {why}",
    "skipped": "skipped: {why}",
    "pending again": "is to be done again",
    "attempt ended": "attempt {attempt} failed ({failure_class}): {why}",
    "decided": "decided by default: {question} -> {answer}",
    "compacted": "the window of {context} was compacted at {tokens} tokens",
    "reminded": "the window of {context} was reminded ({channel})",
    "reviewed": "reviewed: {verdict}",
    "published": "{operation}",
    "issue": "its issue: {operation}",
    "paused": "paused: {reason}",
    "unpaused": "goes on",
    "reopened": "goes on with what is to be done again",
    "over": "over, {status}: {completed} completed, {failed} failed, {skipped} skipped",
    "sent on": "the coordinator stopped and was sent on",
    "sent back": "its worker stopped and was sent back",
    "run begins": "`batchctl run` begins, {jobs} at a time, into {branch}",
    "to merge": "verified, to be merged",
    "interrupted": "its client was interrupted: {why}",
    "waits": "waits until {until} ({failure_class}): {reason}",
    "waited": "the wait is over",
    "run ends": "`batchctl run` ends: {why}",
    "denied": "denied to {tool}: {reason}",
    "refused": "refused `{asked}`: {message}",
    "put away": "the batch is put away ({why})",
    "hook trouble": "the {hook} hook could not do its work: {what}",
    "migrated": "an older file was taken over",
    "mended": "mended: {what}",
}
_EXTRA_FIELDS = ("commit", "no_change", "asserted", "stash", "retry_after", "url", "branch", "error", "from_session")


def _format_entry(entry: Event) -> str:
    from ..base.text import clean

    plain = _EntryFields({name: clean(str(value))[:MAX_TEXT_CHARS] for name, value in entry.items()})
    words = _MESSAGES.get(entry["event"])
    text = words.format_map(plain) if words else str(plain.get("text", plain["event"]))
    left = [name for name in _EXTRA_FIELDS if f"{{{name}}}" not in (words or "")]
    more = [f"{name} {plain[name]}" for name in left if entry.get(name) not in (None, False, "")]
    index = entry.get("feature_index")
    about = f"feature {index + 1}" if type(index) is int else ""
    when = str(entry.get("at", ""))[:19].replace("T", " ")
    return f"{when}  {about:<11}  {text}{'; ' if more else ''}{', '.join(more)}".rstrip()
