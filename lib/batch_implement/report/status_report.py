"""What a person or script is shown of a batch. Pure: from the state to plain data or lines of text."""

from __future__ import annotations

from ..base.text import clean, one_line
from ..core import batch_state, blocking, policies, prompts
from ..core.batch_state import key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional

    from ..core.batch_state import State

STATUS_COLUMN = {
    "completed": "done   ",
    "failed": "FAILED ",
    "skipped": "skipped",
    "active": "open   ",
    "pending": "-      ",
}
RESUME_IN_CLIENT = "Go on with `/batch-implement --resume` in Claude Code."


def status_data(state: State) -> Dict[str, Any]:
    """The batch as plain data: `{batch_id, status, revision, counts, features, next, pause, owner, policy,
    workflow_mode}`.

    `counts` is what `model.counts` says, `features` as `features` has them, `next` what `following` says; the rest is
    as the state has it.
    """
    return {
        "batch_id": state["batch_id"],
        "status": state["status"],
        "revision": state["revision"],
        "counts": batch_state.counts(state),
        "features": feature_entries(state),
        "next": next_index(state),
        "pause": state["pause"],
        "owner": state["owner"],
        "policy": state["policy"],
        "workflow_mode": state["workflow_mode"],
    }


def next_index(state: State) -> Optional[int]:
    """Index of the open or next runnable feature; None when none is left."""
    index: int = state["current_index"]
    return None if index >= state["total_features"] else index


def feature_entries(state: State) -> List[Dict[str, Any]]:
    """One entry a feature, by index: `{index, text, status, attempts, commit}`, and what there is of `reason` (it has
    failed or is skipped), `policy` (it has one of its own), `description` and `no_change`.

    `status` is what `model.condition` says; `attempts` counts the one that is open or was the last; `commit` is None
    until the feature is completed, and for one that has none.
    """
    done = set(state["completed_features"])
    failed = {entry["feature_index"]: entry for entry in state["failed_features"]}
    skipped = {entry["feature_index"]: entry for entry in state["skipped_features"]}
    active = {batch_state.active_index(state), *batch_state.running_indices(state)}
    listed = []
    for index, text in enumerate(state["features"]):
        entry: Dict[str, Any] = {"index": index, "text": text, "status": "pending"}
        if index in active:
            entry["status"] = "active"
        elif index in done:
            entry["status"] = "completed"
        elif index in failed:
            entry.update(status="failed", reason=failed[index]["error_message"])
        elif index in skipped:
            entry.update(status="skipped", reason=skipped[index]["reason"])
        proof = state["evidence"].get(key(index), {}) if index in done else {}
        attempts = batch_state.attempts_used(state, index) + (1 if entry["status"] in ("completed", "active") else 0)
        entry.update(attempts=attempts, commit=proof.get("commit"))
        own = state.get("details", {}).get(key(index), {}).get("policy")
        if own:
            entry["policy"] = policies.feature_policy(state, index)
        description = state.get("details", {}).get(key(index), {}).get("description")
        if description:
            entry["description"] = description
        if "no_change" in proof:
            entry["no_change"] = proof["no_change"]
        listed.append(entry)
    return listed


def format_status(state: State) -> List[str]:
    """The batch for a person at a terminal."""
    lines = [
        f"Batch {state['batch_id']}: {state['status'].replace('_', ' ')}, {prompts.progress_summary(state)}",
        f"Policy: {_describe_policy(state)}.",
    ]
    for entry in feature_entries(state):
        proof = f"  {entry['commit'][:12]}" if entry["commit"] else ""
        tried = entry["attempts"] > (0 if entry["status"] == "pending" else 1)
        tries = f"  ({prompts.pluralize(entry['attempts'], 'attempt')})" if tried else ""
        why = f"  {one_line(blocking.describe_reason(entry['reason']), 100)}" if "reason" in entry else ""
        text = one_line(entry["text"], 80)
        own = _describe_overrides(state, entry["index"])
        lines.append(f"{entry['index'] + 1:>4}  {STATUS_COLUMN[entry['status']]}  {text}{own}{proof}{tries}{why}")
    lines.extend(_describe_state(state))
    return lines


def _describe_state(state: State) -> List[str]:
    """How it stands and goes on: the last line for a person; one always."""
    if state["pause"]:
        when = f" Not before {state['pause']['resume_after']}." if state["pause"].get("resume_after") else ""
        why = clean(state["pause"]["reason"]).rstrip(" .")
        return [f"Paused: {why}.{when} {describe_resume(state)}"]
    if not batch_state.is_live(state):
        failed = len(state["failed_features"]) + len(state["skipped_features"])
        again = " `batchctl retry` brings failed ones back." if state["failed_features"] else ""
        again = again or (" `batchctl retry N` brings a skipped one back." if failed else "")
        look = f"; {prompts.pluralize(failed, 'feature')} to look at" if failed else ""
        return [f"Nothing is left to do{look}.{again}", *_describe_result_branch(state)]
    run = state.get("run")
    if run and run["running"]:
        numbers = ", ".join(str(number) for number in sorted(int(name) + 1 for name in run["running"]))
        return [f"Under way in `batchctl run`: {numbers}."]
    if state["active"]:
        active = state["active"]
        return [f"Open: feature {active['feature_index'] + 1}, attempt {active['attempt']}, phase {active['phase']}."]
    return [f"Next: feature {state['current_index'] + 1}."]


def _describe_result_branch(state: State) -> List[str]:
    run = state.get("run")
    if not run or run["options"].get("merge") or not state["completed_features"]:
        return []
    return [f"What was done is in the branch {run['branch']}; `batchctl report` says how to take it over."]


def describe_resume(state: State) -> str:
    """How a batch that nobody is at work on goes on, in a sentence: as it was done before."""
    if state.get("run") and (state["owner"] is None or state["owner"].get("driven")):
        return "Go on with `batchctl run --resume`."
    return RESUME_IN_CLIENT


def describe_owner(state: State, *, at_work: bool) -> str:
    """Whether anybody is at work on a batch in progress, and how it goes on, in a sentence for a person."""
    if not at_work:
        return f"Nobody is at work on the batch. {describe_resume(state)}"
    if state.get("run") and (state["owner"] or {}).get("driven"):
        return "`batchctl run` drives it; `batchctl status --watch` follows."
    return "Claude Code has the batch; if it waits there, `/batch-implement --resume` goes on."


def describe_batch(state: State, *, at_work: bool) -> str:
    """How far the batch is and what is next, in a few sentences for a person."""
    if state["status"] != "in_progress":
        status = "paused" if state["pause"] else f"over ({state['status']})"
        return f"Batch {state['batch_id']} is {status}: {prompts.progress_summary(state)}. {_describe_state(state)[0]}"
    return f"{prompts.progress_and_feature(state)} {describe_owner(state, at_work=at_work)}"


def plan_data(state: State) -> Dict[str, Any]:
    """What a batch that is not written yet would be, as plain data: `{features, order, dependencies, hints, policy,
    workflow_mode}`; indices from 0.
    """
    return {
        "features": feature_entries(state),
        "order": list(batch_state.indices_in_order(state)),
        "dependencies": state["feature_dependencies"],
        "hints": _order_hints(state),
        "policy": state["policy"],
        "workflow_mode": state["workflow_mode"],
    }


def format_plan(state: State) -> List[str]:
    """The same for a person, for `--dry-run`."""
    lines = [
        f"{prompts.pluralize(state['total_features'], 'feature')} would be done, in this order "
        f"({state['workflow_mode']}; {_describe_policy(state)}):"
    ]
    for index in batch_state.indices_in_order(state):
        lines.append(f"{index + 1:>4}  {one_line(state['features'][index], 120)}{_describe_overrides(state, index)}")
    hints = _order_hints(state)
    if hints:
        taken = state["analysis_metadata"]["inferred"]
        lines.append("Taken from the texts:" if taken else "The texts suggest an order; `--infer-order` takes it:")
        lines += [
            f"      {hint['feature_index'] + 1} after {hint['needs'] + 1}: {clean(hint['why'])}" for hint in hints
        ]
    lines.append("Nothing was written or started.")
    return lines


def _order_hints(state: State) -> List[Dict[str, Any]]:
    found: List[Dict[str, Any]] = (state["analysis_metadata"] or {}).get("hints", [])
    return found


def _describe_policy(state: State) -> str:
    """What holds for the features that ask for nothing of their own."""
    policy = state["policy"]
    limit = policy["verify_timeout_s"]
    within = "" if limit == policies.DEFAULT["verify_timeout_s"] else f" within {limit} s"
    if policy["verify"]:
        verify = f"`{clean(policy['verify'][:200])}` must pass on each commit{within}"
    elif policy["evidence"]:
        verify = "no verify command: only the commit is asked for"
    else:
        verify = "no evidence is asked for: the worker's word counts"
    review = "a review; " if "review" in policy["evidence"] else ""
    written = "outcomes are written to the issues; " if policy.get("comment_issues") else ""
    closed = "issues that are done are closed; " if policy.get("close_issues") else ""
    return f"{verify}; {review}{written}{closed}{count_retries(policy['max_retries'])} each"


def count_retries(number: int) -> str:
    """A number of retries in words: `no retry`, `1 retry`, `3 retries`."""
    return {0: "no retry", 1: "1 retry"}.get(number, f"{number} retries")


def _describe_overrides(state: State, index: int) -> str:
    """What feature `index` needs and asks for of its own, in brackets; empty when nothing."""
    needs = state["feature_dependencies"].get(key(index), ())
    parts = [f"after {', '.join(str(need + 1) for need in sorted(needs))}"] if needs else []
    own = state.get("details", {}).get(key(index), {}).get("policy", {})
    words = {"verify": "verify `{}`", "verify_timeout_s": "within {} s", "evidence": "evidence {}",
             "workflow_mode": "{}", "max_retries": "{}"}  # fmt: skip
    for name, text in words.items():
        if name in own:
            value = count_retries(own[name]) if name == "max_retries" else own[name]
            parts.append(text.format(clean(", ".join(value) if isinstance(value, list) else str(value))[:100]))
    return f"  ({'; '.join(parts)})" if parts else ""
