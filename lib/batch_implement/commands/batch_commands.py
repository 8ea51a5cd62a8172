"""What a person asks for: create, add, resume, pause, skip, retry, abort. Each takes the project and the caller.

`create` and `resume` hand back the state; the others a message. A slash command and `batchctl` in a terminal end here
alike.
"""

from __future__ import annotations

import os

from ..base import processes, timestamps
from ..core import batch_state, lease, prompts, run_transitions, transitions
from ..core.errors import RefusedError, UsageError
from ..git import git_client
from ..report import status_report
from ..store import sidecar
from ..store.backups import no_batch_error
from ..store.store import Store, unfinished_batch_error
from . import authorization, feature_commands

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional, Sequence, Tuple

    from ..base.project_paths import Project
    from ..core.batch_state import State
    from ..features.sources import FeatureSource
    from .authorization import Caller


def plan_batch(
    project: Project, found: FeatureSource, given: State, *, infer_order: bool = False, untracked: Sequence[str] = ()
) -> State:
    """A first version of the batch over what was found, under the policy that `given` (options) asks for. Nothing is
    written.
    """
    from ..features import planner

    return planner.build_first_state(
        timestamps.new_batch_id(),
        timestamps.now(),
        found.listing,
        given,
        features_file=found.features_file,
        infer_order=infer_order,
        untracked=untracked,
    )


def create(
    project: Project,
    caller: Caller,
    found: FeatureSource,
    given: State,
    *,
    infer_order: bool = False,
    replace: bool = False,
) -> State:
    """Start a batch over what was found, under the policy that `given` (options) asks for, held by the caller when
    that is a client.

    Refused outside git, with modified or staged tracked files, or while another batch is unfinished (unless
    `replace`).
    """
    require_clean_repository(project)
    store = Store(project)
    refuse_unfinished_batch(store.read_if_usable() if replace else store.read(), caller, replace=replace)
    _, untracked = git_client.list_changes(project.root)
    state = plan_batch(project, found, given, infer_order=infer_order, untracked=untracked)
    git_client.exclude_state_file(project.root)
    owner = caller.new_owner(state["created_at"])
    return store.create(lease.acquire(state, owner, caller.prompt_id) if owner else state, replace=replace)


def require_clean_repository(project: Project) -> None:
    """Refused unless the project is a git work tree without modified or staged tracked files."""
    if project.git_dir is None or not git_client.is_repository(project.root):
        raise RefusedError(
            f"A feature is done only with a commit, and {git_client.explain_missing_repository(project.root)}.",
            "not-a-repository",
        )
    underway = git_client.operation_in_progress(project.root)
    if underway:
        raise RefusedError(
            f"In {project.root} {underway[0]} is in progress: HEAD is not yet what it is going to be. End it "
            f"({underway[1]}), then start again.",
            "git-in-progress",
        )
    tracked, _ = git_client.list_changes(project.root)
    if tracked:
        first = submodule_hint(project.root, tracked)
        raise RefusedError(
            f"Tracked files are modified or staged: {git_client.format_paths(tracked)}. They would end up in the first "
            f"feature's commit.{first} Commit them or `git stash` them, then start again.",
            "changes-in-the-way",
        )


def submodule_hint(root: str, tracked: Sequence[str]) -> str:
    """What comes before a commit of these modified paths when a submodule among them holds something uncommitted: a
    sentence with a blank before it, else empty.
    """
    inside = [path for path in git_client.list_changed_submodules(root) if path in tracked]
    return f" Commit inside the submodule {git_client.format_paths(inside)} first." if inside else ""


def refuse_unfinished_batch(known: Optional[State], caller: Caller, *, replace: bool) -> None:
    """Refused when the batch `known` stands in the way of a new one: another living client has it, or it is unfinished
    and `replace` does not say to put it away.
    """
    if known is not None and batch_state.is_live(known):
        _refuse_if_in_use(known, caller)
        if not replace:
            raise unfinished_batch_error(known)


def find_create_blockers(project: Project, caller: Caller, *, replace: bool = False) -> List[str]:
    """What would refuse a `create` now, a sentence or none, for who asks with `--dry-run`. Nothing is changed."""
    try:
        require_clean_repository(project)
        refuse_unfinished_batch(Store(project).read_if_usable(), caller, replace=replace)
    except RefusedError as error:
        return [f"It could not start now. {error.message}"]
    return []


def _refuse_if_in_use(state: State, caller: Caller) -> None:
    """Refused while another living client has the batch."""
    if processes.classify_owner(state["owner"], caller.session_id, caller.pid) == "other":
        raise authorization.batch_in_use_error(state)


def _refuse_unmerged_run(project: Project, state: State) -> None:
    """Refused while HEAD lacks what `batchctl run` did of the batch: the next feature would be built without it."""
    branch = state["run"]["branch"]
    done = git_client.get_branch_tip(project.root, branch) if project.git_dir else None
    if done and not git_client.has_commit(project.root, done):
        raise RefusedError(
            f"What `batchctl run` did of batch {state['batch_id']} is on the branch {branch}, which HEAD does not "
            f"have. `git merge {branch}` brings it here; or go on where it is: `batchctl run --resume` in a terminal.",
            "run-branch",
        )


def resume(project: Project, caller: Caller, batch_id: Optional[str] = None, *, unattended: bool = False) -> State:
    """The same batch under a new owner; its open feature goes on. Refused for another batch's id, and while another
    client works.
    """
    store = Store(project)
    state = require_batch(project, batch_id)
    if state.get("run"):
        _refuse_unmerged_run(project, state)
    now = timestamps.now()

    def take(current: State) -> State:
        _refuse_if_in_use(current, caller)
        running = transitions.unpause(run_transitions.clear_running(current))
        if unattended and not running["policy"]["unattended"]:
            running = {**running, "policy": {**running["policy"], "unattended": True}}
        owner = caller.new_owner(now)
        return lease.acquire(running, owner, caller.prompt_id) if owner else lease.release(running)

    state = store.update(take)
    if project.git_dir is not None and git_client.is_repository(project.root):
        git_client.exclude_state_file(project.root)
    return state


def require_batch(project: Project, batch_id: Optional[str]) -> State:
    """The batch that is here; Refused when there is none, or when `batch_id` is another's."""
    state = Store(project).read()
    if state is None or (batch_id and state["batch_id"] != batch_id):
        raise _unknown_batch_error(project, state, batch_id)
    return state


def _unknown_batch_error(project: Project, state: Optional[State], batch_id: Optional[str]) -> RefusedError:
    if not batch_id:
        return no_batch_error(project)
    places = find_batch_locations(project, batch_id)
    here = f"The batch in {project.root} is {state['batch_id']}." if state else f"There is no batch in {project.root}."
    if places:
        return RefusedError(
            f"Batch {batch_id} is not the one here; it lies in {', '.join(places)}. {here}", "unknown-batch"
        )
    return RefusedError(
        f"Batch {batch_id} is not known here, nor in this repository's other work trees. {here} See `batchctl status`.",
        "unknown-batch",
    )


def find_batch_locations(project: Project, batch_id: str) -> List[str]:
    """Where a batch of this repository lies: files in the archive, other work trees."""
    if not batch_state.is_valid_batch_id(batch_id):
        raise UsageError(
            f"{batch_id[:100]!r} cannot be a batch id: 1 to 100 of A-Z a-z 0-9 . _ - without `..`.", "unknown-batch"
        )
    found = []
    git_dir = project.git_dir or project.private_parent
    common = (
        os.path.dirname(os.path.dirname(git_dir))
        if os.path.basename(os.path.dirname(git_dir)) == "worktrees"
        else git_dir
    )
    folders = [common]
    trees = os.path.join(common, "worktrees")
    if os.path.isdir(trees):
        folders += [os.path.join(trees, name) for name in sorted(os.listdir(trees))]
    for folder in folders:
        private = os.path.join(folder, "batch-implement")
        kept = os.path.join(private, "archive", f"{batch_id}.json")
        if os.path.exists(kept):
            found.append(kept)
        sealed = sidecar.read_sidecar(private)
        if private == project.private or sealed is None or sealed.new is None:
            continue  # the one that was asked, or nothing is there any more
        try:
            with open(os.path.join(private, "current.json"), encoding="utf-8", errors="replace") as file:
                if f'"batch_id": "{batch_id}"' in file.read(4096):
                    found.append(_describe_worktree(folder, common))
        except OSError:
            continue
    return found


def _describe_worktree(git_dir: str, common: str) -> str:
    try:
        with open(os.path.join(git_dir, "gitdir"), encoding="utf-8") as pointer:
            return f"the work tree {os.path.dirname(pointer.read().strip())}"
    except OSError:
        return f"the work tree {os.path.dirname(common)}" if common.endswith("/.git") else f"the work tree of {common}"


def add(project: Project, found: FeatureSource) -> str:
    """Append what was found to the batch."""
    from ..features import planner

    listing = found.listing
    if listing.defaults:
        raise UsageError(
            f"{found.features_file} has defaults for a whole batch; this one has its policy already. Give what they "
            "say to each feature, or take them out.",
            "skip-retry-add",
        )

    def append(current: State) -> State:
        longer = transitions.add(current, timestamps.now(), **planner.build_additions(current, listing))
        planner.require_verify_command(longer, current["total_features"])
        return longer

    state = Store(project).update(append)
    added = prompts.pluralize(len(listing.features), "feature")
    return f"{added} added to batch {state['batch_id']}: {state['total_features']} in all. {_describe_resume(state)}"


def _describe_resume(state: State) -> str:
    """How what is to be done now comes to be done, in a sentence."""
    if processes.is_owner_alive(state["owner"]):
        who = "`batchctl run`" if state["owner"].get("driven") else "Claude Code"
        return f"{who}, which has the batch, comes to it."
    return status_report.describe_resume(state)


def _format_numbers(indices: Sequence[int]) -> str:
    """Features by their numbers: `feature 1`, `features 2, 3`."""
    numbers = ", ".join(str(index + 1) for index in indices)
    return f"feature{'s' if len(indices) > 1 else ''} {numbers}"


def pause(project: Project, reason: str) -> str:
    """Let the batch wait: its client is not sent on any more, and its hold ends. The open feature stays open."""

    def stop(current: State) -> Tuple[State, Optional[State]]:
        return lease.release(transitions.pause(current, timestamps.now(), reason)), current["pause"]

    state, earlier = Store(project).update_with_result(stop)
    open_feature = f" Feature {state['active']['feature_index'] + 1} stays open." if state["active"] else ""
    already = f" already: {earlier['reason'].rstrip(' .')}" if earlier else ""
    return f"Batch {state['batch_id']} is paused{already}.{open_feature} {status_report.describe_resume(state)}"


def skip(project: Project, index: int, reason: str) -> str:
    """Leave a feature out, and what needs it. What an open one left uncommitted goes into a stash."""
    store = Store(project)
    state = store.require()
    stash = feature_commands.stash_leftovers(project, state) if batch_state.active_index(state) == index else None
    before = batch_state.skipped_indices(state) | {index}
    state = store.update(lambda current: transitions.skip(current, timestamps.now(), index, reason, stash=stash))
    others = sorted(batch_state.skipped_indices(state) - before)
    need = "which needs it" if len(others) == 1 else "which need it"
    too = f", and with it {_format_numbers(others)}, {need}" if others else ""
    kept = f" Its uncommitted work is in the stash `{stash}`." if stash else ""
    return f"Feature {index + 1} is skipped{too}.{kept}"


def retry(project: Project, indices: Sequence[int]) -> str:
    """Bring failed or skipped features back, and what they had blocked; without any named, all that failed."""

    def bring(current: State) -> Tuple[State, List[int]]:
        wanted = list(indices) or sorted(batch_state.failed_indices(current))
        if not wanted:
            raise RefusedError(
                "No feature has failed: there is nothing to retry. A skipped one is named: `batchctl retry N`.",
                "skip-retry-add",
            )
        changed = transitions.retry(current, wanted)
        settled = batch_state.failed_indices(current) | batch_state.skipped_indices(current)
        return changed, sorted(settled - batch_state.failed_indices(changed) - batch_state.skipped_indices(changed))

    state, back = Store(project).update_with_result(bring)
    waits = f" Batch {state['batch_id']} is paused." if state["pause"] else ""
    return f"Pending again: {_format_numbers(back)}.{waits} {_describe_resume(state)}"


def abort(project: Project) -> str:
    """End the batch: it goes into the archive, its open feature's uncommitted work into a stash. Commits stay and are
    listed.
    """
    store = Store(project)
    state = store.require()
    stash = feature_commands.stash_leftovers(project, state)
    commits = ""
    if state["active"] and project.git_dir is not None:
        made = git_client.list_commits_since(project.root, state["active"]["base_commit"])
        commits = f" Commits of its open feature stay: {', '.join(commit[:12] for commit in made)}." if made else ""
    store.archive("aborted")
    kept = f" The uncommitted work of its open feature is in the stash `{stash}`." if stash else ""
    at_work = (
        f" Its client (process {state['owner']['pid']}) was at work: press Esc there."
        if processes.is_owner_alive(state["owner"])
        else ""
    )
    return f"Batch {state['batch_id']} is aborted and lies in {project.private}/archive/.{kept}{commits}{at_work}"
