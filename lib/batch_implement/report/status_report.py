"""Describe a batch for a user or a script, as plain data or as lines of text. Pure.

status_data(state)      `batchctl status --json`; features are numbered from 1
format_status(state)    the same as lines
plan_data(state, listing), format_plan(state, listing)      a batch that is not created yet
"""

from __future__ import annotations

from ..base.text import clean, one_line
from ..core import batch_policy, batch_state, blocked_features, prompts, review_verdicts, run_transitions
from ..core.batch_state import key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional

    from ..core.batch_state import State
    from ..features.feature_list import Listing

STATUSES = ("done", "running", "merging", "waiting", "pending", "failed", "skipped")
RESUME_IN_CLIENT = "Resume it with `/batch-implement --resume` in Claude Code."


def status_counts(state: State, now: str = "") -> Dict[str, int]:
    """Return the number of features, `total`, and how many have each status; `waiting` only with `now`."""
    counts = dict.fromkeys(("total", *STATUSES), 0)
    for status in batch_state.feature_statuses(state, now).values():
        counts[status] += 1
        counts["total"] += 1
    return counts


def status_data(state: State, now: str = "") -> Dict[str, Any]:
    """Return the batch as plain data; `next` is the number of the running or next feature, None at the end.

    A feature is `waiting` at the time `now`; without `now` it is `pending`.
    """
    return {
        "batch_id": state["batch_id"],
        "status": state["status"],
        "revision": state["revision"],
        "counts": status_counts(state, now),
        "features": feature_entries(state, now),
        "next": next_number(state),
        "pause": state["pause"],
        "owner": state["owner"],
        "policy": state["policy"],
        "workflow_mode": state["workflow_mode"],
        "branch": _find_branch(state),
    }


def _find_branch(state: State) -> Optional[str]:
    """Return the branch that has the commits of completed features: the batch's in a run, else the user's."""
    run = state.get("run")
    return run["branch"] if run else state.get("branch")


def attempts_begun(state: State, index: int, status: str) -> int:
    """Return the number of attempts at a feature of this status, with one that is running or succeeded."""
    return batch_state.attempts_used(state, index) + (status in ("done", "running", "merging"))


def next_number(state: State) -> Optional[int]:
    """Return the number of the running or next runnable feature, or None when none is left."""
    index: int = state["current_index"]
    return None if index >= state["total_features"] else index + 1


def feature_entries(state: State, now: str = "") -> List[Dict[str, Any]]:
    """Return an entry for each feature: `{number, text, status, attempts, commit}`, and those of `reason` (of a failure
    or a skip), `policy` (where it differs from the batch's), `section`, `description`, `review` (the verdict on what is
    done: `good`, `fix` or `not reviewed`), `no_change` and `merge` (while it waits for that: `since` when, and in a run
    of the verify command the numbers of those `verified_with` it and how often their group was split, `splits`) that it
    has.

    `attempts` includes the running one; `commit` is None unless the feature is done by a commit.
    """
    reasons = {entry["feature_index"]: entry["error_message"] for entry in state["failed_features"]}
    reasons.update((entry["feature_index"], entry["reason"]) for entry in state["skipped_features"])
    entries, merges = [], merge_entries(state)
    for index, status in batch_state.feature_statuses(state, now).items():
        evidence = state["evidence"].get(key(index), {}) if status == "done" else {}
        details = state.get("details", {}).get(key(index), {})
        entry = {
            "number": index + 1,
            "text": state["features"][index],
            "status": status,
            "attempts": attempts_begun(state, index, status),
            "commit": evidence.get("commit"),
        }
        if status in ("failed", "skipped"):
            entry["reason"] = blocked_features.describe_reason(reasons[index])
        if details.get("policy"):
            entry["policy"] = batch_policy.feature_policy(state, index)
        for name in ("section", "description"):
            if details.get(name):
                entry[name] = details[name]
        if status == "done":
            entry["review"] = review_verdicts.describe(evidence)
        if "no_change" in evidence:
            entry["no_change"] = evidence["no_change"]
        if index in merges:
            entry["merge"] = merges[index]
        entries.append(entry)
    return entries


def format_status(state: State, now: str = "") -> List[str]:
    """Return lines for a terminal: the batch, a line for each feature, and what happens now."""
    lines = [
        f"Batch {state['batch_id']}: {state['status'].replace('_', ' ')}, {prompts.progress_summary(state)}",
        f"Policy: {_describe_policy(state)}.",
    ]
    if _find_branch(state):
        lines.append(f"Branch: {one_line(str(_find_branch(state)), 200)}.")
    for entry in feature_entries(state, now):
        index = entry["number"] - 1
        has_retries = entry["attempts"] > (0 if entry["status"] in ("pending", "waiting") else 1)
        details = [
            f"{one_line(entry['text'], 80)}{_describe_overrides(state, index)}",
            *_describe_outcome(state, index, entry),
            f"({prompts.pluralize(entry['attempts'], 'attempt')})" if has_retries else "",
            one_line(entry.get("reason", ""), 100),
            describe_merge(entry["merge"]) if "merge" in entry else "",
        ]
        lines.append(f"{entry['number']:>4}  {entry['status']:<7}  {'  '.join(filter(None, details))}")
    return [*lines, *_describe_state(state)]


def _describe_outcome(state: State, index: int, entry: Dict[str, Any]) -> List[str]:
    """Return the commit of a feature and its review; of one that needed no change that it is so."""
    if "no_change" in entry:  # its commit would be another feature's
        return ["no change"]
    return [(entry["commit"] or "")[:12], describe_review(state, index, entry.get("review"))]


def merge_entries(state: State) -> Dict[int, Dict[str, Any]]:
    """Return `merge` of `feature_entries` for each feature that waits for its merge, by index."""
    entries = run_transitions.merge_progress(state)
    for entry in entries.values():
        if "verified_with" in entry:
            entry["verified_with"] = [other + 1 for other in entry["verified_with"]]
    return entries


def describe_merge(merge: Dict[str, Any]) -> str:
    """Return what the merge queue does with a feature: its `merge` in `feature_entries`."""
    since = f"since {merge['since'][11:16]} UTC"
    if "verified_with" not in merge:
        return f"in the merge queue {since}"
    others = ", ".join(map(str, merge["verified_with"]))
    splits = f", group split {prompts.pluralize(merge['splits'], 'time')}" if merge["splits"] else ""
    return f"verified{f' with {others}' if others else ''} {since}{splits}"


def describe_review(state: State, index: int, verdict: Optional[str]) -> str:
    """Return `review: VERDICT` for feature `index`; empty where no review was required and none was made."""
    if verdict is None:
        return ""
    if verdict == review_verdicts.NOT_REVIEWED:
        return verdict if "review" in batch_policy.feature_policy(state, index)["evidence"] else ""
    return f"review: {verdict}"


def _describe_state(state: State) -> List[str]:
    """Return at least one line: what happens now and how to continue."""
    if state["pause"]:
        until = f" Not before {state['pause']['resume_after']}." if state["pause"].get("resume_after") else ""
        reason = clean(state["pause"]["reason"]).rstrip(" .")
        return [f"Paused: {reason}.{until} {describe_resume(state)}"]
    if not batch_state.is_live(state):
        return [_describe_end(state), *_describe_result_branch(state)]
    run, active = state.get("run"), state["active"]
    if run and run["running"] and not run.get("ended_at"):
        numbers = ", ".join(str(number) for number in sorted(int(name) + 1 for name in run["running"]))
        return [f"Running in `batchctl run`: {numbers}."]
    if active:
        return [
            f"Running: feature {active['feature_index'] + 1}, attempt {active['attempt']}, phase {active['phase']}."
        ]
    return [f"Next: feature {state['current_index'] + 1}."]


def _describe_end(state: State) -> str:
    failed, skipped = len(state["failed_features"]), len(state["skipped_features"])
    if not failed and not skipped:
        return "All features processed."
    retry = "`batchctl retry` retries the failed ones" if failed else "`batchctl retry N` retries a skipped one"
    return f"All features processed; {prompts.pluralize(failed + skipped, 'feature')} not done. {retry}."


def _describe_result_branch(state: State) -> List[str]:
    run = state.get("run")
    if not run or run["options"].get("merge") or not state["completed_features"]:
        return []
    return [f"The commits are on branch {run['branch']}; `batchctl report` shows how to merge it."]


def describe_resume(state: State) -> str:
    """Return a sentence with the command that resumes a batch: the one that it was run with."""
    if state.get("run") and (state["owner"] is None or state["owner"].get("driven")):
        return "Resume it with `batchctl run --resume`."
    return RESUME_IN_CLIENT


def describe_owner(state: State, *, at_work: bool) -> str:
    """Return a sentence about who works on a batch in progress; `at_work`: the process of its owner is alive."""
    if not at_work:
        return f"No process works on the batch. {describe_resume(state)}"
    if state.get("run") and (state["owner"] or {}).get("driven"):
        return "`batchctl run` works on it; `batchctl status --watch` follows it."
    return "Claude Code has it; if it waits there, type `/batch-implement --resume`."


def describe_batch(state: State, *, at_work: bool) -> str:
    """Return a few sentences for a user: the progress and the next step."""
    if state["status"] != "in_progress":
        status = "paused" if state["pause"] else f"over ({state['status']})"
        return f"Batch {state['batch_id']} is {status}: {prompts.progress_summary(state)}. {_describe_state(state)[0]}"
    return f"{prompts.progress_and_feature(state)} {describe_owner(state, at_work=at_work)}"


def plan_data(state: State, listing: Listing) -> Dict[str, Any]:
    """Return a batch that is not created yet and how its list was read as plain data; features by numbers, from 1."""
    from .list_reading import reading_data

    return {
        **reading_data(listing),
        "features": feature_entries(state),
        "order": [index + 1 for index in batch_state.indices_in_order(state)],
        "dependencies": {
            str(int(name) + 1): [need + 1 for need in needs] for name, needs in state["feature_dependencies"].items()
        },
        "hints": [
            {"feature": hint["feature_index"] + 1, "needs": hint["needs"] + 1, "why": hint["why"]}
            for hint in _order_hints(state)
        ],
        "policy": state["policy"],
        "workflow_mode": state["workflow_mode"],
    }


def format_plan(state: State, listing: Listing) -> List[str]:
    """Return the lines of `--dry-run`."""
    from .list_reading import format_reading

    lines = [f"Read as {clean(listing.format)}."] if listing.format else []
    lines.append(
        f"{prompts.pluralize(state['total_features'], 'feature')} would be done, in this order "
        f"({state['workflow_mode']}; {_describe_policy(state)}):"
    )
    section = ""
    for index in batch_state.indices_in_order(state):
        details = state["details"].get(key(index), {})
        if details.get("section", "") != section:
            section = details.get("section", "")
            lines.append(f"      [{one_line(section, 120)}]" if section else "      [no section]")
        lines.append(f"{index + 1:>4}  {one_line(state['features'][index], 120)}{_describe_overrides(state, index)}")
    hints = _order_hints(state)
    if hints:
        inferred = state["analysis_metadata"]["inferred"]
        lines.append(
            "Inferred from the texts:" if inferred else "The texts suggest an order; `--infer-order` applies it:"
        )
        lines += [
            f"      {hint['feature_index'] + 1} after {hint['needs'] + 1}: {clean(hint['why'])}" for hint in hints
        ]
    return [*lines, *format_reading(listing), "Nothing was written or started."]


def _order_hints(state: State) -> List[Dict[str, Any]]:
    hints: List[Dict[str, Any]] = (state["analysis_metadata"] or {}).get("hints", [])
    return hints


def _describe_policy(state: State) -> str:
    """Return what each feature needs to be done, as the batch asks for it."""
    policy = state["policy"]
    limit = policy["verify_timeout_s"]
    within = "" if limit == batch_policy.DEFAULT["verify_timeout_s"] else f" within {limit} s"
    if policy["verify"]:
        verify = f"`{clean(policy['verify'][:200])}` must pass on each commit{within}"
    elif policy["evidence"]:
        verify = "no verify command: only the commit is required"
    else:
        verify = "no evidence required: the worker's word counts"
    parts = [
        verify,
        f"`{clean(policy['setup'][:200])}` prepares each worktree of a run" if policy.get("setup") else "",
        "a review" if "review" in policy["evidence"] else "",
        "outcomes are posted to the issues" if policy.get("comment_issues") else "",
        "issues that are done are closed" if policy.get("close_issues") else "",
        f"{count_retries(policy['max_retries'])} each",
    ]
    return "; ".join(filter(None, parts))


def count_retries(number: int) -> str:
    """Return a number of retries in words: `no retry`, `1 retry`, `3 retries`."""
    return {0: "no retry", 1: "1 retry"}.get(number, f"{number} retries")


def _describe_overrides(state: State, index: int) -> str:
    """Return the dependencies of feature `index` and where its policy differs, in brackets; empty when nothing."""
    needs = state["feature_dependencies"].get(key(index), ())
    parts = [f"needs {', '.join(str(need + 1) for need in sorted(needs))}"] if needs else []
    policy = state.get("details", {}).get(key(index), {}).get("policy", {})
    templates = {"verify": "verify `{}`", "verify_timeout_s": "within {} s", "evidence": "evidence {}",
                 "workflow_mode": "{}", "max_retries": "{}"}  # fmt: skip
    for name, template in templates.items():
        if name in policy:
            value = count_retries(policy[name]) if name == "max_retries" else policy[name]
            value = ", ".join(value) if isinstance(value, list) else str(value)
            parts.append(template.format(one_line(value, 100)))
    return f"  ({'; '.join(parts)})" if parts else ""
