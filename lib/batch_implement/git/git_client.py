"""The few questions we ask git, and the one thing we let it do: put a feature's leftovers into a stash.

Every call is a list of arguments, never a shell line; paths go in literally. Errors are StateUnusable with git's own
words. All functions take the project's root. What became of the history since a commit is in `history`.
"""

from __future__ import annotations

import os

from ..base import project_paths, subprocesses
from ..core.errors import StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, Iterator, List, Optional

TIMEOUT_S = 60
MAX_COMMITS = 100
_STATE_PATH = f"{project_paths.STATE_FOLDER}/{project_paths.STATE_NAME}"
# What a file in the git folder says is in progress: its name, how to end it, and how we leave it when its feature has
# failed: a rebase goes back to the branch as it was, everything else keeps the commits that it has made.
_OPERATIONS = (
    ("rebase-apply/applying", "`git am`", "`git am --continue` or `git am --abort`", ("am", "--quit")),
    ("rebase-apply", "a rebase", "`git rebase --continue` or `git rebase --abort`", ("rebase", "--abort")),
    ("rebase-merge", "a rebase", "`git rebase --continue` or `git rebase --abort`", ("rebase", "--abort")),
    ("MERGE_HEAD", "a merge", "`git commit` or `git merge --abort`", ("reset", "--quiet")),
    (
        "CHERRY_PICK_HEAD", "a cherry-pick", "`git cherry-pick --continue` or `git cherry-pick --abort`",
        ("cherry-pick", "--quit"),
    ),
    ("REVERT_HEAD", "a revert", "`git revert --continue` or `git revert --abort`", ("revert", "--quit")),
    (
        "sequencer/todo", "a cherry-pick or revert of several commits",
        "`git cherry-pick --continue` or `git cherry-pick --quit`", ("cherry-pick", "--quit"),
    ),
    ("BISECT_LOG", "a bisection", "`git bisect reset`", ("bisect", "reset")),
)  # fmt: skip
# What would lead git to another repository than the one in the root, or make it read our pathspecs in another way.
_CLEARED_VARIABLES = frozenset((
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY",
    "GIT_NAMESPACE", "GIT_LITERAL_PATHSPECS", "GIT_GLOB_PATHSPECS", "GIT_NOGLOB_PATHSPECS", "GIT_ICASE_PATHSPECS",
))  # fmt: skip


class GitResult:
    """The exit status and the output of git; bytes that are not UTF-8 are surrogates."""

    __slots__ = ("returncode", "stderr", "stdout")

    def __init__(self, returncode: int, stdout: str, stderr: str) -> None:
        self.returncode, self.stdout, self.stderr = returncode, stdout, stderr


def is_repository(root: str) -> bool:
    """Whether the root is inside a git work tree, and git is there to say so."""
    try:
        return run_git(root, "rev-parse", "--is-inside-work-tree").stdout.strip() == "true"
    except StateError:
        return False


def explain_missing_repository(root: str) -> str:
    """Why git takes the root for no work tree, and what to do: a sentence or two, without the last full stop."""
    import shlex

    said = run_git(root, "rev-parse", "--is-inside-work-tree", check=False).stderr
    if "dubious ownership" in said or "unsafe repository" in said:
        return (
            f"git does nothing in {root}, because it belongs to somebody else. If you trust what is there: `git config "
            f"--global --add safe.directory {shlex.quote(root)}`"
        )
    return f"{root} is not a git repository. Start in one, or `git init` and commit what is there"


def get_head(root: str) -> Optional[str]:
    """The commit HEAD is at; None before the first commit."""
    answer = run_git(root, "rev-parse", "--verify", "--quiet", "HEAD^{commit}", check=False)
    return answer.stdout.strip() or None


def get_branch(root: str) -> Optional[str]:
    """The branch HEAD is on; None when it is detached."""
    return run_git(root, "symbolic-ref", "--quiet", "--short", "HEAD", check=False).stdout.strip() or None


def get_tree(root: str, commit: Optional[str]) -> Optional[str]:
    """The tree of a commit; None for no commit."""
    return run_git(root, "rev-parse", "--verify", f"{commit}^{{tree}}").stdout.strip() if commit else None


def list_commits_since(root: str, base: Optional[str]) -> List[str]:
    """The commits that HEAD has and `base` has not, oldest first; at most the last 100."""
    since = ["HEAD", "--not", base] if base else ["HEAD"]
    return run_git(
        root, "rev-list", "--topo-order", "--reverse", f"--max-count={MAX_COMMITS}", *since, "--", check=False
    ).stdout.split()


def has_commit(root: str, commit: Optional[str], at: str = "HEAD") -> bool:
    """Whether `at` (a commit or ref) has this commit in its history; False for none, or one that is not known here."""
    if not commit:
        return False
    return run_git(root, "merge-base", "--is-ancestor", commit, at, check=False).returncode == 0


def get_branch_tip(root: str, branch: str) -> Optional[str]:
    """The commit that a branch is at; None when there is no such branch."""
    answer = run_git(root, "rev-parse", "--verify", "--quiet", f"refs/heads/{branch}^{{commit}}", check=False)
    return answer.stdout.strip() or None


def operation_in_progress(root: str) -> Optional[tuple[str, str]]:
    """What git is in the middle of, and how that is ended: ("a rebase", "`git rebase --continue` or ..."); None when
    it is not. Asks the git folder, not git.
    """
    found = _find_operation(root)
    return found[1:3] if found else None


def _find_operation(root: str) -> Optional[tuple[str, str, str, tuple[str, ...]]]:
    git_dir = project_paths.find_git_dir(root)
    return next((row for row in _OPERATIONS if git_dir and os.path.exists(f"{git_dir}/{row[0]}")), None)


def get_subject(root: str, commit: str) -> str:
    """The first line of a commit's message."""
    return run_git(root, "log", "-1", "--format=%s", commit, check=False).stdout.strip()


def list_changes(root: str) -> tuple[List[str], List[str]]:
    """What is not committed: tracked paths that are modified or staged, and untracked ones (a new folder as `folder/`).

    Paths are relative to the work tree's top; the state file is left out.
    """
    tracked: List[str] = []
    untracked: List[str] = []
    for kind, _, found in _iter_status(root):
        (untracked if kind == "?" else tracked).extend(path for path in found if not path.startswith(_STATE_PATH))
    return tracked, untracked


def list_changed_submodules(root: str) -> List[str]:
    """The submodules that hold something uncommitted themselves: no commit in `root` can take that along."""
    return [found[0] for _, submodule, found in _iter_status(root) if "M" in submodule or "U" in submodule]


def _iter_status(root: str) -> Iterator[tuple[str, str, List[str]]]:
    """What git's status has, entry by entry: its kind (1, 2: changed, u: unmerged, ?: untracked), four letters on a
    submodule (`S`, then `C` for another commit, `M` and `U` for content; `N...` for any other file), its paths (two
    of a renamed one).
    """
    answer = run_git(root, "--no-optional-locks", "status", "--porcelain=v2", "-z", "--untracked-files=normal")
    fields = iter(answer.stdout.split("\0"))
    for field in fields:
        kind = field[:1]
        if kind == "?":
            yield kind, "N...", [field[2:]]
        elif kind in ("1", "2", "u"):
            words = field.split(" ", {"1": 8, "2": 9, "u": 10}[kind])
            yield kind, words[2], [words[-1], next(fields)] if kind == "2" else [words[-1]]


def list_uncommitted_paths(root: str, known: Iterable[str]) -> List[str]:
    """The uncommitted paths, but for the untracked ones in `known` and below a folder in it."""
    tracked, untracked = list_changes(root)
    return tracked + _exclude_known(root, untracked, list(known))


def _exclude_known(root: str, paths: List[str], known: List[str]) -> List[str]:
    """Those of `paths` that are not in `known` nor below a folder in it. A folder that holds a known path is taken
    apart. What is no text is compared as the state keeps it.
    """
    known = [_as_stored(path) for path in known]
    folders = tuple(path for path in known if path.endswith("/"))
    paths = [path for path in paths if _as_stored(path) not in known]
    mixed = [path for path in paths if path.endswith("/") and any(name.startswith(_as_stored(path)) for name in known)]
    if mixed:
        inside = run_git(
            root, "ls-files", "--others", "--exclude-standard", "-z", "--", *mixed, literal_paths=True
        ).stdout
        paths = [path for path in paths if path not in mixed] + inside.split("\0")[:-1]
    return sorted(path for path in paths if _as_stored(path) not in known and not _as_stored(path).startswith(folders))


def _as_stored(path: str) -> str:
    """A path as it comes back from the state: bytes that are no text are question marks there."""
    return path if path.isascii() else path.encode("utf-8", "replace").decode()


def stash_changes(root: str, name: str, known: Iterable[str]) -> bool:
    """Put the leftovers into a stash called `name`; untracked paths in `known` stay. Whether there was anything to
    put away.

    What a submodule holds goes into a stash of its own there, and the submodule back to the commit it belongs at. A
    rebase, merge or the like that is in progress is left (after its state was put away). Another repository inside
    this one stays where it is.
    """
    known = list(known)
    there = _stash_worktree(root, name, known)
    found = _find_operation(root)
    if found:
        run_git(root, *found[3])
        there = _stash_worktree(root, name, known) or there  # a rebase gives back what it had stashed by itself
    return there


def _stash_worktree(root: str, name: str, known: List[str]) -> bool:
    top = run_git(root, "rev-parse", "--show-toplevel").stdout[:-1]
    inside = [stash_changes(f"{top}/{path}", name, ()) for path in list_changed_submodules(root)]
    tracked, untracked = list_changes(root)
    theirs = [path for path in tracked if path not in _exclude_known(root, [path], known)]
    if theirs:  # staged meanwhile: they stay, too
        _run_git_on_paths(root, theirs, "reset", "--quiet")
        tracked, untracked = list_changes(root)
    fresh = [path for path in _exclude_known(root, untracked, known) if not os.path.lexists(f"{top}/{path}.git")]
    left = tracked + fresh
    if not left:
        return any(inside)
    if get_head(root) is None:
        raise StateError(
            f"The leftovers cannot be stashed before the first commit in {root}. Commit something, or move them away: "
            f"{format_paths(left)}",
            "not-a-repository",
        )
    all_but_ours = ("--", ":/", f":(top,exclude){_STATE_PATH}*")  # it may be tracked, from before it was hidden
    # `git stash` takes no conflicts and no `git add -N`, nor a path that is gone
    run_git(root, "add", "--update", *all_but_ours)
    if fresh:
        _run_git_on_paths(root, fresh, "add")
    run_git(root, "stash", "push", "--quiet", "--message", name, *all_but_ours)
    run_git(root, "reset", "--quiet")  # a merge that was under way would make the next commit one of its own
    moved = [found[0] for _, submodule, found in _iter_status(root) if "C" in submodule]
    if moved:  # the stash has kept where they were, but leaves them there
        update = ("submodule", "--quiet", "update", "--no-fetch", "--checkout")
        run_git(root, *update, "--", *(f"{top}/{path}" for path in moved), literal_paths=True)
    return True


def _run_git_on_paths(root: str, some: List[str], *arguments: str) -> None:
    """Run git on these paths, taken literally."""
    paths_in = ("--pathspec-from-file=-", "--pathspec-file-nul")
    run_git(root, *arguments, *paths_in, input="\0".join(some), literal_paths=True)


def exclude_state_file(root: str) -> None:
    """List the state file in the repository's own exclude file, so that `git add -A` never takes it along."""
    path = os.path.join(root, run_git(root, "rev-parse", "--git-path", "info/exclude").stdout.strip())
    add_excludes(path, [f"/{_get_prefix(root)}{_STATE_PATH}*"])


def add_excludes(path: str, lines: Iterable[str]) -> None:
    """Add to the exclude file at `path` those of `lines` that it has not."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
    except FileNotFoundError:
        text = ""
    except OSError as error:
        raise _exclude_file_error(path, error) from error
    known = text.splitlines()
    missing = [line for line in lines if line not in known]
    if not missing:
        return
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "a", encoding="utf-8", errors="surrogateescape") as file:
            file.write(("" if not text or text.endswith("\n") else "\n") + "\n".join(missing) + "\n")
    except OSError as error:
        raise _exclude_file_error(path, error) from error


def _exclude_file_error(path: str, error: OSError) -> StateError:
    return StateError(
        f"{path} cannot be written: {error.strerror}. The batch would end up in its own commits; mend that first.",
        "disk-trouble",
    )


def has_identity(root: str) -> bool:
    """Whether git knows who commits here."""
    return run_git(root, "var", "GIT_COMMITTER_IDENT", check=False).returncode == 0


def get_committer_email(root: str) -> Optional[str]:
    """The e-mail address that a commit made here has as its committer's; None when nobody set one: what git would
    make up from the machine's name is no sign of who commits.
    """
    answer = run_git(root, "-c", "user.useConfigOnly=true", "var", "GIT_COMMITTER_IDENT", check=False)
    return answer.stdout.rpartition(">")[0].rpartition("<")[2] if answer.returncode == 0 else None


def get_version() -> str:
    """What `git --version` says; StateUnusable without git."""
    return run_git("/", "--version").stdout.strip()


def _get_prefix(root: str) -> str:
    """The root's own path inside the work tree (`sub/`), empty at its top."""
    return run_git(root, "rev-parse", "--show-prefix").stdout.strip("\n")


def format_paths(some: List[str]) -> str:
    """Paths for a message: at most ten, and how many more. What a line cannot hold is quoted as git quotes it."""
    return ", ".join(_quote_path(path) for path in some[:10]) + (
        f" and {len(some) - 10} more" if len(some) > 10 else ""
    )


def _quote_path(path: str) -> str:
    if path.isprintable():
        return path
    return (
        '"' + "".join(char if char.isprintable() and char not in '"\\' else _escape_char(char) for char in path) + '"'
    )


def _escape_char(char: str) -> str:
    known = {"\n": "\\n", "\t": "\\t", '"': '\\"', "\\": "\\\\"}
    return known.get(char) or "".join(f"\\{byte:03o}" for byte in char.encode("utf-8", "surrogateescape"))


def run_git(
    root: str,
    *arguments: str,
    check: bool = True,
    input: Optional[str] = None,
    literal_paths: bool = False,
    timeout_s: Optional[float] = None,
) -> GitResult:
    """Run git in the root and return its exit status and output; `input` goes to its standard input.

    Raises StateError when git does not end within `timeout_s` seconds (None: TIMEOUT_S) or, with `check`, fails.
    `literal_paths`: paths among the arguments are never patterns.
    """
    timeout_s = TIMEOUT_S if timeout_s is None else timeout_s
    call = " ".join(("git", *arguments[:2]))
    environment = {name: value for name, value in os.environ.items() if name not in _CLEARED_VARIABLES}
    environment.update(LC_ALL="C", GIT_TERMINAL_PROMPT="0", SSH_ASKPASS_REQUIRE="never")
    if literal_paths:
        environment["GIT_LITERAL_PATHSPECS"] = "1"
    data = None if input is None else input.encode("utf-8", "surrogateescape")
    try:
        ended = subprocesses.run(["git", "-C", root, *arguments], timeout_s=timeout_s, env=environment, input=data)
    except FileNotFoundError as error:
        raise StateError(
            "git was not found on PATH. Install it, or start from a shell that has it.", "git-trouble"
        ) from error
    if ended.returncode is None:
        raise StateError(
            f"`{call}` did not answer within {timeout_s:g} s in {root} and was ended. A slow file system, a git hook "
            "or a filter may block it: run it there to see, then try again.",
            "git-trouble",
        )
    if ended.truncated:
        raise StateError(f"`{call}` in {root} prints more than batch-implement reads.", "git-trouble")
    stdout, stderr = (data.decode("utf-8", "surrogateescape") for data in (ended.stdout, ended.stderr))
    if ended.returncode != 0 and check:
        cause = stderr.strip()[:500].rstrip(".") or f"exit status {ended.returncode}, no output"
        raise StateError(f"`{call}` failed in {root}: {cause}. Fix this, then try again.", "git-trouble")
    return GitResult(ended.returncode, stdout, stderr)
