"""Collect the evidence that a feature is done: commits of its own, nothing uncommitted, a verify command that passes.

`collect` asks git, runs the verify command (see `verify_command`) and returns the state's `evidence` of the feature.
RefusedError says what is missing and what to do, StillRunning and ReviewRunning what has not ended.
"""

from __future__ import annotations

import os
import time

from ..core import batch_policy, review_verdicts
from ..core.errors import RefusedError
from ..git import commit_attribution, git_client, own_commits, worktrees
from ..store.store import Store
from . import evidence_checks, reviews, verify_command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, NoReturn, Optional, Sequence, Set

    from ..base.project_paths import Project
    from ..core.batch_state import State
    from ..git.commit_attribution import Attribution

WAIT_S = 90.0


def collect(
    project: Project,
    state: State,
    *,
    no_change: Optional[str] = None,
    without: Sequence[str] = (),
    wait_s: float = WAIT_S,
) -> State:
    """Return the evidence that the active feature is done, as the state keeps it.

    `no_change` is why the feature needs no commit: then the tree must be what it was, or only others changed it.
    `without` names ignored files that need no commit. Waits up to `wait_s` seconds for the verify
    command and a review that runs. Writes only the files of the verify run.
    """
    active = state["active"]
    policy = batch_policy.feature_policy(state, active["feature_index"])
    has_git = project.git_dir is not None
    head: Optional[str] = None
    evidence: State = {"verify": None, "review": None}
    deadline = time.monotonic() + wait_s
    needs_review = "review" in policy["evidence"] and no_change is None
    change = reviews.NO_CHANGE
    if has_git:
        refuse_git_operation(project.root, "check that the feature's work is committed, then `batchctl done` again")
        head = git_client.get_head(project.root)
        # What a verify run has left so far is on no list before it has ended.
        if not verify_command.is_running(verify_command.run_folder(project, state, head)):
            _refuse_uncommitted(project, state)
        evidence_checks.refuse_other_branch(project.root, state)
        needs_commit = "commit" in policy["evidence"]
        work = attribute_work(project, state)
        evidence.update(_collect_commits(project, state, head, work, no_change=no_change, needs_commit=needs_commit))
        ignored = evidence_checks.refuse_ignored_work(project, state, without)
        if ignored.work:
            evidence["without"] = ignored.work
        if ignored.others:
            evidence["ignored"] = ignored.others  # for a message: the state does not keep them
        if needs_review or active.get("reviews"):
            change = reviews.identify_change(project.root, work.commits)
    if no_change is not None:
        evidence["no_change"] = no_change
    if needs_review:
        reviews.check_reviews_left(active, change)
    if policy["verify"]:
        evidence["verify"] = _collect_verify(project, state, policy, head, wait_s)
        if has_git:
            _refuse_changed_tree(project, state, head, os.path.dirname(evidence["verify"]["log"]))
    if needs_review:
        remaining_s = max(0.0, deadline - time.monotonic())
        active = reviews.wait_for_review(Store(project, trusted=False), state, change, remaining_s)
        reviews.require_good_review(active, change)
    if no_change is None:
        review = review_verdicts.find_review(active, change)
        evidence["review"] = review["text"] if review else None
    return evidence


def list_expected_untracked(project: Project, state: State) -> List[str]:
    """Return the untracked paths that need no commit: those from before the batch, and those of its verify runs."""
    created = verify_command.list_created_paths(verify_command.runs_folder(project, state))
    return sorted(created.union(state["untracked_at_start"]))


def attribute_work(project: Project, state: State) -> Attribution:
    """Return the commits since `base_commit` by whose they are."""
    root, base = project.root, state["active"]["base_commit"]
    return commit_attribution.attribute_commits(root, base, lambda commits: _list_own_commits(root, state, commits))


def _collect_commits(
    project: Project,
    state: State,
    head: Optional[str],
    work: Attribution,
    *,
    no_change: Optional[str],
    needs_commit: bool,
) -> State:
    """Return the commits since `base_commit`, which are `work`, as the evidence keeps them.

    Raises RefusedError when commits hold files of the user's, when `no_change` does not hold, when commits are missing,
    or when a needed one is.
    """
    root, active = project.root, state["active"]
    base = active["base_commit"]
    branch = git_client.get_branch(root)
    evidence_checks.refuse_untracked_at_start(root, state, work)
    evidence_checks.refuse_unlisted_repositories(root, base, head)
    if head:
        evidence_checks.refuse_conflict_markers(root, base, head)
    if not work.lost:
        evidence_checks.refuse_amended_features(root, state, work)
    if no_change is not None:
        if (work.has_changes or work.lost) and git_client.get_tree(root, head) != git_client.get_tree(root, base):
            raise RefusedError(
                "`--no-change` does not hold: the tree differs from what it was when the feature began. Run `batchctl "
                "done` without it.",
                "nothing-to-commit",
            )
    elif needs_commit:
        _refuse_missing_commits(work, active, branch)
        _refuse_without_commit(root, work, active)
    evidence: State = {"commit": head, "commits": [commit.sha for commit in work.commits], "branch": branch}
    if branch != active.get("branch", branch):
        evidence["branch_before"] = active["branch"]
    if work.rewritten:
        evidence["rewritten"] = work.rewritten
    if work.foreign:
        evidence["foreign"] = [commit.sha for commit in work.foreign]
    return evidence


def _list_own_commits(root: str, state: State, commits: Sequence[str]) -> Set[str]:
    """Return which of these commits since `base_commit` this attempt made."""
    active, run = state["active"], state.get("attempt_of")
    base, since = active["base_commit"], active["started_at"]
    if run:
        return own_commits.list_of_attempt(root, commits, base, since, worktrees.get_batch_branch(run["batch_id"]))
    return own_commits.list_made_here(root, commits, base, since)


def _collect_verify(project: Project, state: State, policy: State, head: Optional[str], wait_s: float) -> State:
    """Return the result of the verify command on `head`. Raises RefusedError when it failed, after it is forgotten."""
    exit_code, seconds = verify_command.wait_for_result(project, state, policy, head, wait_s)
    folder = verify_command.run_folder(project, state, head)
    log = os.path.join(folder, "output")
    if exit_code != 0:
        verify_command.forget_result(folder)
        _refuse_failed_verify(policy, log, exit_code, seconds)
    return {"command": policy["verify"], "exit_code": exit_code, "seconds": seconds, "log": log}


def _refuse_changed_tree(project: Project, state: State, head: Optional[str], run_folder: str) -> None:
    """Raise RefusedError when HEAD moved, or files were changed, while the verify command ran."""
    if git_client.get_head(project.root) != head:
        raise RefusedError(
            "HEAD moved while the verify command ran. Run `batchctl done` again: it verifies the commit that is there "
            "now.",
            "verify-running",
        )
    changed = git_client.list_changes(project.root)[0]
    if changed:
        verify_command.forget_result(run_folder)
        others = "put it aside (`git stash push -- FILE`: a user may have edited it)"
        if state.get("attempt_of"):  # nobody else works there, and `git stash` is denied
            others = "undo it (`git checkout -- FILE`)"
        raise RefusedError(
            f"While the verify command ran, tracked files were changed: {git_client.format_paths(changed)}. It must "
            "pass on what is committed: commit that if it belongs to the feature, else "
            f"{others}, then `batchctl done` again.",
            "not-committed",
        )
    _refuse_uncommitted(project, state)


def _refuse_failed_verify(policy: State, log: str, exit_code: int, seconds: float) -> NoReturn:
    if exit_code == verify_command.TIMED_OUT and seconds >= policy["verify_timeout_s"]:
        outcome = f"did not end within {policy['verify_timeout_s']} s and was stopped"
    else:
        outcome = f"failed with exit status {exit_code}"
    raise RefusedError(
        f"The verify command `{policy['verify'][:200]}` {outcome}.{_describe_dropped(log)} Fix the cause, commit, then "
        "`batchctl done` again; if you cannot: `batchctl fail --reason TEXT`. The end of its output (data; all of it "
        "is in "
        f"{log}):\n{verify_command.quote_log_end(log) or '(it printed nothing)'}",
        "verify-failed",
    )


def _describe_dropped(log: str) -> str:
    """Return what the verify command with this log did not get of the caller's environment, as a sentence."""
    dropped = verify_command.list_dropped(os.path.dirname(log))
    if not dropped:
        return ""
    return (
        f" It ran with the environment in which the batch was created, without the {git_client.format_paths(dropped)} "
        "of now (a variable that it needs belongs into the command; a user's `batchctl resume` takes those of now)."
    )


def refuse_git_operation(root: str, next_step: str) -> None:
    """Raise RefusedError while a rebase, merge or the like is in progress."""
    operation = git_client.operation_in_progress(root)
    if operation:
        name, end = operation
        raise RefusedError(
            f"In {root} {name} is in progress, so HEAD is not final. End it ({end}), {next_step}.", "git-in-progress"
        )


def submodule_hint(root: str, paths: Sequence[str]) -> str:
    """Return what to commit first when submodules among these paths have uncommitted files; else an empty text."""
    inside = [path for path in git_client.list_changed_submodules(root) if path in paths]
    return f" Commit inside the submodule {git_client.format_paths(inside)} first." if inside else ""


def _refuse_uncommitted(project: Project, state: State) -> None:
    uncommitted = git_client.list_uncommitted_paths(project.root, list_expected_untracked(project, state))
    if not uncommitted:
        return
    others = (
        "leave a user's files where they are: list them in .git/info/exclude, or `git stash push -- FILE` changes of "
        "theirs"
    )
    if state.get("attempt_of"):  # nobody else works there
        others = "undo the rest"
    raise RefusedError(
        f"Not committed yet: {git_client.format_paths(uncommitted)}.{submodule_hint(project.root, uncommitted)} "
        "What is verified must be what is committed: commit what belongs to the feature, list what a program generates "
        f"in .gitignore, and {others}. Then `batchctl done` again.",
        "not-committed",
    )


def _refuse_missing_commits(work: Attribution, active: State, branch: Optional[str]) -> None:
    """Raise RefusedError when HEAD lacks commits that were there when the feature began."""
    if not work.lost:
        return
    base = str(active["base_commit"])[:12]
    branch_before = active.get("branch", branch)
    if branch_before != branch:
        before, now = describe_branch(branch_before), describe_branch(branch)
        problem = f"The feature began {before}, HEAD is {now}, which does not have its base {base}."
    else:
        problem = f"HEAD no longer has the commit that the feature began at, {base}."
    if work.commits or work.foreign or work.rewritten:
        fix = f"`git rebase {base}` puts what is new on top of them"
    else:
        fix = f"`git merge --ff-only {base}` brings them back"
    if branch_before and branch_before != branch:
        fix = (
            f"go back (`git checkout {branch_before}`) and take the work along (`git cherry-pick`), or stay here: {fix}"
        )
    raise RefusedError(
        f"{problem} Missing are {commit_attribution.format_commits(work.lost)}, which may be the work of earlier "
        f"features. To fix this: {fix}. Then `batchctl done` again.",
        "commits-missing",
    )


def _refuse_without_commit(root: str, work: Attribution, active: State) -> None:
    """Raise RefusedError when there is no commit of the feature's own. The message says what there is instead."""
    if work.has_changes:
        return
    base = active["base_commit"]
    base_name = str(base)[:12]
    others = []
    if work.foreign:
        others.append(f"from elsewhere are {commit_attribution.format_commits(work.foreign)}")
    if work.commits:
        others.append(f"commits that change nothing in sum are {commit_attribution.format_commits(work.commits)}")
    rewritten = [f"{entry['new'][:12]} (was {entry['old'][:12]})" for entry in work.rewritten if entry["new"]]
    if rewritten:
        others.append(
            f"commits from before, only rewritten, are {', '.join(rewritten[-commit_attribution.MAX_SHOWN :])}"
        )
    if others:
        problem = (
            f"There is no commit of the feature's own since it began (base {str(base)[:12]}): {'; '.join(others)}."
        )
    else:
        problem = f"There is no commit since the feature began (base {base_name})."
    abandoned = commit_attribution.list_abandoned_commits(root, base, active["started_at"])
    if abandoned:
        problem += (
            f" HEAD was moved away from {commit_attribution.format_commits(abandoned)}; if that is the feature's "
            f"work, `git merge {abandoned[-1].sha[:12]}` brings it back."
        )
    if work.foreign:
        problem += (
            " If the last one is the feature's work, made elsewhere or before, `git commit --amend --no-edit` makes it "
            "the feature's."
        )
    raise RefusedError(
        f"{problem} Commit the work, then `batchctl done` again. If the feature needs no change at all: `batchctl done "
        "--no-change REASON`.",
        "nothing-to-commit",
    )


def describe_branch(branch: Optional[str]) -> str:
    """Return where HEAD is, for a message."""
    return f"on `{branch}`" if branch else "detached"
