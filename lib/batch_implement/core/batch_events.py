"""Events of a batch: what changed between two versions of its state, as entries for the audit log. Pure.

    events_between(old, new)          [{"event": "completed", "feature": 1, ...}, ...]
    entries_of_batch(entries, ...)    the log's entries of one batch

The store logs the events of every write, so that no transition is missing. Other code logs what changes no state:
refusals, denials, continued stops, reminders. `report/log_format` turns entries into text. Features count from 1.
"""

from __future__ import annotations

from . import batch_state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, Iterator, List, Optional

    from .batch_state import State

    Event = Dict[str, Any]

MAX_TEXT_CHARS = 300  # of a message in the log; the state has the whole message
MAX_REASON_CHARS = 4000  # of why something failed or pauses: the whole reason


def events_between(old: Optional[State], new: State) -> List[Event]:
    """Return the events from one version to the next, in order; `old` is None for a first version."""
    if old is None:
        created = {"features": new["total_features"], "policy": new["policy"], "mode": new["workflow_mode"]}
        if new.get("branch"):
            created["branch"] = new["branch"]
        return [{"event": "created", **created}, *_owner_events(None, new["owner"])]
    return list(_batch_events(old, new))


def entries_of_batch(
    entries: Iterable[Event], batch_id: Optional[str] = None, feature: Optional[int] = None
) -> List[Event]:
    """Return the entries of batch `batch_id` (None: the one created last) since its creation, oldest first.

    With the number `feature`, return only the entries of that feature. An entry without a batch (a refusal, a denial)
    belongs to the batch created before it; other state files of the same repository may log here, too.
    """
    kept: List[Event] = []
    wanted = batch_id
    for entry in entries:
        if entry["event"] == "created" and batch_id in (None, entry.get("batch_id")):
            wanted, kept = entry.get("batch_id"), []
        if entry.get("batch_id", wanted) == wanted:
            kept.append(entry)
    return [entry for entry in kept if feature in (None, entry.get("feature"))]


def _batch_events(old: State, new: State) -> Iterator[Event]:
    if new["total_features"] > old["total_features"]:
        yield {"event": "added", "features": new["total_features"] - old["total_features"]}
    if new["owner"] is not old["owner"]:
        yield from _owner_events(old["owner"], new["owner"])
    if new["policy"] is not old["policy"] and new["policy"] != old["policy"]:
        changed = {name: value for name, value in new["policy"].items() if value != old["policy"].get(name)}
        yield {"event": "policy changed", **changed}
    if new.get("branch") != old.get("branch"):
        yield {"event": "moved", "branch": new.get("branch"), "from_branch": old.get("branch")}
    yield from _record_events(old, new)
    yield from _attempt_events(old, new)
    yield from _outcome_events(old, new)
    if new["active"] is not None and new["active"] is not old["active"]:
        yield from _active_events(old["active"], new["active"])
    if new.get("run") and new["run"] is not old.get("run"):
        from . import run_transitions

        yield from run_transitions.run_events(old.get("run"), new["run"])
    if new["pause"] is not old["pause"] and new["pause"] != old["pause"]:
        if new["pause"] is not None:
            yield {"event": "paused", "reason": new["pause"]["reason"][:MAX_REASON_CHARS]}
        elif new["status"] == "in_progress":
            yield {"event": "resumed"}
    if new["status"] != old["status"] and not batch_state.is_live(new):
        numbers = batch_state.counts(new)
        outcomes = {name: numbers[name] for name in ("completed", "failed", "skipped")}
        yield {"event": "ended", "status": new["status"], **outcomes}
    elif not batch_state.is_live(old) and batch_state.is_live(new):
        yield {"event": "reopened"}


def _owner_events(old: Optional[State], new: Optional[State]) -> Iterator[Event]:
    before = (old["session_id"], old["pid"]) if old and old["pid"] is not None else None
    after = (new["session_id"], new["pid"]) if new and new["pid"] is not None else None
    if before == after:
        return
    if after is None:
        yield {"event": "released", "session": before[0] if before else None}
        return
    acquired: Event = {"event": "acquired", "session": after[0], "client": after[1]}
    if old is not None and old["session_id"] != after[0]:
        acquired["from_session"] = old["session_id"]
    yield acquired


def _outcome_events(old: State, new: State) -> Iterator[Event]:
    """Yield the features that were completed, failed or skipped, and those that are pending again."""
    done, was_done = new["completed_features"], old["completed_features"]
    reopened: List[int] = []
    if done is not was_done:
        reopened = sorted(set(was_done).difference(done))
        known = set(was_done)
        for index in done:
            if index not in known:
                evidence = new["evidence"].get(batch_state.key(index), {})
                fields = {name: evidence[name] for name in ("commit", "no_change", "asserted") if evidence.get(name)}
                yield {"event": "completed", "feature": index + 1, **fields}
    for field, name in (("failed_features", "failed"), ("skipped_features", "skipped")):
        if new[field] is old[field]:
            continue
        from . import blocked_features  # one file more, which the Stop hook does not need

        before = {entry["feature_index"] for entry in old[field]}
        after = {entry["feature_index"] for entry in new[field]}
        for entry in new[field]:
            index = entry["feature_index"]
            if index not in before:
                reason = (
                    entry["error_message"] if name == "failed" else blocked_features.describe_reason(entry["reason"])
                )
                yield {"event": name, "feature": index + 1, "why": reason[:MAX_REASON_CHARS]}
        reopened += sorted(before - after)
    for index in reopened:
        if batch_state.feature_status(new, index) in ("pending", "running"):
            yield {"event": "pending", "feature": index + 1}


def _attempt_events(old: State, new: State) -> Iterator[Event]:
    known, attempts = old.get("attempts", {}), new.get("attempts", {})
    if attempts is known:
        return
    for name, entries in attempts.items():
        if not entries or entries is known.get(name):
            continue
        last = {**entries[-1], "snapshot": None}
        if known.get(name) and last == {**known[name][-1], "snapshot": None}:
            continue  # at most its snapshot was recorded
        fields = {field: entries[-1][field] for field in ("snapshot", "retry_after") if entries[-1].get(field)}
        yield {
            "event": "attempt ended", "feature": int(name) + 1, "attempt": last["attempt"],
            "failure_class": last["failure_class"], "why": last["error_message"][:MAX_REASON_CHARS], **fields,
        }  # fmt: skip


def _active_events(before: Optional[State], active: State) -> Iterator[Event]:
    feature = active["feature_index"] + 1
    if before is None or any(before[name] != active[name] for name in ("feature_index", "attempt")):
        yield {"event": "started", "feature": feature, "attempt": active["attempt"], "base": active["base_commit"]}
    elif active["phase"] != before["phase"]:
        yield {"event": "phase", "feature": feature, "phase": active["phase"]}
    elif active.get("reviews") != before.get("reviews"):
        known = [(each["agent"], each["started_at"]) for each in before.get("reviews", ()) if each["text"] is not None]
        for review in active.get("reviews", ()):
            if review["text"] is not None and (review["agent"], review["started_at"]) not in known:
                yield {"event": "reviewed", "feature": feature, "verdict": review["text"].split("\n")[0][:100]}
    elif active.get("interruptions", 0) > before.get("interruptions", 0):
        yield {"event": "worker exited", "feature": feature, "times": active["interruptions"]}


def _record_events(old: State, new: State) -> Iterator[Event]:
    """Yield new decisions, compactions, reviews, pushes, pull requests and updates of issues."""
    for decision in new.get("decisions", [])[len(old.get("decisions", [])) :]:
        event = {name: decision[name][:MAX_TEXT_CHARS] for name in ("question", "answer")}
        yield {"event": "decided", "feature": _number(decision.get("feature_index")), **event}
    if new.get("auto_clear_count", 0) > old.get("auto_clear_count", 0) and new["auto_clear_events"]:
        last = new["auto_clear_events"][-1]
        yield {
            "event": "compacted", "feature": last["feature_index"] + 1, "context": last.get("context", "main"),
            "tokens": last["context_tokens_before_clear"],
        }  # fmt: skip
    if new["evidence"] is not old["evidence"]:
        for name, evidence in new["evidence"].items():
            review = evidence.get("review")
            active = old["active"] or {}
            known = [old["evidence"].get(name, {}).get("review"), *(each["text"] for each in active.get("reviews", ()))]
            if review and review not in known:  # of a worker of a run: its own batch had the review's event
                yield {"event": "reviewed", "feature": int(name) + 1, "verdict": review.splitlines()[0][:100]}
    for field, word in (("git_operations", "published"), ("issue_updates", "issue")):
        known, records = old.get(field, {}), new.get(field, {})
        for name in records if records is not known else ():
            for operation, record in records[name].items():
                if operation != "commit" and record != known.get(name, {}).get(operation):
                    values = {key: value for key, value in record.items() if key != "timestamp" and value is not None}
                    yield {"event": word, "feature": int(name) + 1, "operation": operation, **values}


def _number(index: Optional[int]) -> Optional[int]:
    return None if index is None else index + 1
