"""A worker's own copy of a repository, when the batch is on another machine: nothing is shared but the remote.

    tree(job)                               where its work tree is going to be
    here = brought(job)                     the repository is in the cache, the work tree is there
    verdict = settled(here, job, verdict)   what was verified goes to the attempt's branch on the remote

The cache is `$BATCHCTL_CACHE`, else `$XDG_CACHE_HOME/batch-implement`, else `~/.cache/batch-implement`; removing it
while nothing runs costs a fetch, and what is kept of attempts that did not end well. A work tree goes with its attempt
unless there is something in it that is nowhere else; then it is kept until nothing has touched it for a week. Of what
was fetched the branches of the last few batches stay, so that the next fetch is small.

Only commits that were verified are ever pushed under the attempt's name: the client works on a local branch of another
name, so one found there was verified once, on whatever machine. Only that branch is pushed, and only from what it was
when the attempt began. Where the remote does not answer it is Unreachable, with git's own words.
"""

from __future__ import annotations

import glob
import hashlib
import os
import time
from typing import Any, Dict, Mapping, NamedTuple, Optional

from ...base import processes
from ...core import failure_classification
from ...core.errors import BatchError
from ...git import git_client, remotes, worktrees
from ...store import lock
from ..job import COMPLETED, FAILED, INTERRUPTED, LOST, NEEDS_USER, Job, kind_of_failure

FETCH_S = 1800
PUSH_S = 600
MAX_AGE_S = 7 * 24 * 3600
KEPT_BATCHES = 3
LOCAL_PREFIX = "working/"
FETCHED_REFS = "refs/fetched/"


class Superseded(BatchError):
    """Somebody else has pushed the attempt's branch meanwhile."""


class Unreachable(BatchError):
    """The remote does not answer, or refuses."""


class CachedJob(NamedTuple):
    """`job` with everything on this machine, and the commit that its branch had on the remote, None for none."""

    job: Job
    pushed: Optional[str]


def get_cache_folder(environ: Mapping[str, str]) -> str:
    """The folder of all copies."""
    base = environ.get("XDG_CACHE_HOME") or os.path.join(environ.get("HOME") or os.path.expanduser("~"), ".cache")
    return environ.get("BATCHCTL_CACHE") or os.path.join(base, "batch-implement")


def get_worktree(job: Job) -> str:
    """The work tree of a job on this machine: for one that comes from another, in the cache."""
    if not job.remote:
        return job.worktree
    return os.path.join(_get_repository_folder(job), "worktrees", job.batch_id, job.branch.rpartition("/")[2])


def _get_repository_folder(job: Job) -> str:
    name = f"{worktrees.make_slug(job.repository.rstrip('/').rpartition('/')[2])}-{_short_hash(job.repository)}"
    return os.path.join(get_cache_folder(os.environ), name)


def prepare(job: Job) -> CachedJob:
    """The job's repository and work tree on this machine, made or brought up to date. An attempt whose branch was
    pushed begins there, and its `base` is where that branch began.
    """
    top, place = _get_repository_folder(job), get_worktree(job)
    repository = os.path.join(top, "repository.git")
    os.makedirs(top, mode=0o700, exist_ok=True)
    descriptor = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with lock.FileLock(descriptor, top, FETCH_S):
            if not os.path.isdir(repository):
                git_client.run_git(top, "init", "--quiet", "--bare", repository)
            _remove_stale(top, repository, place, time.time() - MAX_AGE_S)
            pushed = _fetch_branches(job, repository)
            here = job._replace(repository=repository, branch=LOCAL_PREFIX + job.branch, worktree=place)
            if pushed:
                if os.path.isdir(place) and not git_client.has_commit(place, pushed):
                    remove_worktree(here)
                base = git_client.run_git(repository, "merge-base", job.base, pushed).stdout.strip()
                here = here._replace(base=base)
            worktrees.add(repository, place, here.branch, pushed or here.base)
    finally:
        os.close(descriptor)
    return CachedJob(here, pushed)


def _fetch_branches(job: Job, repository: str) -> Optional[str]:
    """Fetch the batch's branch, and the attempt's when it was pushed; its commit."""
    wanted = (worktrees.get_batch_branch(job.batch_id), job.branch)
    try:
        found = remotes.list_remote_branches(repository, job.repository, wanted, timeout_s=FETCH_S)
        refspecs = [f"+refs/heads/{name}:{FETCHED_REFS}refs/heads/{name}" for name in wanted if name in found]
        git_client.run_git(repository, "fetch", "--quiet", "--no-tags", job.repository, *refspecs, timeout_s=FETCH_S)
    except BatchError as error:
        raise Unreachable(error.message, "cluster-unreachable") from error
    return found.get(job.branch)


def push_commit(here: CachedJob, job: Job, commit: str) -> None:
    """Push a verified commit to the attempt's branch. Superseded when that is not what it was any more."""
    if commit == here.pushed:
        return
    try:
        remotes.push_branches(
            here.job.repository, job.repository, {job.branch: commit}, "--no-verify",
            f"--force-with-lease=refs/heads/{job.branch}:{here.pushed or ''}", timeout_s=PUSH_S,
        )  # fmt: skip
    except remotes.RemoteError as error:
        if "stale info" in error.output:
            raise Superseded(
                f"Another worker has pushed {job.branch} meanwhile; its commit is used instead.", "cluster-unreachable"
            ) from error
        raise Unreachable(f"{job.branch} could not be pushed: {error.message}", "cluster-unreachable") from error


def finish(here: CachedJob, job: Job, verdict: Dict[str, Any]) -> Dict[str, Any]:
    """The verdict of an attempt after what it verified was pushed; nothing else ever is. The work tree is removed when
    the attempt has ended for good, or has left nothing in it.
    """
    if verdict["kind"] == COMPLETED:
        try:
            push_commit(here, job, verdict["commit"])
        except Superseded as error:
            verdict = {"kind": INTERRUPTED, "message": error.message, "failure_class": LOST}
        except Unreachable as error:
            verdict = get_unreachable_verdict(error)
    if verdict["kind"] in (COMPLETED, FAILED) or not _has_unsaved_work(here):
        remove_worktree(here.job)
    git_client.run_git(here.job.repository, "update-ref", "-d", f"{FETCHED_REFS}refs/heads/{job.branch}", check=False)
    return verdict


def _has_unsaved_work(here: CachedJob) -> bool:
    """Whether the work tree has something that is nowhere else: a change, or a commit of its own. What git cannot tell
    counts as something.
    """
    tree = here.job.worktree
    try:
        if any(git_client.list_changes(tree)) or git_client.operation_in_progress(tree):
            return True
    except BatchError:
        return True
    head = git_client.get_head(tree)
    return not any(git_client.has_commit(tree, head, known) for known in (here.job.base, here.pushed) if known)


def get_unreachable_verdict(error: Unreachable) -> Dict[str, Any]:
    """The verdict of an attempt that could not reach the remote: a person is needed, or it is tried again later."""
    failure_class = failure_classification.classify(error.message)
    if kind_of_failure(failure_class) != NEEDS_USER:
        return {"kind": INTERRUPTED, "message": error.message, "failure_class": "network"}
    return {"kind": NEEDS_USER, "message": error.message, "failure_class": failure_class}


def remove_worktree(job: Job) -> None:
    """Remove the work tree of a job on this machine, and its local branch."""
    _remove_worktree_and_branch(job.repository, job.worktree, job.branch)


def _remove_worktree_and_branch(repository: str, tree: str, branch: str) -> None:
    worktrees.remove(repository, tree)
    git_client.run_git(repository, "branch", "--quiet", "-D", branch, check=False)


def _remove_stale(top: str, repository: str, but: str, before: float) -> None:
    """Remove the work trees other than `but` that nothing has touched since the time `before` and nobody works in, and
    what was fetched for all but the last batches.
    """
    for tree in glob.glob(os.path.join(glob.escape(top), "worktrees", "*", "*")):
        if tree != but and not _is_modified_since(tree, before) and not processes.find_marked(tree):
            batch_id, name = tree.split(os.sep)[-2:]
            _remove_worktree_and_branch(repository, tree, f"{LOCAL_PREFIX}batch/{batch_id}/{name}")
    listed = git_client.run_git(
        repository, "for-each-ref", "--sort=-committerdate", "--format=%(refname)", FETCHED_REFS, check=False
    ).stdout.split()
    merged = [ref.rpartition("/")[0] for ref in listed if ref.endswith("/merged")]
    for ref in listed:
        if ref.rpartition("/")[0] not in merged[:KEPT_BATCHES]:
            git_client.run_git(repository, "update-ref", "-d", ref, check=False)


def _is_modified_since(tree: str, since: float) -> bool:
    """Whether anything in the folder has changed since that time (seconds since 1970)."""
    for place, folders, files in os.walk(tree):
        for name in [os.curdir, *folders, *files]:
            try:
                if os.lstat(os.path.join(place, name)).st_mtime > since:
                    return True
            except OSError:
                continue  # it went away meanwhile
    return False


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:12]
