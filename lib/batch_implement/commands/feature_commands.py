"""What the model asks for: start, phase, done, fail, decide. Each takes the project and the caller and answers with a
message.

Only the client that holds the batch may (or, where none does, a person at a terminal). Errors are those of the layers
below.
"""

from __future__ import annotations

import os

from ..base import timestamps
from ..core import batch_state, failure_classification, prompts, transitions
from ..core.errors import RefusedError, UsageError
from ..git import git_client
from ..store.store import Store
from . import authorization, evidence, issue_sync

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

    from ..base.project_paths import Project
    from ..core.batch_state import State
    from .authorization import Caller

MAX_TEXT_CHARS = 4000


def _require_owned_batch(project: Project, caller: Caller) -> tuple[Store, State]:
    store = Store(project, trusted=caller.is_user)
    state = store.require()
    authorization.require_owner(state, caller, project)
    return store, state


def start(project: Project, caller: Caller) -> str:
    """Open the next runnable feature, or find the one that is open, and say what to do. Starting twice changes
    nothing.
    """
    store, state = _require_owned_batch(project, caller)
    transitions.require_in_progress(state)
    if not state["active"]:
        base = git_client.get_head(project.root) if project.git_dir else None
        branch = git_client.get_branch(project.root) if project.git_dir else None
        state = store.update(lambda current: transitions.start(current, timestamps.now(), base, branch))
    return build_worker_brief(project, state)


def brief(project: Project, caller: Caller) -> str:
    """What `start` says of the open feature; without one, what is next. Reads only."""
    state = Store(project).require()
    if not state["active"]:
        return authorization.describe_next_step(state, caller)
    return build_worker_brief(project, state)


def build_worker_brief(project: Project, state: State) -> str:
    """What the worker of the feature that is open in `state` is told."""
    return prompts.worker_brief(state, _describe_existing_work(project, state))


def phase(project: Project, caller: Caller, name: str) -> str:
    """Note what the worker is doing now."""
    store, _ = _require_owned_batch(project, caller)
    state = store.update(lambda current: transitions.set_phase(current, name))
    return f"Feature {state['active']['feature_index'] + 1}: {name}."


def done(project: Project, caller: Caller, *, no_change: Optional[str] = None, wait_s: float = evidence.WAIT_S) -> str:
    """Close the open feature when there is evidence for it. Refused says what is missing; StillRunning (exit status
    4): call again.
    """
    if no_change is not None and not no_change.strip():
        raise UsageError("--no-change needs the reason why the feature needs no change.", "usage")
    store, state = _require_owned_batch(project, caller)
    index = transitions.require_active(state)
    attempt = state["active"]["attempt"]
    taken = evidence.collect(project, state, no_change=no_change, wait_s=wait_s)
    known = evidence.list_expected_untracked(project, state)

    def close(current: State) -> State:
        if batch_state.active_index(current) != index or current["active"]["attempt"] != attempt:
            raise RefusedError(
                f"Feature {index + 1} is not open any more: it is {batch_state.feature_status(current, index)}. See "
                "`batchctl next`.",
                "no-feature-open",
            )
        closed = transitions.complete(current, timestamps.now(), taken)
        return {**closed, "untracked_at_start": known}

    mode = prompts.workflow_mode(state)
    state = store.update(close)
    proof = f"commit {taken['commit'][:12]}" if taken.get("commit") else "no git"
    if taken["verify"]:
        proof += f", verify passed in {taken['verify']['seconds']:.1f} s"
    if no_change is not None:
        proof += ", no change"
    told = issue_sync.publish_after_outcome(project, state, index)
    now = _describe_what_follows(state, mode, caller)
    return f"Feature {index + 1} of {state['total_features']} is done ({proof}).{told} {now}"


def fail(project: Project, caller: Caller, reason: str, *, permanent: bool = False) -> str:
    """End the open feature's attempt as failed; what it left uncommitted goes into a named stash, its commits stay."""
    if not reason.strip():
        raise UsageError("--reason needs to say what went wrong: the next attempt is told.", "usage")
    store, state = _require_owned_batch(project, caller)
    index = transitions.require_active(state)
    mode = prompts.workflow_mode(state)
    stash = stash_leftovers(project, state)
    words, now = reason[:MAX_TEXT_CHARS], timestamps.now()
    kind = failure_classification.classify_report(words)
    treatment = failure_classification.TREATMENT[kind]
    backoff = failure_classification.backoff_s(state["active"]["attempt"], os.urandom(1)[0] / 256)
    retry_after = failure_classification.reset_time(words, now) or timestamps.from_now(backoff)

    def end(current: State) -> State:
        ended = transitions.fail(
            current, now, words, kind, permanent=permanent or treatment == "fail", stash=stash, retry_after=retry_after
        )
        if treatment == "pause" and ended["status"] == "in_progress":
            return transitions.pause(ended, now, f"a person is needed ({kind}): {words[:300]}")
        return ended

    before = len(state["skipped_features"])
    state = store.update(end)
    kept = f" Its uncommitted work is in the stash `{stash}`." if stash else ""
    if batch_state.feature_status(state, index) == "failed":
        blocked = len(state["skipped_features"]) - before
        others = f"; {prompts.pluralize(blocked, 'feature')} that need it are skipped" if blocked > 1 else ""
        what = "given up on" + ("; the feature that needs it is skipped" if blocked == 1 else others)
        kept += issue_sync.publish_after_outcome(project, state, index)
    else:
        what = f"to be tried again ({prompts.pluralize(batch_state.attempts_used(state, index), 'attempt')} used)"
    now = _describe_what_follows(state, mode, caller)
    return f"Feature {index + 1} of {state['total_features']} is {what}.{kept} {now}"


def decide(project: Project, caller: Caller, question: str, answer: str) -> str:
    """Record a question that was answered by a default."""
    if not question.strip() or not answer.strip():
        raise UsageError("`batchctl decide QUESTION ANSWER` needs both, each as one argument.", "usage")
    store, _ = _require_owned_batch(project, caller)
    store.update(
        lambda current: transitions.decide(
            current, timestamps.now(), question[:MAX_TEXT_CHARS], answer[:MAX_TEXT_CHARS]
        )
    )
    return "Recorded; `batchctl log` shows it. Go on."


def stash_leftovers(project: Project, state: State) -> Optional[str]:
    """Put the open feature's leftovers into a stash; its name, None when there was nothing."""
    if project.git_dir is None or not state["active"]:
        return None
    active = state["active"]
    name = f"batch {state['batch_id']} feature {active['feature_index'] + 1} attempt {active['attempt']}"
    return (
        name if git_client.stash_changes(project.root, name, evidence.list_expected_untracked(project, state)) else None
    )


def _describe_existing_work(project: Project, state: State) -> str:
    active = state["active"]
    if project.git_dir is None:
        return ""
    commits = git_client.list_commits_since(project.root, active["base_commit"]) if active["base_commit"] else []
    left = git_client.list_uncommitted_paths(project.root, evidence.list_expected_untracked(project, state))
    return prompts.describe_existing_work(commits, left, active["base_commit"])


def _describe_what_follows(state: State, mode: str, caller: Caller) -> str:
    """What a worker of this mode, or a person in its place, is told once the feature is closed."""
    if caller.is_user or mode == "direct":
        return authorization.describe_next_step(state, caller)
    return f"{prompts.progress_summary(state)}. Your part ends here: answer in at most three lines what was done."
