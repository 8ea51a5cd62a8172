"""Commands of the model, for one feature at a time: start, brief, phase, done, fail, decide.

Each takes a `CommandContext` and returns a `CommandResult`. Only the owner of the batch may call them, or a user at a
terminal while the batch has none.
"""

from __future__ import annotations

import os

from ..base import timestamps
from ..core import batch_state, failure_classification, lease, prompts, transitions
from ..core.errors import RefusedError, UsageError
from ..git import git_client
from . import attempt_leftovers, authorization, completed_features, evidence, issue_sync, user_files
from .command import CommandResult
from .reviews import ReviewsExhausted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional, Sequence

    from ..base.project_paths import Project
    from ..core.batch_state import State
    from .command import CommandContext

MAX_TEXT_CHARS = 4000
GIVE_UP_HINT = "If another attempt cannot help, run the same now with `--permanent`"


def start(context: CommandContext) -> CommandResult:
    """Open the next runnable feature, unless one is open, and return the worker's brief."""
    project, state = context.project, authorization.require_owned_state(context)
    transitions.require_in_progress(state)
    missing: List[completed_features.Missing] = []
    uncommitted: List[str] = []
    if not state["active"]:
        missing = completed_features.find_missing(project, state)
        completed_features.refuse_missing(project, state, missing)
        state = attempt_leftovers.take_out(context.store, state)
        uncommitted = attempt_leftovers.list_uncommitted(project, state)
    if not state["active"] or lease.get_worker(state):
        base = git_client.get_head(project.root) if project.git_dir else None
        branch = git_client.get_branch(project.root) if project.git_dir else None
        state = context.store.update(
            lambda current: transitions.start(current, timestamps.now(), base, branch, uncommitted)
        )
    if uncommitted:
        user_files.keep_changes(project, state)
    brief_lines = [build_worker_brief(project, state), completed_features.describe_missing(missing)]
    return CommandResult("\n".join(filter(None, brief_lines)))


def brief(context: CommandContext) -> CommandResult:
    """Return the brief of the open feature; without one, the next step. Changes nothing."""
    state = context.require_state()
    if not state["active"]:
        return CommandResult(authorization.describe_next_step(state, context.caller))
    return CommandResult(build_worker_brief(context.project, state))


def build_worker_brief(project: Project, state: State) -> str:
    """Return the brief for the worker of the feature that is open in `state`."""
    return prompts.worker_brief(state, _describe_existing_work(project, state))


def phase(context: CommandContext, name: str) -> CommandResult:
    """Record the phase that the worker is in."""
    authorization.require_owned_state(context)
    state = context.store.update(lambda current: transitions.set_phase(current, name))
    return CommandResult(f"Feature {state['active']['feature_index'] + 1}: {name}.")


def done(
    context: CommandContext,
    *,
    no_change: Optional[str] = None,
    without: Sequence[str] = (),
    wait_s: float = evidence.WAIT_S,
) -> CommandResult:
    """Complete the open feature; end the attempt as failed when it had all its reviews and none approves the work.

    `without` names ignored files that need no commit.
    Raises RefusedError when evidence is missing, StillRunning or ReviewRunning while one is collected.
    """
    if no_change is not None and not no_change.strip():
        raise UsageError("--no-change needs the reason why the feature needs no change.", "usage")
    project, state = context.project, authorization.require_owned_state(context)
    index = transitions.require_active(state)
    moved = ""
    if state.get("attempt_of") and no_change is None:
        from . import attempt_base

        state, moved = attempt_base.follow_branch(context.store, state)
    active = state["active"]
    try:
        proof = evidence.collect(project, state, no_change=no_change, without=without, wait_s=wait_s)
    except ReviewsExhausted as refusal:
        result = _end_as_failed(context, state, refusal.message, "feature")
        result.message = f"{refusal.message}\nSo this attempt has failed. {result.message}"
        return result
    except RefusedError as refusal:
        if refusal.topic == "not-committed":
            user_files.keep_changes(project, state)
        refusal.message = "\n".join(filter(None, [moved, refusal.message]))
        raise

    ignored, losses = proof.pop("ignored", []), user_files.find_losses(project, state)
    proof.update(user_files.get_evidence(losses))

    def close(current: State) -> State:
        _require_same_attempt(current, active)
        return transitions.complete(current, timestamps.now(), proof)

    mode = prompts.workflow_mode(state)
    state = context.store.update(close)
    facts = [f"commit {proof['commit'][:12]}" if proof.get("commit") else "no git"]
    if proof["verify"]:
        facts.append(f"verify passed in {proof['verify']['seconds']:.1f} s")
    if no_change is not None:
        facts.append("no change")
    if proof.get("without"):
        facts.append(f"without {git_client.format_paths(proof['without'])}")
    message = f"Feature {batch_state.feature_position(state, index)} is done ({', '.join(facts)})."
    message += issue_sync.publish_after_outcome(context.store, state, index) + describe_ticks(project, state)
    if not batch_state.is_live(state):
        missing = completed_features.describe_missing(completed_features.find_missing(project, state))
        message += f"\n{missing}" if missing else ""
    user_files.bring_back(project, losses)
    message = "\n".join(filter(None, [moved, message, user_files.describe_losses(losses)]))
    if ignored:
        message += f"\nIn no commit, because git ignores them: {git_client.format_paths(ignored)}."
    return CommandResult(message, _describe_what_follows(state, mode, context))


def fail(context: CommandContext, reason: str, *, permanent: bool = False) -> CommandResult:
    """End the attempt at the open feature as failed. Its uncommitted work goes into a snapshot; its commits stay."""
    if not reason.strip():
        raise UsageError("--reason needs a text: the next attempt reads it.", "usage")
    state = authorization.require_owned_state(context)
    if permanent and not state["active"] and transitions.find_failed_attempt(state) is not None:
        return _give_up(context, state)
    kind = failure_classification.classify_report(reason[:MAX_TEXT_CHARS])
    return _end_as_failed(context, state, reason, kind, permanent=permanent)


def _give_up(context: CommandContext, state: State) -> CommandResult:
    """Give up on the feature whose attempt failed last, after which none was opened."""
    index = transitions.find_failed_attempt(state)
    mode = prompts.workflow_mode({**state, "current_index": index})
    skipped_before = len(state["skipped_features"])
    state = context.store.update(lambda current: transitions.give_up(current, timestamps.now()))
    message = f"Feature {batch_state.feature_position(state, index or 0)} is given up on"
    message += f"{_describe_skipped(len(state['skipped_features']) - skipped_before)}."
    message += issue_sync.publish_after_outcome(context.store, state, index or 0)
    message += describe_ticks(context.project, state)
    return CommandResult(message, _describe_what_follows(state, mode, context))


def _end_as_failed(
    context: CommandContext, state: State, reason: str, kind: str, *, permanent: bool = False
) -> CommandResult:
    """End the attempt at the feature that is open in `state`, in the way that failures of class `kind` are treated."""
    index, active = transitions.require_active(state), state["active"]
    mode = prompts.workflow_mode(state)
    error_message, now = reason[:MAX_TEXT_CHARS], timestamps.now()
    treatment = failure_classification.TREATMENT[kind]
    backoff = failure_classification.backoff_s(state["active"]["attempt"], os.urandom(1)[0] / 256)
    retry_after = failure_classification.reset_time(error_message, now) or timestamps.from_now(backoff)
    is_permanent = permanent or treatment == "fail"

    def end_attempt(current: State, snapshot: Optional[str]) -> State:
        _require_same_attempt(current, active)
        ended = transitions.fail(
            current, now, error_message, kind, permanent=is_permanent, snapshot=snapshot, retry_after=retry_after
        )
        if treatment == "pause" and ended["status"] == "in_progress":
            return transitions.pause_for_user(ended, now, kind, error_message)
        return ended

    skipped_before = len(state["skipped_features"])
    state, snapshot = attempt_leftovers.close_attempt(context.store, state, end_attempt)
    place = attempt_leftovers.describe(snapshot, context.project.root)
    message = f"Feature {batch_state.feature_position(state, index)} "
    is_final = batch_state.feature_status(state, index) == "failed"
    can_give_up = (state.get("attempt_of") and not is_permanent) or not is_final
    if state.get("attempt_of") and not is_permanent:
        message += f"failed in attempt {active['attempt']}.{place}"
    elif is_final:
        message += f"is given up on{_describe_skipped(len(state['skipped_features']) - skipped_before)}."
        message += place + issue_sync.publish_after_outcome(context.store, state, index)
        message += describe_ticks(context.project, state)
    else:
        attempts = prompts.pluralize(batch_state.attempts_used(state, index), "attempt")
        message += f"is to be tried again ({attempts} used).{place}"
    return CommandResult(message, _describe_what_follows(state, mode, context, GIVE_UP_HINT if can_give_up else ""))


def _require_same_attempt(current: State, active: State) -> None:
    """Raise RefusedError unless the attempt that was `active` before the lock is so still."""
    index = active["feature_index"]
    if batch_state.active_index(current) != index or current["active"]["attempt"] != active["attempt"]:
        raise RefusedError(
            f"Feature {index + 1} is not open any more: it is {batch_state.feature_status(current, index)}. See "
            "`batchctl next`.",
            "no-feature-open",
        )


def decide(context: CommandContext, question: str, answer: str) -> CommandResult:
    """Record a question that was answered with a default."""
    if not question.strip() or not answer.strip():
        raise UsageError("`batchctl decide QUESTION ANSWER` needs both, each as one argument.", "usage")
    authorization.require_owned_state(context)
    question, answer = question[:MAX_TEXT_CHARS], answer[:MAX_TEXT_CHARS]
    context.store.update(lambda current: transitions.decide(current, timestamps.now(), question, answer))
    return CommandResult("Recorded; `batchctl log` shows it. Go on.")


def describe_ticks(project: Project, state: State) -> str:
    """Tick the list if the batch has ended and asks for it. Return a sentence, after a blank, or nothing."""
    if not state.get("tick"):
        return ""
    from . import list_ticking

    sentence = list_ticking.tick_list(project, state)
    return f" {sentence}" if sentence else ""


def _describe_skipped(count: int) -> str:
    if not count:
        return ""
    return "; the feature that needs it is skipped" if count == 1 else f"; {count} features that need it are skipped"


def _describe_existing_work(project: Project, state: State) -> str:
    active = state["active"]
    if project.git_dir is None:
        return ""
    commits = git_client.list_commits_since(project.root, active["base_commit"]) if active["base_commit"] else []
    attempts = state.get("attempts", {}).get(str(active["feature_index"]))
    uncommitted = []
    if not (attempts and attempts[-1].get("work")):  # the brief names the work that was applied
        uncommitted = git_client.list_uncommitted_paths(project.root, evidence.list_expected_untracked(project, state))
    return prompts.describe_existing_work(commits, uncommitted, active["base_commit"])


def _describe_what_follows(state: State, mode: str, context: CommandContext, hint: str = "") -> str:
    """Return what to do after a feature is closed: for a worker of this mode, or for the user. `hint`: what else."""
    if context.caller.is_user or mode == "direct":
        next_step = authorization.describe_next_step(state, context.caller)
        return f"{hint}. {next_step}" if hint else next_step
    end = f"{hint}; else {prompts.WORKER_END[0].lower()}{prompts.WORKER_END[1:]}" if hint else prompts.WORKER_END
    return f"{prompts.progress_summary(state)}. {end}"
