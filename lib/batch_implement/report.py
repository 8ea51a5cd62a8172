"""What a person or script is shown of a batch. Pure: from the state to plain data or lines of text."""

from __future__ import annotations

from . import model, reminder
from .features import clean
from .model import key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List

    from .model import State

SIGNS = {"completed": "done   ", "failed": "FAILED ", "skipped": "skipped", "active": "open   ", "pending": "-      "}


def status(state: State) -> Dict[str, Any]:
    """The batch as plain data: `{batch_id, status, revision, counts, features: [{index, text, status, attempts,
    commit}], next}`.

    `next` is the index of the open or next runnable feature, null when none is left.
    """
    return {
        "batch_id": state["batch_id"],
        "status": state["status"],
        "revision": state["revision"],
        "counts": model.counts(state),
        "features": features(state),
        "next": following(state),
        "pause": state["pause"],
        "owner": state["owner"],
        "policy": state["policy"],
        "workflow_mode": state["workflow_mode"],
    }


def following(state: State) -> Any:
    """Index of the open or next runnable feature; None when none is left."""
    return None if state["current_index"] >= state["total_features"] else state["current_index"]


def features(state: State) -> List[Dict[str, Any]]:
    """One entry a feature, by index."""
    done = set(state["completed_features"])
    failed = {entry["feature_index"]: entry for entry in state["failed_features"]}
    skipped = {entry["feature_index"]: entry for entry in state["skipped_features"]}
    active = model.active_index(state)
    listed = []
    for index, text in enumerate(state["features"]):
        entry: Dict[str, Any] = {"index": index, "text": text, "status": "pending"}
        if index == active:
            entry["status"] = "active"
        elif index in done:
            entry["status"] = "completed"
        elif index in failed:
            entry.update(status="failed", reason=failed[index]["error_message"])
        elif index in skipped:
            entry.update(status="skipped", reason=skipped[index]["reason"])
        proof = state["evidence"].get(key(index), {}) if index in done else {}
        attempts = model.attempts_used(state, index) + (1 if entry["status"] in ("completed", "active") else 0)
        entry.update(attempts=attempts, commit=proof.get("commit"))
        if "no_change" in proof:
            entry["no_change"] = proof["no_change"]
        listed.append(entry)
    return listed


def status_lines(state: State) -> List[str]:
    """The batch for a person at a terminal."""
    lines = [f"Batch {state['batch_id']}: {state['status']}, {reminder.progress(state)}"]
    for entry in features(state):
        proof = f"  {entry['commit'][:12]}" if entry["commit"] else ""
        tries = f"  ({entry['attempts']} attempts)" if entry["attempts"] > 1 else ""
        why = f"  {clean(entry['reason'][:100])}" if "reason" in entry else ""
        text = clean(entry["text"][:80])
        lines.append(f"{entry['index'] + 1:>4}  {SIGNS[entry['status']]}  {text}{proof}{tries}{why}")
    lines.extend(_ending(state))
    return lines


def _ending(state: State) -> List[str]:
    if state["pause"]:
        when = f" Not before {state['pause']['resume_after']}." if state["pause"].get("resume_after") else ""
        why = clean(state["pause"]["reason"])
        return [f"Paused: {why}.{when} Go on with `/batch-implement --resume` in Claude Code."]
    if not model.is_live(state):
        failed = len(state["failed_features"]) + len(state["skipped_features"])
        again = " `batchctl retry` brings failed ones back." if failed else ""
        return [f"Nothing is left to do{f'; {failed} need a look' if failed else ''}.{again}"]
    if state["active"]:
        active = state["active"]
        return [f"Open: feature {active['feature_index'] + 1}, attempt {active['attempt']}, phase {active['phase']}."]
    return [f"Next: feature {state['current_index'] + 1}."]


def plan_lines(texts: List[str], policy: State, mode: str) -> List[str]:
    """What a batch over these features would be, for `--dry-run`."""
    verify = (
        f"`{policy['verify']}` must pass on each commit"
        if policy["verify"]
        else "no verify command: only the commit is asked for"
    )
    lines = [
        f"{len(texts)} features would be done, in this order ({mode}; {verify}; {policy['max_retries']} retries each):"
    ]
    lines += [f"{number:>4}  {clean(text[:120])}" for number, text in enumerate(texts, 1)]
    lines.append("Nothing was written or started.")
    return lines
