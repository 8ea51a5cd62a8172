"""Write the outcomes of features to the issues that they came from: comments, and closing, as the policy says.

    notes = publish(store, state, [index])              problems with gh, for the user; never raises for those
    text = publish_after_outcome(store, state, index)   the same after a feature was closed, as a sentence
    result = publish_all(context)                       `batchctl issues`

Each outcome is written once: the state's `issue_updates` records it, and `issue_publisher` looks at the issue before it
writes, so that a call that is repeated after a crash adds nothing.
"""

from __future__ import annotations

from ..base import timestamps
from ..core import batch_state, prompts
from ..core.batch_state import key
from ..core.errors import BatchError, RefusedError
from .command import CommandResult

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, List

    from ..core.batch_state import State
    from ..store.store import Store
    from .command import CommandContext

FINAL_STATUSES = ("done", "failed", "skipped")


def is_publishing_enabled(state: State) -> bool:
    """Return whether the batch is made of issues and its policy writes to them."""
    policy = state["policy"]
    return bool(state.get("issue_numbers") and (policy.get("comment_issues") or policy.get("close_issues")))


def find_due_updates(state: State, index: int) -> List[str]:
    """Return what is still to be written to the issue of feature `index`: `comment` and `close`, or one of them."""
    outcome, policy = batch_state.feature_status(state, index), state["policy"]
    records = state.get("issue_updates", {}).get(key(index), {})
    wanted = {
        "comment": policy.get("comment_issues") and outcome in FINAL_STATUSES,
        "close": policy.get("close_issues") and outcome == "done",
    }
    written = [kind for kind, record in records.items() if record.get("done") and record.get("outcome") == outcome]
    return [kind for kind, is_wanted in wanted.items() if is_wanted and kind not in written]


def publish(store: Store, state: State, indices: Iterable[int]) -> List[str]:
    """Write what is due for these features to their issues and record it. Return a message for each problem.

    Stops at a problem that every issue would have: the rest stays due.
    """
    if not is_publishing_enabled(state):
        return []
    from . import issue_publisher

    updates: Dict[int, Dict[str, Any]] = {}
    problems: List[str] = []
    for index in indices:
        due = find_due_updates(state, index)
        if not due:
            continue
        results = issue_publisher.publish_outcome(store.project, state, index, due)
        stamp = {"outcome": batch_state.feature_status(state, index), "timestamp": timestamps.now()}
        failures = [result for result in results.values() if not result["done"]]
        stops = any([result.pop("everywhere") for result in failures])
        updates[index] = {kind: {**result, **stamp} for kind, result in results.items()}
        problems += [f"Issue #{state['issue_numbers'][index]}: {result['why']}" for result in failures]
        if stops:
            break
    if updates:

        def record(current: State) -> State:
            known = dict(current.get("issue_updates", {}))
            for index, update in updates.items():
                known[key(index)] = {**known.get(key(index), {}), **update}
            return {**current, "issue_updates": known}

        try:
            store.update(record)
        except BatchError as error:
            numbers = ", ".join(f"#{state['issue_numbers'][index]}" for index in updates)
            error.mention_change(f"It is not recorded what was written to issue {numbers}.")
            raise
    return problems


def publish_after_outcome(store: Store, state: State, index: int) -> str:
    """Write the outcome of feature `index`, or all that is due when the batch is over.

    Return the first problem as a sentence after a blank; empty without one. The feature stays closed.
    """
    if not is_publishing_enabled(state):
        return ""
    try:
        problems = publish(store, state, [index] if batch_state.is_live(state) else range(state["total_features"]))
    except BatchError as error:
        problems = [error.message]
    return f" {problems[0]} (`batchctl issues` tries again.)" if problems else ""


def publish_all(context: CommandContext) -> CommandResult:
    """Write all that is due. Raises RefusedError if the batch does not write to issues."""
    state = context.require_state()
    if not is_publishing_enabled(state):
        raise RefusedError(
            f"Batch {state['batch_id']} does not write to issues: that is set when it is created, with `--comment` and "
            "`--close` beside `--issues` or `--label`.",
            "issue-not-written",
        )
    count = _count_due(state)
    if not count:
        return CommandResult("Nothing is due: all issues are up to date.")
    problems = publish(context.store, state, range(state["total_features"]))
    remaining = _count_due(context.store.require())
    summary = f"{prompts.pluralize(count - remaining, 'issue')} updated, {remaining} remaining."
    return CommandResult("\n".join([summary, *problems]))


def _count_due(state: State) -> int:
    return sum(bool(find_due_updates(state, index)) for index in range(state["total_features"]))
