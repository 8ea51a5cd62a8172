"""Run the verify command of an attempt in a worktree that is not the worker's, for `batchctl done`, which only asks.

    with Verifier(project, state, job, stopped) as verifier:
        ...                     the worker works; its `batchctl done` writes a request and waits for the result
    verifier.raise_error()

A thread of the attempt's process answers (see `commands.verify_command` for the files). It prepares the worktree of the
slot from the commit (see `git.verify_tree`) and runs the command there with the environment that this process was
started with: neither files nor variables of the worker take part. What keeps it from that is not the feature's fault:
it ends the attempt. A setup command that fails because of what the feature changed is.
"""

from __future__ import annotations

import math
import os
import threading
import time
from typing import Any, Dict, Optional

from ..base import subprocesses
from ..base.project_paths import Project
from ..commands import verify_command
from ..core.errors import BatchError
from ..git import git_client, tree_setup, verify_tree, worktrees
from .job import Job, get_tree_lock, get_verify_worktree

POLL_S = 0.05
LOCK_S = 10.0


class Verifier:
    """Answers the requests of one attempt while its `with` block runs. `error` is what kept it from that, or None.

    `stopped` is set with the error: nothing that the worker still does could be verified.
    """

    def __init__(self, project: Project, state: Dict[str, Any], job: Job, stopped: threading.Event) -> None:
        self.job, self.attempt_stopped = job, stopped
        self.folder = verify_command.runs_folder(project, state)
        self.error: Optional[Exception] = None
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self._answer_requests, name="verify", daemon=True)
        self.descriptor = -1

    def __enter__(self) -> Verifier:
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        self.descriptor = wait_for_lock(os.path.join(self.folder, "runner"), self.is_over, timeout_s=LOCK_S)
        for name in os.listdir(self.folder):  # of a process that died
            _remove_file(os.path.join(self.folder, name, "error"))
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.is_over.set()
        self.thread.join()
        os.close(self.descriptor)

    def raise_error(self) -> None:
        """Raise what kept the verify command from running, if anything did."""
        if self.error is not None:
            raise self.error

    def _answer_requests(self) -> None:
        while not self.is_over.wait(POLL_S) and self.error is None:
            for name in sorted(os.listdir(self.folder)):
                folder = os.path.join(self.folder, name)
                request = os.path.join(folder, "request")
                if self.is_over.is_set() or not os.path.isfile(request):
                    continue
                if verify_command.read_result(folder) is None:
                    self._answer(folder, name, request)
                _remove_file(request)

    def _answer(self, folder: str, name: str, request: str) -> None:
        """Verify the commit that is asked for, and write its result or what went wrong."""
        try:
            with open(request, encoding="ascii", errors="replace") as file:
                commit = git_client.resolve_commit(self.job.worktree, file.read(100))
            if commit is not None and name.endswith(commit[:16]):
                self._verify(folder, commit)
        except (BatchError, OSError) as error:
            self.error = error
            self.attempt_stopped.set()  # before `done` can read the error, which is no refusal
            message = error.message if isinstance(error, BatchError) else f"Verifying failed: {error.strerror}."
            with open(os.path.join(folder, "error"), "w", encoding="utf-8", errors="replace") as file:
                file.write(message)

    def _verify(self, folder: str, commit: str) -> None:
        job, tree = self.job, get_verify_worktree(self.job)
        locks = [wait_for_lock(os.path.join(folder, "lock"), self.is_over)]
        if job.remote:  # an attempt that the driver has given up may still use the worktree of its slot
            locks.append(wait_for_lock(get_tree_lock(job), self.is_over))
        try:
            if self.is_over.is_set() or not self._set_up(folder, tree, commit):
                return
            started_s = time.monotonic()
            with open(os.path.join(folder, "output"), "wb") as output:
                ended = subprocesses.run_in_worktree(
                    job.policy["verify"], tree, job.policy["verify_timeout_s"], output=output, stop=self.is_over,
                    variables=verify_command.get_variables((job.repository, job.worktree, tree), job.slot),
                )  # fmt: skip
            if ended.returncode is not None or ended.timed_out:
                exit_code = verify_command.get_exit_code(ended)
                verify_command.write_result(folder, exit_code, time.monotonic() - started_s)
        finally:
            for lock in locks:
                os.close(lock)

    def _set_up(self, folder: str, tree: str, commit: str) -> bool:
        """Make the worktree what the commit is. Return False when that decided: the result is written, or nobody waits.

        A setup command that fails counts as a failed verify command when the commits of the attempt changed what it
        reads.
        """
        job, started_s = self.job, time.monotonic()
        roots = (job.repository, job.worktree, tree)
        setup = verify_command.get_setup(job.policy, roots, job.slot, self.is_over)
        try:
            verify_tree.prepare(job.repository, tree, commit, source=job.worktree, setup=setup)
        except tree_setup.SetupStopped:
            return False
        except tree_setup.SetupFailed as error:
            base = git_client.get_merge_base(job.worktree, worktrees.get_batch_branch(job.batch_id), commit) or job.base
            changed = tree_setup.list_changed_inputs(job.worktree, base, commit, job.policy.get("setup"))
            if not changed:
                raise
            with open(os.path.join(folder, "output"), "w", encoding="utf-8", errors="replace") as output:
                output.write(f"{error.message}\nThe feature changes {git_client.format_paths(changed)}.\n")
            verify_command.write_result(folder, error.exit_code, time.monotonic() - started_s)
            return False
        return True


def wait_for_lock(path: str, stop: threading.Event, timeout_s: float = math.inf) -> int:
    """Return the descriptor of a file that this process holds the lock of, without the lock once `stop` is set.

    Raises BlockingIOError after `timeout_s` seconds.
    """
    until_s = time.monotonic() + timeout_s
    while True:
        try:
            return verify_command.open_locked(path)
        except BlockingIOError:  # also for a moment when another process looks whether it is held
            if time.monotonic() > until_s:
                raise
            if stop.wait(POLL_S):
                return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)


def _remove_file(path: str) -> None:
    try:
        os.unlink(path)
    except (FileNotFoundError, NotADirectoryError):
        pass
