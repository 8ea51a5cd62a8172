"""Commands of the user: create, add, resume, pause, skip, retry, abort.

Each takes a `CommandContext` and returns a `CommandResult`, for `batchctl` and for slash commands.
"""

from __future__ import annotations

from ..base import process_identity, timestamps
from ..core import batch_state, lease, prompts, run_transitions, transitions
from ..core.errors import RefusedError, UsageError
from ..git import git_client, ignored_files, untracked_files
from ..report import status_report
from ..store import written_files
from ..store.store import unfinished_batch_error
from . import (
    attempt_leftovers,
    authorization,
    batch_locations,
    evidence,
    feature_commands,
    generated_files,
    verify_command,
)
from .command import CommandResult

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO, List, Optional, Sequence, Tuple

    from ..base.project_paths import Project
    from ..core.batch_state import State
    from ..features.sources import FeatureSource
    from .authorization import Caller
    from .command import CommandContext


def create(
    context: CommandContext, options: Any, policy: State, cwd: str, stdin: Optional[BinaryIO] = None
) -> CommandResult:
    """Read the features that `options` (see `arguments.add_batch_options`) name and start a batch of them; with
    `dry_run` return the plan and what would prevent a start.
    """
    from ..features import sources
    from ..report import list_reading
    from . import earlier_batches, list_ticking

    source = sources.read(options, cwd, context.project.root, stdin)
    context.notes.extend(source.notes)
    context.notes.extend(list_ticking.find_problems(context.project, source))
    source, done_earlier = earlier_batches.leave_out_done(context, source)
    if options.dry_run:
        plan = plan_batch(source, policy, infer_order=options.infer_order)
        blockers = find_create_blockers(context, replace=options.replace)
        context.notes.extend(blockers)
        data = {**status_report.plan_data(plan, source.listing), "exit_code": int(bool(blockers))}
        return CommandResult("\n".join(status_report.format_plan(plan, source.listing)), data=data)
    state = create_batch(context, source, policy, infer_order=options.infer_order, replace=options.replace)
    next_step = status_report.describe_resume(state)
    if not state["policy"]["verify"]:
        next_step += " The batch has no verify command: only a commit is required."
    left_out = " ".join(filter(None, [*done_earlier, list_reading.summarize_left_out(source.listing.left_out)]))
    return CommandResult(
        f"Batch {state['batch_id']} has {prompts.pluralize(state['total_features'], 'feature')}. {left_out}".rstrip(),
        next_step,
        data={**status_report.status_data(state), "left_out": left_out},
        state=state,
    )


def plan_batch(
    source: FeatureSource, policy: State, *, infer_order: bool = False, untracked: Sequence[str] = ()
) -> State:
    """Return the first version of a batch of these features. Writes nothing."""
    from ..features import planner

    state = planner.build_first_state(
        timestamps.new_batch_id(),
        timestamps.now(),
        source.listing,
        policy,
        features_file=source.features_file,
        infer_order=infer_order,
        untracked=untracked,
    )
    return {**state, "tick": source.tick} if source.tick else state


def create_batch(
    context: CommandContext, source: FeatureSource, policy: State, *, infer_order: bool = False, replace: bool = False
) -> State:
    """Write a batch of these features and return it. The caller owns it when that is a client.

    Raises RefusedError outside git, with modified or staged tracked files, and while another batch is unfinished
    unless `replace` is set.
    """
    project, store, caller = context.project, context.store, context.caller
    require_clean_repository(project)
    # Not the state that the context read: the checks before a run take minutes.
    previous = store.read_if_usable() if replace else store.read()
    refuse_existing_batch(previous, caller, replace=replace)
    untracked = untracked_files.list_untracked(project.root)
    state = plan_batch(source, policy, infer_order=infer_order, untracked=untracked)
    state = {
        **state,
        "branch": git_client.get_branch(project.root),
        "verify_environment": verify_command.record_environment(),
    }
    git_client.exclude_state_file(project.root)
    written_files.begin(project.private, ignored_files.list_of_user(project.root))
    owner = caller.new_owner(state["created_at"])
    created = store.create(lease.acquire(state, owner, caller.prompt_id) if owner else state, replace=replace)
    generated_files.remove_with_batch(project, previous)
    return created


def require_clean_repository(project: Project) -> None:
    """Raise RefusedError unless the project is a git worktree without modified or staged tracked files."""
    if project.git_dir is None or not git_client.is_repository(project.root):
        raise RefusedError(
            f"A feature is done only with a commit, and {git_client.explain_missing_repository(project.root)}.",
            "not-a-repository",
        )
    evidence.refuse_git_operation(project.root, "then start again")
    tracked, _ = git_client.list_changes(project.root)
    if tracked:
        hint = evidence.submodule_hint(project.root, tracked)
        raise RefusedError(
            f"Tracked files are modified or staged: {git_client.format_paths(tracked)}. They would end up in the first "
            f"feature's commit.{hint} Commit them or `git stash` them, then start again.",
            "changes-in-the-way",
        )


def refuse_existing_batch(state: Optional[State], caller: Caller, *, replace: bool) -> None:
    """Raise RefusedError when the batch `state` prevents a new one: another client works on it, or it is unfinished
    and `replace` is not set.
    """
    if state is not None and batch_state.is_live(state):
        _refuse_if_in_use(state, caller)
        if not replace:
            raise unfinished_batch_error(state)


def find_create_blockers(context: CommandContext, *, replace: bool = False) -> List[str]:
    """Return the message for what would prevent `create` now, or nothing. Changes nothing."""
    try:
        require_clean_repository(context.project)
        refuse_existing_batch(context.read_state_if_usable(), context.caller, replace=replace)
    except RefusedError as error:
        return [f"Cannot start now: {error.message}"]
    return []


def _refuse_if_in_use(state: State, caller: Caller) -> None:
    """Raise RefusedError while another living client works on the batch."""
    if process_identity.classify_owner(state["owner"], caller.session_id, caller.pid) == "other":
        raise authorization.batch_in_use_error(state)


def _refuse_unmerged_run(project: Project, state: State) -> None:
    """Raise RefusedError while HEAD lacks the commits of `batchctl run`, which the next feature would miss."""
    branch = state["run"]["branch"]
    tip = git_client.get_branch_tip(project.root, branch) if project.git_dir else None
    if tip and not git_client.has_commit(project.root, tip):
        raise RefusedError(
            f"The commits of `batchctl run` for batch {state['batch_id']} are on the branch {branch} and not in HEAD. "
            f"`git merge {branch}` brings them here; or continue there: `batchctl run --resume` in a terminal.",
            "run-branch",
        )


def resume(context: CommandContext, batch_id: Optional[str] = None, *, unattended: bool = False) -> CommandResult:
    """Continue the batch under a new owner; its active feature stays active.

    On another branch than before the batch continues there, and an open feature begins at HEAD unless HEAD has its
    base. Raises RefusedError when `batch_id` is another batch, and while another client works on this one.
    """
    project, caller = context.project, context.caller
    state = require_batch(context, batch_id)
    branch_before = state.get("branch")
    if state.get("run"):
        _refuse_unmerged_run(project, state)
    now = timestamps.now()
    has_git = project.git_dir is not None and git_client.is_repository(project.root)
    branch = git_client.get_branch(project.root) if has_git else None
    base = state["active"] and state["active"]["base_commit"]
    head = git_client.get_head(project.root) if has_git and not git_client.has_commit(project.root, base) else base

    environment = verify_command.record_environment()

    def take(current: State) -> State:
        _refuse_if_in_use(current, caller)
        running = transitions.unpause(run_transitions.clear_running(current))
        if unattended and not running["policy"]["unattended"]:
            running = {**running, "policy": {**running["policy"], "unattended": True}}
        running = transitions.move_to_branch(running, branch, head)
        running = {**running, "verify_environment": environment}
        owner = caller.new_owner(now)
        return lease.acquire(running, owner, caller.prompt_id) if owner else lease.release(running)

    state = context.store.update(take)
    if has_git:
        git_client.exclude_state_file(project.root)
    message = f"Batch {state['batch_id']} is in progress."
    if state["branch"] != branch_before:
        before = evidence.describe_branch(branch_before)
        message += f" It continues {evidence.describe_branch(branch)}; it was {before}."
    return CommandResult(
        message, status_report.describe_resume(state), data=status_report.status_data(state), state=state
    )


def require_batch(context: CommandContext, batch_id: Optional[str]) -> State:
    """Return the batch of the project. Raises RefusedError when there is none, or its id is not `batch_id`."""
    state = context.read_state()
    if state is None or (batch_id and state["batch_id"] != batch_id):
        raise batch_locations.unknown_batch_error(context.project, state, batch_id)
    return state


def add(context: CommandContext, source: FeatureSource) -> CommandResult:
    """Append these features to the batch."""
    from ..features import planner
    from ..report import list_reading

    listing = source.listing
    if listing.defaults:
        raise UsageError(
            f"{source.features_file} has `defaults`, but batch defaults cannot change once the batch exists. Set them "
            "for each feature, or remove them.",
            "skip-retry-add",
        )

    def append(current: State) -> State:
        longer = transitions.add(current, timestamps.now(), **planner.build_additions(current, listing))
        planner.require_verify_command(longer, current["total_features"])
        return longer

    state = context.store.update(append)
    added = prompts.pluralize(len(listing.features), "feature")
    left_out = list_reading.summarize_left_out(listing.left_out)
    if left_out:  # `add` has no dry run
        left_out = left_out.replace("`--dry-run`", "`batchctl create FILE --dry-run`")
    message = f"{added} added to batch {state['batch_id']}: {state['total_features']} in all. {left_out}".rstrip()
    at_work = process_identity.is_owner_alive(state["owner"])
    return CommandResult(message, status_report.describe_owner(state, at_work=at_work), state=state)


def _format_numbers(indices: Sequence[int]) -> str:
    """Return features by number: `feature 1`, `features 2, 3`."""
    numbers = ", ".join(str(index + 1) for index in indices)
    return f"feature{'s' if len(indices) > 1 else ''} {numbers}"


def pause(context: CommandContext, reason: str) -> CommandResult:
    """Pause the batch and end its lease. The active feature stays active."""

    def stop(current: State) -> Tuple[State, Optional[State]]:
        return lease.release(transitions.pause(current, timestamps.now(), reason)), current["pause"]

    state, earlier = context.store.update_with_result(stop)
    open_feature = f" Feature {state['active']['feature_index'] + 1} stays open." if state["active"] else ""
    already = f" already: {earlier['reason'].rstrip(' .')}" if earlier else ""
    message = f"Batch {state['batch_id']} is paused{already}.{open_feature}"
    return CommandResult(message, status_report.describe_resume(state))


def skip(context: CommandContext, index: int, reason: str) -> CommandResult:
    """Skip a feature and those that need it. Uncommitted work of the active one goes into a snapshot."""
    project, state = context.project, context.require_state()
    before = batch_state.skipped_indices(state) | {index}

    def skip_feature(current: State, snapshot: Optional[str] = None) -> State:
        return transitions.skip(current, timestamps.now(), index, reason, snapshot=snapshot)

    snapshot = None
    if batch_state.active_index(state) == index:
        state, snapshot = attempt_leftovers.close_attempt(context.store, state, skip_feature)
    else:
        state = context.store.update(skip_feature)
    others = sorted(batch_state.skipped_indices(state) - before)
    need = "which needs it" if len(others) == 1 else "which need it"
    dependents = f", and with it {_format_numbers(others)}, {need}" if others else ""
    message = f"Feature {index + 1} is skipped{dependents}.{attempt_leftovers.describe(snapshot, project.root)}"
    return CommandResult(message + feature_commands.describe_ticks(project, state))


def retry(context: CommandContext, indices: Sequence[int]) -> CommandResult:
    """Make failed, skipped or completed features pending again, and those they blocked; without indices all that
    failed. The commits of a completed one stay.
    """

    def bring_back(current: State) -> Tuple[State, List[int]]:
        wanted = list(indices) or sorted(batch_state.failed_indices(current))
        if not wanted:
            raise RefusedError(
                "No feature has failed: there is nothing to retry. Name a skipped feature by its number: `batchctl "
                "retry N`.",
                "skip-retry-add",
            )
        changed = transitions.retry(current, wanted)
        before, after = batch_state.feature_statuses(current), batch_state.feature_statuses(changed)
        return changed, [index for index in after if before[index] != "pending" == after[index]]

    state, pending = context.store.update_with_result(bring_back)
    paused = f"Batch {state['batch_id']} is paused. " if state["pause"] else ""
    next_step = status_report.describe_owner(state, at_work=process_identity.is_owner_alive(state["owner"]))
    return CommandResult(f"Pending again: {_format_numbers(pending)}.", f"{paused}{next_step}", state=state)


def abort(context: CommandContext) -> CommandResult:
    """End and archive the batch. Uncommitted work of its active feature goes into a snapshot; its commits stay."""
    project, state = context.project, context.require_state()
    state = attempt_leftovers.take_out(context.store, state)
    snapshot = attempt_leftovers.keep(project, state)
    parts = [f"Batch {state['batch_id']} is aborted and archived in {project.private}/archive/."]
    if snapshot:
        parts.append(f"The uncommitted work of its open feature is in {prompts.describe_leftovers_place(snapshot)}.")
    if state["active"] and project.git_dir is not None:
        commits = git_client.list_commits_since(project.root, state["active"]["base_commit"])
        if commits:
            parts.append(f"Commits of its open feature stay: {', '.join(commit[:12] for commit in commits)}.")
    context.store.archive("aborted")
    generated_files.remove_with_batch(project, state)
    if state["active"] and project.git_dir is not None and not state.get("attempt_of"):
        before = state["active"].get("uncommitted", [])
        attempt_leftovers.take_out_snapshot(project, state, snapshot, before)
    if process_identity.is_owner_alive(state["owner"]):
        parts.append(f"Its client (process {state['owner']['pid']}) is still running: press Esc there.")
    return CommandResult(" ".join(parts))
