"""A try in a throw-away work tree: does git make one, can a commit be made there, does the verify command pass?

    yield from trial(root, commit, folder, verify, timeout_s=1800, feature_time_s=7200)

What the clients of a run would meet is met here, on the commit that they begin on, before anybody goes to bed. The
work tree is gone afterwards; the person's own tree, and every branch, stay as they are.
"""

from __future__ import annotations

import os
import tempfile
import time

from ...base import subprocesses
from ...base.text import clean, duration
from ...commands import verify_runner
from ...commands.doctor import ERROR, OK, WARNING
from ...core.errors import BatchError
from ...git import git_client, worktrees

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, List, Optional, Tuple

COMMIT_S = 120
COMMIT = (
    "unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE; LC_ALL=C GIT_TERMINAL_PROMPT=0 git commit --quiet --allow-empty "
    "--message 'chore: see whether a commit can be made here'"
)
MAX_OUTPUT = 1500
# What a project keeps beside its files, ignored by git: a new work tree has none of it.
_IGNORED_FOLDERS = ("node_modules", ".venv", "venv", "vendor", ".env", "target", "build", ".tox")
_SIGNING_ERRORS = ("gpg", "sign", "failed to write commit object")


def check_verify(
    root: str, commit: str, folder: str, verify: Optional[str], *, timeout_s: int, feature_time_s: int
) -> Iterator[Tuple[str, str]]:
    """Look at a work tree of `commit` made in `folder`: (verdict, text) pairs as `doctor` has them."""
    try:
        try:
            worktrees.add_detached(root, folder, commit)
        except BatchError as error:
            yield ERROR, f"A work tree cannot be made: {error.message} Nothing of a run works without one."
            return
        yield from _check_commit(folder)
        worktrees.add_detached(root, folder, commit)
        if verify is None:
            yield (
                WARNING,
                "There is no verify command: a commit alone shows a feature done. `--verify CMD` asks more.",
            )
        else:
            yield from _check_verify_command(root, folder, verify, timeout_s, feature_time_s)
    finally:
        worktrees.remove(root, folder)


def _check_commit(folder: str) -> Iterator[Tuple[str, str]]:
    """Make a commit, as each client has to: with the repository's hooks, and signed if that is asked for."""
    with tempfile.NamedTemporaryFile() as output:
        code = subprocesses.run(folder, COMMIT, COMMIT_S, output.fileno())
        output.seek(0)
        words = " ".join(clean(output.read().decode("utf-8", "replace")).split())[-300:]
    if code is None:
        yield (
            ERROR,
            f"A commit took longer than {duration(COMMIT_S)}: a hook, or the signing of commits, waits for somebody. "
            "Try `git commit --allow-empty -m try` where nobody answers.",
        )
    elif code != 0 and any(sign in words.lower() for sign in _SIGNING_ERRORS):
        yield (
            ERROR,
            "A commit cannot be signed with nobody there. Let the agent keep the passphrase all night, or switch it "
            f"off for this repository: `git config commit.gpgSign false`. git said: {words}",
        )
    elif code != 0:
        yield (
            WARNING,
            "A trial commit in a new work tree was refused, probably by a commit hook that does not find its tools "
            f"there (or asks for another message). Every client would meet the same. git said: {words}",
        )


def _check_verify_command(
    root: str, folder: str, command: str, timeout_s: int, feature_time_s: int
) -> Iterator[Tuple[str, str]]:
    with tempfile.NamedTemporaryFile() as output:
        began = time.monotonic()
        code = subprocesses.run(folder, command, timeout_s, output.fileno())
        seconds = time.monotonic() - began
        said = verify_runner.quote_log_end(output.name)[-MAX_OUTPUT:]
    shown = f"`{' '.join(command.split())[:200]}`"
    if code is None:
        yield (
            ERROR,
            f"The verify command {shown} did not end within {duration(timeout_s)} and was ended. No feature could be "
            "done. Give it longer (`--verify-timeout`), or one that ends.",
        )
        return
    if code != 0:
        yield (
            ERROR,
            f"The verify command {shown} fails on the commit that the run would begin on (exit status {code}), so no "
            f"feature could be done. {_guess_cause(root, folder)}The end of its output (data):\n{said}",
        )
        return
    changed, _ = git_client.list_changes(folder)
    if changed:
        yield (
            WARNING,
            f"The verify command changes files that git tracks: {git_client.format_paths(changed)}. `batchctl done` "
            "refuses what is not committed; let it leave them alone.",
        )
    if seconds > feature_time_s:
        yield (
            ERROR,
            f"The verify command {shown} takes {duration(seconds)}, and a client has {duration(feature_time_s)} in all."
            " Give it more: `--feature-time`.",
        )
    else:
        yield OK, f"{shown} passes on the commit that the run begins on, in {duration(seconds)}"


def _guess_cause(root: str, folder: str) -> str:
    """What is the likely cause when the verify command fails in a new work tree."""
    beside: List[str] = [
        name
        for name in _IGNORED_FOLDERS
        if os.path.exists(os.path.join(root, name)) and not os.path.exists(os.path.join(folder, name))
    ]
    if beside:
        return (
            f"Your tree has {', '.join(beside)}, which git ignores, so a new work tree has not: if it is missing "
            "there, let the verify command make it first (`npm ci && npm test`). "
        )
    return "If it passes in your tree, it needs something there that is not committed. "
