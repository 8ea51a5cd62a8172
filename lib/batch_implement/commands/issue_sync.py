"""Outcomes that go back to the issues a batch is made of: comments, and closing, where its policy asks for them.

    notes = outcomes.publish(project, [index])      after a feature was closed; never raises for trouble of gh's
    text = outcomes.publish_all(project)            `batchctl issues`: all that is due

Each outcome is written once: what was written is in the state's `issue_updates`, and `issues.publish` looks at the
issue itself before it writes, so that a call repeated after a crash adds nothing.
"""

from __future__ import annotations

from ..base import timestamps
from ..core import batch_state, prompts
from ..core.batch_state import key
from ..core.errors import BatchError, RefusedError
from ..store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, List

    from ..base.project_paths import Project
    from ..core.batch_state import State

FINAL_STATUSES = ("done", "failed", "skipped")


def is_publishing_enabled(state: State) -> bool:
    """Whether the batch is made of issues and its policy asks for anything to be written to them."""
    policy = state["policy"]
    return bool(state.get("issue_numbers") and (policy.get("comment_issues") or policy.get("close_issues")))


def find_due_updates(state: State, index: int) -> Dict[str, bool]:
    """What is still to be written to the issue of feature `index`: `{"comment": bool, "close": bool}`."""
    outcome = batch_state.feature_status(state, index)
    known = state.get("issue_updates", {}).get(key(index), {})

    def missing(what: str) -> bool:
        record = known.get(what, {})
        return not (record.get("done") and record.get("outcome") == outcome)

    policy = state["policy"]
    return {
        "comment": bool(policy.get("comment_issues")) and outcome in FINAL_STATUSES and missing("comment"),
        "close": bool(policy.get("close_issues")) and outcome == "done" and missing("close"),
    }


def publish(project: Project, indices: Iterable[int]) -> List[str]:
    """Write what is due of these features to their issues and note it in the state; what a person should be told. It
    stops at the first trouble of gh's: the rest stays due.
    """
    store = Store(project)
    state = store.require()
    if not is_publishing_enabled(state):
        return []
    from ..features import github_issues

    written: Dict[int, Dict[str, Any]] = {}
    told: List[str] = []
    for index in indices:
        wanted = find_due_updates(state, index)
        if not any(wanted.values()):
            continue
        found = github_issues.publish(project.root, state, index, **wanted)
        stamp = {"outcome": batch_state.feature_status(state, index), "timestamp": timestamps.now()}
        undone = [result for result in found.values() if not result["done"]]
        stops = any([result.pop("everywhere") for result in undone])
        written[index] = {what: {**result, **stamp} for what, result in found.items()}
        told += [f"Issue #{state['issue_numbers'][index]}: {result['why']}" for result in undone]
        if stops:
            break
    if written:

        def note(current: State) -> State:
            updates = dict(current.get("issue_updates", {}))
            for index, result in written.items():
                updates[key(index)] = {**updates.get(key(index), {}), **result}
            return {**current, "issue_updates": updates}

        store.update(note)
    return told


def publish_after_outcome(project: Project, state: State, index: int) -> str:
    """After feature `index` was closed: write its outcome, at the batch's end all that is due; what to tell, with a
    blank before it, empty when nothing. Trouble changes nothing about the feature.
    """
    if not is_publishing_enabled(state):
        return ""
    try:
        told = publish(project, [index] if batch_state.is_live(state) else range(state["total_features"]))
    except BatchError as error:
        told = [error.message]
    return f" {told[0]} (`batchctl issues` tries again.)" if told else ""


def publish_all(project: Project) -> str:
    """Write all that is due. Refused for a batch that is not made of issues or asks for nothing."""
    state = Store(project).require()
    if not is_publishing_enabled(state):
        raise RefusedError(
            f"Batch {state['batch_id']} asks for nothing to be written to issues: that is set when it is created, with "
            "`--comment` and `--close` beside `--issues` or `--label`.",
            "issue-not-written",
        )
    everything = range(state["total_features"])
    was = sum(any(find_due_updates(state, index).values()) for index in everything)
    if not was:
        return "Nothing is due: what was asked for is on every issue."
    told = publish(project, everything)
    after = Store(project).require()
    left = sum(any(find_due_updates(after, index).values()) for index in everything)
    said = f"{prompts.pluralize(was - left, 'issue')} brought up to date, {left} still to do."
    return "\n".join([said, *told])
