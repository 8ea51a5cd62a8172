"""What proves a feature done: commits of its own since its start, of which one at least changes something, nothing left
uncommitted, and the verify command passing on just that commit.

`take` asks git, runs the verify command, and answers with the state's `evidence` of the feature, or with the reason
why it is not done: Refused (the message says what to do), or StillRunning.

The verify command is a person's, from the batch's policy. It runs detached from the caller, in a session of its own,
because the client ends what outlasts its tool call: so a call that gives up waiting leaves it running, and the next
call for the same commit joins it. Its folder is logs/verify/BATCH/INDEX-ATTEMPT-COMMIT with `output`, `result` (exit
status and seconds, when it has ended), `lock`, which the runner holds while it lives, and `left`: the untracked paths
that came while it ran, which nobody is asked to commit.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time

from ..core import policies
from ..core.errors import EXIT_STILL_RUNNING, BatchError, RefusedError, StateError
from ..git import commit_attribution, git_client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, NoReturn, Optional, Set

    from ..base.project_paths import Project
    from ..core.batch_state import State
    from ..git.commit_attribution import Work

WAIT_S = 90.0
TAIL_BYTES = 3000
TERMINATE_GRACE_S = 5.0
TIMED_OUT = 124  # as timeout(1) says it


class StillRunning(BatchError):
    """The verify command has not ended yet; a later call joins it."""

    exit_code = EXIT_STILL_RUNNING


def collect(project: Project, state: State, *, no_change: Optional[str] = None, wait_s: float = WAIT_S) -> State:
    """The evidence that the open feature is done, as the state keeps it.

    `no_change` is why the feature needs no commit; then the tree must be what it was, or only others have changed it.
    Waits up to `wait_s` seconds for the verify command. Changes nothing but the files of the verify run.
    """
    active = state["active"]
    policy = policies.feature_policy(state, active["feature_index"])
    root = project.root
    asked = policy["evidence"]
    sha: Optional[str] = None
    taken: State = {"verify": None, "review": state["evidence"].get(str(active["feature_index"]), {}).get("review")}
    if project.git_dir is not None:
        _refuse_git_operation(root)
        sha = git_client.head(root)
        if not _is_verify_running(_verify_folder(project, state, sha)):  # what it has left so far is its own
            _refuse_uncommitted(project, state)
        taken.update(_collect_commits(project, active, sha, no_change=no_change, needed="commit" in asked))
    if no_change is not None:
        taken["no_change"] = no_change
    if policy["verify"]:
        taken["verify"] = _wait_for_verify(project, state, sha, wait_s)
        if project.git_dir is not None and git_client.head(root) != sha:
            raise RefusedError(
                "HEAD moved while the verify command ran. Run `batchctl done` again: it verifies the commit that is "
                "there now.",
                "verify-running",
            )
        changed = git_client.changes(root)[0] if project.git_dir is not None else []
        if changed:
            _forget_result(os.path.dirname(taken["verify"]["log"]))
            raise RefusedError(
                f"While the verify command ran, tracked files were changed: {git_client.listed(changed)}. It must "
                "pass on what is committed: commit that if it belongs to the feature, else `git checkout` it, then "
                "`batchctl done` again.",
                "not-committed",
            )
        if project.git_dir is not None:
            _refuse_uncommitted(project, state)
    if "review" in asked and not taken["review"]:
        raise RefusedError(
            "This batch asks for a review of each feature. Let the agent `batch-implement:reviewer` look at the diff "
            f"since {str(active['base_commit'])[:12]}, mend what it finds, commit, then `batchctl done`.",
            "review-missing",
        )
    return taken


def list_expected_untracked(project: Project, state: State) -> List[str]:
    """Untracked paths that are nobody's leftovers: those from before the batch, and what its verify commands left."""
    found = set(state["untracked_at_start"])
    runs = os.path.join(project.private, "logs", "verify", state["batch_id"])
    for name in os.listdir(runs) if os.path.isdir(runs) else ():
        try:
            with open(os.path.join(runs, name, "left"), encoding="utf-8", errors="surrogateescape") as file:
                found.update(path for path in file.read().split("\0") if path)
        except OSError:
            continue
    return sorted(found)


def _collect_commits(
    project: Project, active: State, sha: Optional[str], *, no_change: Optional[str], needed: bool
) -> State:
    """What the history says of the feature that began at `base_commit`, as the evidence keeps it; Refused when it does
    not bear out that it is done (`needed`: with a commit of its own).
    """
    root, base = project.root, active["base_commit"]
    work = commit_attribution.work_since(root, base)
    branch = git_client.branch(root)
    if no_change is not None:
        if (work.brings or work.lost) and git_client.tree(root, sha) != git_client.tree(root, base):
            raise RefusedError(
                "The tree differs from what it was when the feature began, so `--no-change` does not hold. Run "
                "`batchctl done` without it.",
                "nothing-to-commit",
            )
    elif needed:
        _refuse_missing_commits(work, active, branch)
        _refuse_without_commit(root, work, active)
    found: State = {"commit": sha, "commits": [commit.sha for commit in work.commits], "branch": branch}
    if branch != active.get("branch", branch):
        found["branch_before"] = active["branch"]
    if work.rewritten:
        found["rewritten"] = work.rewritten
    if work.foreign:
        found["foreign"] = [commit.sha for commit in work.foreign]
    return found


def _refuse_git_operation(root: str) -> None:
    found = git_client.operation_in_progress(root)
    if found:
        name, end = found
        raise RefusedError(
            f"In {root} {name} is in progress: HEAD is not yet what it is going to be. End it ({end}), see that the "
            "feature's work is committed, then `batchctl done` again.",
            "git-in-progress",
        )


def _refuse_uncommitted(project: Project, state: State) -> None:
    left = git_client.uncommitted_paths(project.root, list_expected_untracked(project, state))
    if not left:
        return
    inside = [path for path in git_client.changed_inside(project.root) if path in left]
    first = f" Inside the submodule {git_client.listed(inside)}: commit there first, then here." if inside else ""
    raise RefusedError(
        f"Not committed yet: {git_client.listed(left)}.{first} What is verified must be what is committed: commit what "
        "belongs to the feature, remove what does not (or list it in .gitignore), then `batchctl done` again.",
        "not-committed",
    )


def _refuse_missing_commits(work: Work, active: State, branch: Optional[str]) -> None:
    """Refused when HEAD lacks commits that were there when the feature began."""
    if not work.lost:
        return
    base = str(active["base_commit"])[:12]
    before = active.get("branch", branch)
    if before != branch:
        now = _describe_branch(branch)
        what = f"The feature began {_describe_branch(before)}, HEAD is {now}, which does not have its base {base}."
    else:
        what = f"HEAD no longer has the commit that the feature began at, {base}."
    if work.commits or work.foreign or work.rewritten:
        way = f"`git rebase {base}` puts what is new on top of them"
    else:
        way = f"`git merge --ff-only {base}` brings them back"
    if before and before != branch:
        way = f"go back (`git checkout {before}`) and take the work along (`git cherry-pick`), or stay here: {way}"
    raise RefusedError(
        f"{what} Missing are {commit_attribution.told(work.lost)}, which may be the work of earlier features. "
        f"To mend it: {way}. Then `batchctl done` again.",
        "commits-missing",
    )


def _refuse_without_commit(root: str, work: Work, active: State) -> None:
    """Refused without work of the feature's own: say what there is instead."""
    if work.brings:
        return
    base = active["base_commit"]
    new = []
    if work.foreign:
        new.append(f"others made {commit_attribution.told(work.foreign)}")
    if work.commits:
        new.append(f"commits that bring nothing of their own are {commit_attribution.told(work.commits)}")
    again = [f"{entry['new'][:12]} (was {entry['old'][:12]})" for entry in work.rewritten if entry["new"]]
    if again:
        new.append(f"commits from before, only rewritten, are {', '.join(again[-commit_attribution.SHOWN :])}")
    if new:
        what = f"There is no commit of the feature's own since it began (base {str(base)[:12]}): {'; '.join(new)}."
    else:
        what = f"There is no commit since the feature began (base {str(base)[:12]})."
    gone = commit_attribution.let_go(root, base, active["started_at"])
    if gone:
        back = f"`git merge {gone[-1].sha[:12]}` brings it back"
        what += f" HEAD was moved away from {commit_attribution.told(gone)}; if that is the feature's work, {back}."
    if work.foreign:
        what += (
            " If the last one is the feature's work, committed under another name, `git commit --amend --no-edit` "
            "makes it yours."
        )
    raise RefusedError(
        f"{what} Commit the work, then `batchctl done` again. If the feature needs no change at all: `batchctl done "
        "--no-change REASON`.",
        "nothing-to-commit",
    )


def _describe_branch(branch: Optional[str]) -> str:
    return f"on `{branch}`" if branch else "detached"


# -- the verify command -----------------------------------------------------------------------------------------------


def _verify_folder(project: Project, state: State, sha: Optional[str]) -> str:
    active = state["active"]
    name = f"{active['feature_index']}-{active['attempt']}-{(sha or 'no-commit')[:16]}"
    return os.path.join(project.private, "logs", "verify", state["batch_id"], name)


def _wait_for_verify(project: Project, state: State, sha: Optional[str], wait_s: float) -> State:
    policy = policies.feature_policy(state, state["active"]["feature_index"])
    folder = _verify_folder(project, state, sha)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    deadline = time.monotonic() + wait_s
    started = False
    while True:
        result = _read_result(folder)
        if result is not None:
            break
        if _start_if_idle(folder, project.root, policy["verify"], policy["verify_timeout_s"]):
            if started:
                raise StateError(
                    f"The verify command ended without a result: something from outside ended it, or its log says why "
                    f"({folder}/output). Run `batchctl done` again.",
                    "verify-running",
                )
            started = True
        left = deadline - time.monotonic()
        if left <= 0:
            raise StillRunning(
                f"The verify command still runs on {(sha or '')[:12]} (`{policy['verify'][:80]}`). Change nothing; run "
                "`batchctl done` again: it waits for the same run.",
                "verify-running",
            )
        time.sleep(min(left, 0.1))
    exit_code, seconds = result
    log = os.path.join(folder, "output")
    if exit_code != 0:
        _forget_result(folder)
        _refuse_failed_verify(policy, log, exit_code, seconds)
    return {"command": policy["verify"], "exit_code": exit_code, "seconds": seconds, "log": log}


def _refuse_failed_verify(policy: State, log: str, exit_code: int, seconds: float) -> NoReturn:
    if exit_code == TIMED_OUT and seconds >= policy["verify_timeout_s"]:
        what = f"did not end within {policy['verify_timeout_s']} s and was stopped"
    else:
        what = f"failed with exit status {exit_code}"
    raise RefusedError(
        f"The verify command `{policy['verify'][:200]}` {what}. Mend the cause, commit, then `batchctl done` again; if "
        "you cannot: `batchctl fail --reason TEXT`. The end of its output (data; all of it is in "
        f"{log}):\n{quote_log_end(log) or '(it printed nothing)'}",
        "verify-failed",
    )


def _is_verify_running(folder: str) -> bool:
    """Whether a run in this folder has not ended yet."""
    try:
        lock = os.open(os.path.join(folder, "lock"), os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(lock)


def _start_if_idle(folder: str, root: str, command: str, timeout_s: int) -> bool:
    """Start a run unless one is alive. Whether one was started."""
    lock = os.open(os.path.join(folder, "lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        if _read_result(folder) is not None:
            return False
        child = os.fork()
        if child == 0:
            _detach_and_run(folder, root, command, timeout_s, lock)
        os.waitpid(child, 0)
        return True
    finally:
        os.close(lock)


def _detach_and_run(folder: str, root: str, command: str, timeout_s: int, lock: int) -> NoReturn:
    """In a forked child: leave the caller's session and files but for the lock, so that nothing that ends it ends the
    run and nobody waits for it by a pipe; then wait for the command.
    """
    try:
        os.setsid()
        if os.fork():
            os._exit(0)
        os.closerange(3, lock)
        os.closerange(lock + 1, 1024)
        output = os.open(os.path.join(folder, "output"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for target, source in ((0, nothing), (1, output), (2, output)):
            os.dup2(source, target)
        began = time.monotonic()
        before = _list_untracked(root)
        exit_code = _run_verify_command(command, root, timeout_s)
        _record_new_untracked(folder, _list_untracked(root) - before)
        _write_result(folder, exit_code, time.monotonic() - began)
        os._exit(0)
    except BaseException as error:
        os.write(2, f"\nbatch-implement: the verify command could not be run: {error}\n".encode())
        os._exit(1)


def verify_environment() -> Dict[str, str]:
    """What the verify command is given: ours, without what tells of a client or of a batch."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("CLAUDE", "BATCH_IMPLEMENT_"))}


def _run_verify_command(command: str, root: str, timeout_s: int) -> int:
    """Run a shell command in the root; its exit status, `TIMED_OUT` when its whole process group had to be ended."""
    process = subprocess.Popen(["/bin/sh", "-c", command], cwd=root, env=verify_environment(), start_new_session=True)
    try:
        code = process.wait(timeout_s)
        return code if code >= 0 else 128 - code
    except subprocess.TimeoutExpired:
        for end in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, end)
            except ProcessLookupError:
                break
            time.sleep(0 if end is signal.SIGKILL else min(TERMINATE_GRACE_S, timeout_s))
        process.wait()
        return TIMED_OUT


def _list_untracked(root: str) -> Set[str]:
    try:
        return set(git_client.changes(root)[1])
    except StateError:
        return set()


def _record_new_untracked(folder: str, left: Set[str]) -> None:
    """Keep which untracked paths came while the command ran; those of earlier runs stay on the list."""
    if left:
        with open(os.path.join(folder, "left"), "a", encoding="utf-8", errors="surrogateescape") as file:
            file.write("".join(f"{path}\0" for path in sorted(left)))


def _write_result(folder: str, exit_code: int, seconds: float) -> None:
    temp = os.path.join(folder, "result.tmp")
    with open(temp, "w", encoding="ascii") as file:
        file.write(f"{exit_code} {seconds:.3f}\n")
    os.replace(temp, os.path.join(folder, "result"))


def _read_result(folder: str) -> Optional[tuple[int, float]]:
    try:
        with open(os.path.join(folder, "result"), encoding="ascii") as file:
            exit_code, seconds = file.read().split()
        return int(exit_code), float(seconds)
    except (OSError, ValueError):
        return None


def _forget_result(folder: str) -> None:
    """A failed run was told: the next call runs the command again. Its output stays until then."""
    try:
        os.replace(os.path.join(folder, "result"), os.path.join(folder, "result.told"))
    except FileNotFoundError:
        pass  # another call was told as well


def quote_log_end(log: str) -> str:
    """The last lines of a log as quoted data; what is wrong instead, in brackets, when it cannot be read."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, os.path.getsize(log) - TAIL_BYTES))
            text = file.read(TAIL_BYTES).decode("utf-8", "replace")
    except OSError as error:
        return f"(cannot be read: {error.strerror})"
    return "\n".join("> " + "".join(char if char.isprintable() else " " for char in line) for line in text.splitlines())
