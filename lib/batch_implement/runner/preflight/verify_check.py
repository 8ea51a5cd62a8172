"""Try setup command, commit and verify command in a temporary worktree, at the commit that the run would start from.

    yield from check_setup(root, commit, folder, setup, feature_time_s=7200, check_space=...)
    yield from check_verify(root, commit, folder, verify, timeout_s=1800, feature_time_s=7200, setup=setup)

The first leaves the worktree for the second, which removes it. The user's working tree and all branches stay as they
are.
"""

from __future__ import annotations

import os
import tempfile
import time

from ...base import subprocesses
from ...base.text import clean, duration, one_line
from ...commands import verify_command
from ...commands.doctor import ERROR, OK, WARNING
from ...git import git_client, tree_setup, verify_tree, worktrees
from . import environment_checks, isolation_check

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Iterator, Optional, Tuple

    from ...git.tree_setup import Setup

COMMIT_S = 120
COMMIT = (
    "unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE; LC_ALL=C GIT_TERMINAL_PROMPT=0 git commit --quiet --allow-empty "
    "--message 'chore: see whether a commit can be made here'"
)
MAX_OUTPUT = 1500
# Usually ignored by git, so that a new worktree has none of them.
_IGNORED_FOLDERS = ("node_modules", ".venv", "venv", "vendor", ".env", "target", "build", ".tox")
_SIGNING_ERRORS = ("gpg", "sign", "failed to write commit object")


def check_setup(
    root: str,
    commit: str,
    folder: str,
    setup: Setup,
    *,
    feature_time_s: int,
    check_space: Callable[[float, float], Iterator[Tuple[str, str]]],
) -> Iterator[Tuple[str, str]]:
    """Yield (verdict, text) of the setup command in a worktree of `commit`, which is made in `folder` and stays.

    `check_space(tree_mb, setup_mb)` checks the disk for worktrees of that many megabytes.
    """
    verify_tree.prepare(root, folder, commit)
    tree_mb = environment_checks.measure_folder_bytes(folder) / 1e6
    started_s = time.monotonic()
    verify_tree.prepare(root, folder, commit, setup=setup)
    seconds = time.monotonic() - started_s
    setup_mb = max(0.0, environment_checks.measure_folder_bytes(folder) / 1e6 - tree_mb)
    shown = f"`{one_line(setup.command or '', 200)}`"
    changed, not_ignored = tree_setup.list_side_effects(folder)
    if not_ignored:
        yield (
            ERROR,
            f"The setup command {shown} leaves files that git does not ignore: {git_client.format_paths(not_ignored)}. "
            "They would get into commits of features, or go before each verify. Commit them, or list them in "
            ".gitignore and `git commit` that.",
        )
    if changed:
        yield (
            WARNING,
            f"The setup command changes tracked files, which are put back: {git_client.format_paths(changed)}. Make it "
            "leave these files as they are (`npm ci` instead of `npm install`).",
        )
    leading_back = list(isolation_check.check_setup_result(root, folder))
    yield from leading_back
    if seconds > feature_time_s:
        yield (
            ERROR,
            f"The setup command {shown} takes {duration(seconds)}, but a client, whose first `batchctl done` waits for "
            f"it, has only {duration(feature_time_s)}. Give it more time with `--feature-time`.",
        )
    elif not (not_ignored or leading_back):
        size = f"{setup_mb:.0f} MB" if setup_mb >= 1 else "less than 1 MB"
        yield OK, f"{shown} prepares a worktree in {duration(seconds)} and makes {size} there"
    for verdict, text in check_space(tree_mb, setup_mb):
        if verdict != OK:
            yield verdict, text


def check_verify(
    root: str,
    commit: str,
    folder: str,
    verify: Optional[str],
    *,
    timeout_s: int,
    feature_time_s: int,
    setup: Optional[Setup] = None,
) -> Iterator[Tuple[str, str]]:
    """Yield (verdict, text) of each check in a worktree of `commit`, which is made in `folder`."""
    try:
        verify_tree.prepare(root, folder, commit, setup=setup)
        yield from _check_commit(folder)
        verify_tree.prepare(root, folder, commit, setup=setup)
        if verify is None:
            yield WARNING, "There is no verify command: a commit alone is the evidence. Set one with `--verify CMD`."
        else:
            yield from _check_verify_command(root, folder, verify, timeout_s, feature_time_s)
    finally:
        worktrees.remove_generated(root, folder)


def _check_commit(folder: str) -> Iterator[Tuple[str, str]]:
    """Make a commit as each worker has to: with the repository's hooks, and signed if the repository asks for it."""
    ended = subprocesses.run_in_worktree(COMMIT, folder, COMMIT_S)
    exit_code, output = ended.returncode, (ended.stdout + ended.stderr).decode("utf-8", "replace")
    output = " ".join(clean(output).split())[-300:]
    if exit_code is None:
        yield (
            ERROR,
            f"A commit took longer than {duration(COMMIT_S)}: a git hook or commit signing waits for input. Try `git "
            "commit --allow-empty -m try` without a terminal.",
        )
    elif exit_code != 0 and any(sign in output.lower() for sign in _SIGNING_ERRORS):
        yield (
            ERROR,
            "A commit cannot be signed unattended. Let the agent cache the passphrase, or switch signing off for this "
            f"repository: `git config commit.gpgSign false`. git said: {output}",
        )
    elif exit_code != 0:
        yield (
            WARNING,
            "A test commit in a new worktree failed, probably in a commit hook whose tools are missing there (or that "
            f"wants another message). Each feature would meet the same. git said: {output}",
        )


def _check_verify_command(
    root: str, folder: str, command: str, timeout_s: int, feature_time_s: int
) -> Iterator[Tuple[str, str]]:
    with tempfile.NamedTemporaryFile() as file:
        started_s = time.monotonic()
        variables = verify_command.get_variables((root, folder), 0)
        exit_code = subprocesses.run_in_worktree(
            command, folder, timeout_s, output=file, variables=variables
        ).returncode
        seconds = time.monotonic() - started_s
        output = verify_command.quote_log_end(file.name)[-MAX_OUTPUT:]
    shown = f"`{one_line(command, 200)}`"
    if exit_code is None:
        yield (
            ERROR,
            f"The verify command {shown} did not end within {duration(timeout_s)} and was ended, so no feature could "
            "be done. Give it more time with `--verify-timeout`, or give a command that ends.",
        )
        return
    if exit_code != 0:
        yield (
            ERROR,
            f"The verify command {shown} fails on the commit that the run would start from (exit status {exit_code}), "
            f"so no feature could be done. {_guess_cause(root, folder)}The end of its output (data):\n{output}",
        )
        return
    changed, _ = git_client.list_changes(folder)
    if changed:
        yield (
            WARNING,
            f"The verify command changes tracked files: {git_client.format_paths(changed)}. `batchctl done` refuses "
            "uncommitted changes; make the command leave these files as they are.",
        )
    if seconds > feature_time_s:
        yield (
            ERROR,
            f"The verify command {shown} takes {duration(seconds)}, but a client has only {duration(feature_time_s)}. "
            "Give it more time with `--feature-time`.",
        )
    else:
        yield OK, f"{shown} passes on the commit that the run starts from, in {duration(seconds)}"


def _guess_cause(root: str, folder: str) -> str:
    """Return the likely cause of a verify command that fails in a new worktree, as sentences."""
    missing = [
        name
        for name in _IGNORED_FOLDERS
        if os.path.exists(os.path.join(root, name)) and not os.path.exists(os.path.join(folder, name))
    ]
    if missing:
        return (
            f"Your working tree has {', '.join(missing)}, which git ignores, so a new worktree does not: if the "
            "command needs it, let a setup command make it (`--setup 'npm ci'`). "
        )
    return "If it passes in your working tree, it needs something there that is not committed. "
