"""Handle the calls, starts and ends of the agent `batch-implement:reviewer` while a feature is open.

A review is recorded with the commits that it began with. Whatever cannot be determined is not recorded: `batchctl
done` then asks for another review.
"""

from __future__ import annotations

from ..base import timestamps
from ..commands import evidence, reviews
from ..core import failure_classification, review_verdicts, transitions
from ..core.errors import BatchError
from ..git import git_client
from ..store import sidecar
from .dispatch import REVIEWER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Optional

    from ..core.batch_state import State
    from .dispatch import HookEvent


def handle_start(event: HookEvent) -> None:
    """Record that a reviewer begins to look at what the open feature's attempt has committed."""
    if not event.owns_batch or event.get_text("agent_type") != REVIEWER or not event.is_in_agent:
        return
    if not sidecar.is_storable_session_id(event.context):
        return
    state = event.open_store().read()
    change = _identify_change(event, state)
    if state is None or change is None:
        return
    attempt = _identify_attempt(state)
    commit = git_client.get_head(event.project.root) if event.project.git_dir else None

    def record(current: State) -> State:
        if _identify_attempt(current) != attempt:
            return current
        current = transitions.advance_phase(current, "review")
        return review_verdicts.begin(current, timestamps.now(), event.context, commit, change)

    event.update_state(record)


def handle_stop(event: HookEvent, state: State) -> Optional[Dict[str, Any]]:
    """Record what a reviewer said. Send it back once if its first line is no verdict."""
    message = event.get_text("last_assistant_message")
    if review_verdicts.parse_verdict(message) is None:
        if not message or failure_classification.classify(message) != "feature":
            # An error of the client's: the review does not count, and `batchctl done` must not wait for it.
            event.update_state(lambda current: review_verdicts.drop(current, event.context))
            return None
        if not event.payload.get("stop_hook_active"):
            reason = (
                "The first line of your answer must be exactly `VERDICT: good` or `VERDICT: fix`, without Markdown or "
                "other words. Answer again."
            )
            return {"decision": "block", "reason": reason}
    change = _identify_change(event, state)
    event.update_state(lambda current: review_verdicts.end(current, event.context, message, change))
    return None


def find_denial_reason(event: HookEvent) -> Optional[str]:
    """Return why a call of the reviewer would be in vain now, in a batch that requires reviews; None if it may run."""
    state = event.open_store().read()
    if state is None or state["status"] != "in_progress" or not review_verdicts.requires_review(state):
        return None
    change = _identify_change(event, state)
    uncommitted = []
    if event.project.git_dir:
        known = evidence.list_expected_untracked(event.project, state)
        uncommitted = git_client.list_uncommitted_paths(event.project.root, known)
    return None if change is None else reviews.explain_reviewer_denial(state["active"], change, uncommitted)


def _identify_attempt(state: State) -> Optional[tuple[int, int]]:
    active = state["active"]
    return (active["feature_index"], active["attempt"]) if active else None


def _identify_change(event: HookEvent, state: Optional[State]) -> Optional[str]:
    """Return what the open feature's attempt has committed; None when none is open or git cannot say it."""
    if state is None or state["status"] != "in_progress" or not state["active"]:
        return None
    if event.project.git_dir is None:
        return reviews.NO_CHANGE
    try:
        return reviews.identify_change(event.project.root, evidence.attribute_work(event.project, state).commits)
    except BatchError:
        return None
