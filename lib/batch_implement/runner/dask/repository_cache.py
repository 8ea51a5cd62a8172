"""A worker's own clone of the repository, when the batch is on another machine. Only the git remote is shared.

    get_worktree(job)                       path of the job's worktree
    cached = prepare(job)                   fetch, and make the worktree
    verdict = finish(cached, job, verdict)  push a verified commit to the attempt's branch on the remote

The cache is `$BATCHCTL_CACHE`, else `$XDG_CACHE_HOME/batch-implement`, else `~/.cache/batch-implement`. While nothing
runs it can be deleted, with the unfinished work of interrupted attempts. A worktree is removed with its attempt, unless
it has unfinished work; then after a week without changes. What is unique in it is kept in the cache's repository below
`refs/batch/`. Fetched branches of the last batches are kept.

Only verified commits are pushed to the attempt's branch: the client works on a local branch of another name. The push
fails if somebody else has moved the branch since the attempt began.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import time
from typing import Any, Dict, Mapping, NamedTuple, Optional

from ...base import process_identity
from ...commands import verify_command
from ...core import failure_classification
from ...core.errors import BatchError, StateError
from ...git import git_client, remotes, worktrees
from ...store import lock
from ..job import (
    COMPLETED,
    FAILED,
    INTERRUPTED,
    LOST,
    NEEDS_USER,
    Job,
    get_tree_lock,
    get_verify_worktree,
    kind_of_failure,
)

FETCH_S = 1800
PUSH_S = 600
MAX_AGE_S = 7 * 24 * 3600
KEPT_BATCHES = 3
LOCAL_PREFIX = "working/"
FETCHED_REFS = "refs/fetched/"


class Unreachable(BatchError):
    """The remote does not answer or refuses."""


class CachedJob(NamedTuple):
    """A job with paths on this machine, and the commit of its branch on the remote or None."""

    job: Job
    pushed: Optional[str]


def get_cache_folder(environ: Mapping[str, str]) -> str:
    """Return the folder of all clones."""
    base = environ.get("XDG_CACHE_HOME") or os.path.join(environ.get("HOME") or os.path.expanduser("~"), ".cache")
    return environ.get("BATCHCTL_CACHE") or os.path.join(base, "batch-implement")


def get_worktree(job: Job) -> str:
    """Return the worktree of a job on this machine: in the cache if the job is from another machine."""
    if not job.remote:
        return job.worktree
    return os.path.join(_get_repository_folder(job), "worktrees", job.batch_id, job.branch.rpartition("/")[2])


def _get_repository_folder(job: Job) -> str:
    digest = hashlib.sha256(job.repository.encode("utf-8", "surrogateescape")).hexdigest()[:12]
    name = f"{worktrees.make_slug(job.repository.rstrip('/').rpartition('/')[2])}-{digest}"
    return os.path.join(get_cache_folder(os.environ), name)


def prepare(job: Job) -> CachedJob:
    """Make or update the job's repository and worktree on this machine.

    An attempt whose branch is on the remote continues there; its `base` is then the merge base with that branch.
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
                    _remove_worktree(repository, place, here.branch)
                base = git_client.run_git(repository, "merge-base", job.base, pushed).stdout.strip()
                here = here._replace(base=base)
            worktrees.add(repository, place, here.branch, pushed or here.base)
    finally:
        os.close(descriptor)
    return CachedJob(here, pushed)


def _fetch_branches(job: Job, repository: str) -> Optional[str]:
    """Fetch the branches of the batch, of an attempt whose work is needed and, if it was pushed, of this attempt.

    Return the commit of this attempt's branch, or None.
    """
    sent_back = [entry["branch"] for entry in job.earlier[-1:] if entry.get("work")]
    wanted = (worktrees.get_batch_branch(job.batch_id), job.branch, *sent_back)
    try:
        existing = remotes.list_remote_branches(repository, job.repository, wanted, timeout_s=FETCH_S)
        refspecs = [f"+refs/heads/{name}:{FETCHED_REFS}refs/heads/{name}" for name in wanted if name in existing]
        git_client.run_git(repository, "fetch", "--quiet", "--no-tags", job.repository, *refspecs, timeout_s=FETCH_S)
    except BatchError as error:
        raise Unreachable(error.message, "cluster-unreachable") from error
    return existing.get(job.branch)


def finish(here: CachedJob, job: Job, verdict: Dict[str, Any]) -> Dict[str, Any]:
    """Push the commit of a completed attempt, and return the verdict after that.

    Remove the worktree, unless the attempt was interrupted and the worktree has unsaved work.
    """
    if verdict["kind"] == COMPLETED and verdict["commit"] != here.pushed:
        try:
            remotes.push_branches(
                here.job.repository, job.repository, {job.branch: verdict["commit"]}, "--no-verify",
                f"--force-with-lease=refs/heads/{job.branch}:{here.pushed or ''}", timeout_s=PUSH_S,
            )  # fmt: skip
        except StateError as error:  # also when the remote does not answer in time
            verdict = get_unreachable_verdict(f"{job.branch} could not be pushed: {error.message}")
            if isinstance(error, remotes.RemoteError) and "stale info" in error.output:
                message = f"Another worker has pushed {job.branch} meanwhile; its commit is used instead."
                verdict = {"kind": INTERRUPTED, "message": message, "failure_class": LOST}
    fetched = f"{FETCHED_REFS}refs/heads/{job.branch}"
    with contextlib.suppress(BatchError):  # a later attempt removes what is left
        if verdict["kind"] in (COMPLETED, FAILED) or not _has_unsaved_work(here):
            _remove_worktree(here.job.repository, here.job.worktree, here.job.branch)
        _remove_verify_worktree(here.job)
        git_client.run_git(here.job.repository, "update-ref", "-d", fetched, check=False)
    return verdict


def _remove_verify_worktree(job: Job) -> None:
    """Remove the worktree that the attempt was verified in, unless another attempt of that slot uses it."""
    try:
        lock = verify_command.open_locked(get_tree_lock(job))
    except BlockingIOError:
        return
    try:
        worktrees.remove_generated(job.repository, get_verify_worktree(job))
    finally:
        os.close(lock)


def _has_unsaved_work(here: CachedJob) -> bool:
    """Return whether the worktree has changes or commits that are nowhere else, also if git cannot tell."""
    tree = here.job.worktree
    try:
        if any(git_client.list_changes(tree)) or git_client.operation_in_progress(tree):
            return True
    except BatchError:
        return True
    head = git_client.get_head(tree)
    return not any(git_client.has_commit(tree, head, known) for known in (here.job.base, here.pushed) if known)


def get_unreachable_verdict(message: str) -> Dict[str, Any]:
    """Return the verdict of an attempt that could not reach the remote: a user is needed, or it is retried later."""
    failure_class = failure_classification.classify(message)
    if kind_of_failure(failure_class) != NEEDS_USER:
        return {"kind": INTERRUPTED, "message": message, "failure_class": "network"}
    return {"kind": NEEDS_USER, "message": message, "failure_class": failure_class}


def _remove_worktree(repository: str, tree: str, branch: str) -> None:
    """Remove a worktree and its local branch, after what is unique in them was kept as a snapshot."""
    worktrees.remove(repository, tree)
    worktrees.delete_branch(repository, branch)


def _remove_stale(top: str, repository: str, but: str, before: float) -> None:
    """Remove unused worktrees that were not modified since the time `before`, but for `but`, and old refs."""
    for tree in glob.glob(os.path.join(glob.escape(top), "worktrees", "*", "*")):
        if tree != but and not _is_modified_since(tree, before) and not process_identity.find_marked(tree):
            batch_id, name = tree.split(os.sep)[-2:]
            with contextlib.suppress(BatchError):  # what cannot be kept stays
                _remove_worktree(repository, tree, f"{LOCAL_PREFIX}batch/{batch_id}/{name}")
    listed = git_client.run_git(
        repository, "for-each-ref", "--sort=-committerdate", "--format=%(refname)", FETCHED_REFS, check=False
    ).stdout.split()
    merged = [ref.rpartition("/")[0] for ref in listed if ref.endswith("/merged")]
    for ref in listed:
        if ref.rpartition("/")[0] not in merged[:KEPT_BATCHES]:
            git_client.run_git(repository, "update-ref", "-d", ref, check=False)


def _is_modified_since(tree: str, since: float) -> bool:
    """Return whether anything in the folder was modified since that time (seconds since 1970)."""
    for place, folders, files in os.walk(tree):
        for name in [os.curdir, *folders, *files]:
            try:
                if os.lstat(os.path.join(place, name)).st_mtime > since:
                    return True
            except OSError:
                continue  # deleted meanwhile
    return False
