"""The few questions we ask git, and the one thing we let it do: put a feature's leftovers into a stash.

Every call is a list of arguments, never a shell line; paths go in literally. Errors are StateUnusable with git's own
words. All functions take the project's root.
"""

from __future__ import annotations

import os
import subprocess

from . import paths
from .errors import StateUnusable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, List, Optional

TIMEOUT_S = 60
MOST_COMMITS = 100
_OURS = f"{paths.STATE_FOLDER}/{paths.STATE_NAME}"


def is_repository(root: str) -> bool:
    """Whether the root is inside a git work tree, and git is there to say so."""
    try:
        return _run(root, "rev-parse", "--is-inside-work-tree").stdout.strip() == "true"
    except StateUnusable:
        return False


def head(root: str) -> Optional[str]:
    """The commit HEAD is at; None before the first commit."""
    answer = _run(root, "rev-parse", "--verify", "--quiet", "HEAD^{commit}", fails=True)
    return answer.stdout.strip() or None


def branch(root: str) -> Optional[str]:
    """The branch HEAD is on; None when it is detached."""
    return _run(root, "symbolic-ref", "--quiet", "--short", "HEAD", fails=True).stdout.strip() or None


def tree(root: str, commit: Optional[str]) -> Optional[str]:
    """The tree of a commit; None for no commit."""
    return _run(root, "rev-parse", "--verify", f"{commit}^{{tree}}").stdout.strip() if commit else None


def commits_since(root: str, base: Optional[str]) -> List[str]:
    """The commits that HEAD has and `base` has not, oldest first; at most the last 100."""
    since = ["HEAD", "--not", base] if base else ["HEAD"]
    answer = _run(root, "rev-list", "--reverse", *since, "--", fails=True)
    return answer.stdout.split()[-MOST_COMMITS:]


def subject(root: str, commit: str) -> str:
    """The first line of a commit's message."""
    return _run(root, "log", "-1", "--format=%s", commit, fails=True).stdout.strip()


def changes(root: str) -> tuple[List[str], List[str]]:
    """What is not committed: tracked paths that are modified or staged, and untracked ones (a new folder as `folder/`).

    Paths are relative to the work tree's top; the state file is left out.
    """
    answer = _run(root, "--no-optional-locks", "status", "--porcelain=v1", "-z", "--untracked-files=normal")
    tracked: List[str] = []
    untracked: List[str] = []
    fields = iter(answer.stdout.split("\0"))
    for field in fields:
        if not field:
            continue
        if "R" in field[:2] or "C" in field[:2]:
            tracked.append(next(fields, ""))  # where it came from
        if not field[3:].startswith(_OURS):
            (untracked if field.startswith("??") else tracked).append(field[3:])
    return tracked, untracked


def leftovers(root: str, known: Iterable[str]) -> List[str]:
    """The uncommitted paths, but for the untracked ones in `known` and below a folder in it."""
    tracked, untracked = changes(root)
    return tracked + _unknown(root, untracked, list(known))


def _unknown(root: str, paths: List[str], known: List[str]) -> List[str]:
    """Those of `paths` that are not in `known` nor below a folder in it. A folder that holds a known path is taken
    apart.
    """
    folders = tuple(path for path in known if path.endswith("/"))
    paths = [path for path in paths if path not in known]
    mixed = [path for path in paths if path.endswith("/") and any(name.startswith(path) for name in known)]
    if mixed:
        inside = _run(root, "ls-files", "--others", "--exclude-standard", "-z", "--", *mixed, literal=True).stdout
        paths = [path for path in paths if path not in mixed] + inside.split("\0")[:-1]
    return sorted(path for path in paths if path not in known and not path.startswith(folders))


def stash(root: str, name: str, known: Iterable[str]) -> bool:
    """Put the leftovers into a stash called `name`; untracked paths in `known` stay. Whether there was anything to
    put away.
    """
    tracked, untracked = changes(root)
    known = list(known)
    theirs = [path for path in tracked if path not in _unknown(root, [path], known)]
    if theirs:  # staged meanwhile: they stay, too
        _run_on(root, theirs, "reset", "--quiet")
        tracked, untracked = changes(root)
    fresh = _unknown(root, untracked, known)
    left = tracked + fresh
    if not left:
        return False
    if head(root) is None:
        raise StateUnusable(
            f"The leftovers cannot be stashed before the first commit in {root}. Commit something, or move them away: "
            f"{_listed(left)}"
        )
    all_but_ours = ("--", ":/", f":(top,exclude){_OURS}*")  # it may be tracked, from before it was hidden
    # `git stash` takes no conflicts and no `git add -N`, nor a path that is gone
    _run(root, "add", "--update", *all_but_ours)
    if fresh:
        _run_on(root, fresh, "add")
    _run(root, "stash", "push", "--quiet", "--message", name, *all_but_ours)
    _run(root, "reset", "--quiet")  # a merge that was under way would make the next commit one of its own
    return True


def _run_on(root: str, some: List[str], *arguments: str) -> None:
    """Run git on these paths, taken literally."""
    paths_in = ("--pathspec-from-file=-", "--pathspec-file-nul")
    _run(root, *arguments, *paths_in, text="\0".join(some), literal=True)


def hide_state(root: str) -> None:
    """List the state file in the repository's own exclude file, so that `git add -A` never takes it along."""
    path = os.path.join(root, _run(root, "rev-parse", "--git-path", "info/exclude").stdout.strip())
    exclude(path, [f"/{_prefix(root)}{_OURS}*"])


def exclude(path: str, lines: Iterable[str]) -> None:
    """Add to the exclude file at `path` those of `lines` that it has not."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
    except FileNotFoundError:
        text = ""
    except OSError as error:
        raise _not_hidden(path, error) from error
    known = text.splitlines()
    missing = [line for line in lines if line not in known]
    if not missing:
        return
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "a", encoding="utf-8", errors="surrogateescape") as file:
            file.write(("" if not text or text.endswith("\n") else "\n") + "\n".join(missing) + "\n")
    except OSError as error:
        raise _not_hidden(path, error) from error


def _not_hidden(path: str, error: OSError) -> StateUnusable:
    return StateUnusable(
        f"{path} cannot be written: {error.strerror}. The batch would end up in its own commits; mend that first."
    )


def has_identity(root: str) -> bool:
    """Whether git knows who commits here."""
    return _run(root, "var", "GIT_COMMITTER_IDENT", fails=True).returncode == 0


def version() -> str:
    """What `git --version` says; StateUnusable without git."""
    return _run("/", "--version").stdout.strip()


def _prefix(root: str) -> str:
    """The root's own path inside the work tree (`sub/`), empty at its top."""
    return _run(root, "rev-parse", "--show-prefix").stdout.strip("\n")


def _listed(some: List[str]) -> str:
    return ", ".join(some[:10]) + (f" and {len(some) - 10} more" if len(some) > 10 else "")


def _run(
    root: str, *arguments: str, fails: bool = False, text: Optional[str] = None, literal: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run git. With `fails` an exit status other than 0 is an answer, too."""
    environment = {**os.environ, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}
    if literal:
        environment["GIT_LITERAL_PATHSPECS"] = "1"
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"):
        environment.pop(name, None)
    try:
        answer = subprocess.run(
            ["git", "-C", root, *arguments],
            input=text, stdin=subprocess.DEVNULL if text is None else None, capture_output=True,
            encoding="utf-8", errors="surrogateescape", timeout=TIMEOUT_S, env=environment, check=False,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise StateUnusable("git was not found on PATH. Install it, or start from a shell that has it.") from error
    except subprocess.TimeoutExpired as error:
        raise StateUnusable(f"`git {arguments[0]}` did not answer within {TIMEOUT_S} s in {root}.") from error
    if answer.returncode != 0 and not fails:
        raise StateUnusable(
            f"`git {' '.join(arguments[:2])}` failed in {root}: {answer.stderr.strip()[:500] or answer.returncode}"
        )
    return answer
