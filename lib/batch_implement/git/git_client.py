"""Run git in the project.

Every call is a list of arguments, never a shell command. All functions take the project's root, and raise StateError
with git's own message. Commits since a base, rewritten ones included, are in `commit_attribution`.
"""

from __future__ import annotations

import os

from ..base import process_identity, project_paths, subprocesses
from ..core.errors import StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, Iterator, List, Mapping, Optional

TIMEOUT_S = 60
MERGE_S = 600
MAX_COMMITS = 100
OLDEST_VERSION = (2, 38)  # for `git merge-tree --write-tree`
_STATE_PATH = f"{project_paths.STATE_FOLDER}/{project_paths.STATE_NAME}"
# Operations of git that may be in progress: the file in the git folder that shows it, the name, how a user ends it, and
# how it is left when its feature has failed: a rebase is aborted, everything else keeps the commits that it made.
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


# What git ends with when the index is not readable, as after an edit of all files that entered `.git`.
_INDEX_ERRORS = (
    "index file corrupt",
    "index file smaller than expected",
    "unordered stage entries",
    "multiple stage entr",
)
_NEW_INDEX = '`rm "$(git rev-parse --git-path index)" && git reset`'  # a linked worktree has an index of its own


class GitResult:
    """The exit status and the output of git; bytes that are not UTF-8 are surrogates."""

    __slots__ = ("returncode", "stderr", "stdout")

    def __init__(self, returncode: int, stdout: str, stderr: str) -> None:
        self.returncode, self.stdout, self.stderr = returncode, stdout, stderr


def is_repository(root: str) -> bool:
    """Return whether the root is inside a git working tree; False without git."""
    try:
        return run_git(root, "rev-parse", "--is-inside-work-tree").stdout.strip() == "true"
    except StateError:
        return False


def explain_missing_repository(root: str) -> str:
    """Return why git does not work in the root, and what to do, without the final full stop."""
    import shlex

    message = run_git(root, "rev-parse", "--is-inside-work-tree", check=False).stderr
    if "dubious ownership" in message or "unsafe repository" in message:
        return (
            f"git refuses to work in {root}, because it belongs to somebody else. If you trust it: `git config "
            f"--global --add safe.directory {shlex.quote(root)}`"
        )
    return f"{root} is not a git repository. Start in one, or run `git init` and commit the files"


def get_head(root: str) -> Optional[str]:
    """Return the commit of HEAD; None before the first commit."""
    return _resolve(root, "HEAD")


def get_branch_tip(root: str, branch: str) -> Optional[str]:
    """Return the commit of a branch; None when the branch does not exist."""
    return _resolve(root, f"refs/heads/{branch}")


def resolve_commit(root: str, name: str) -> Optional[str]:
    """Return the commit with this id; None for anything else."""
    return _resolve(root, name) if len(name) >= 40 and name.isalnum() else None


def _resolve(root: str, ref: str) -> Optional[str]:
    return run_git(root, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}", check=False).stdout.strip() or None


def get_branch(root: str) -> Optional[str]:
    """Return the current branch; None when HEAD is detached."""
    return run_git(root, "symbolic-ref", "--quiet", "--short", "HEAD", check=False).stdout.strip() or None


def get_top(root: str) -> str:
    """Return the folder of the working tree that `root` is in."""
    return run_git(root, "rev-parse", "--show-toplevel").stdout[:-1]


def get_tree(root: str, commit: Optional[str]) -> Optional[str]:
    """Return the tree of a commit; None when `commit` is None."""
    return run_git(root, "rev-parse", "--verify", f"{commit}^{{tree}}").stdout.strip() if commit else None


def write_empty_tree(root: str) -> str:
    """Write the tree without files, which stands for what was before the first commit, and return its name."""
    return run_git(root, "hash-object", "-w", "-t", "tree", "--stdin", input="").stdout.strip()


def list_commits_since(root: str, base: Optional[str]) -> List[str]:
    """Return the commits of HEAD that `base` does not have, oldest first; at most the last MAX_COMMITS."""
    since = ["HEAD", "--not", base] if base else ["HEAD"]
    return run_git(
        root, "rev-list", "--topo-order", "--reverse", f"--max-count={MAX_COMMITS}", *since, "--", check=False
    ).stdout.split()


def has_commit(root: str, commit: Optional[str], at: str = "HEAD") -> bool:
    """Return whether `commit` is in the history of `at`; False for None and for an unknown commit."""
    if not commit:
        return False
    return run_git(root, "merge-base", "--is-ancestor", commit, at, check=False).returncode == 0


def get_merge_base(root: str, one: str, other: str) -> Optional[str]:
    """Return the newest commit in the history of both; None without one, and when one of them does not exist."""
    return run_git(root, "merge-base", one, other, check=False).stdout.strip() or None


def has_object(root: str, commit: str) -> bool:
    """Return whether the repository has the commit, also where no ref has it."""
    return run_git(root, "cat-file", "-e", f"{commit}^{{commit}}", check=False).returncode == 0


def compare_branch_with_head(root: str, branch: str) -> str:
    """Return what a branch is to HEAD: `missing` (also when HEAD has no commit), `equal`, `ahead`, `behind` or
    `diverged`.
    """
    head, tip = get_head(root), get_branch_tip(root, branch)
    if head is None or tip is None:
        return "missing"
    if head == tip:
        return "equal"
    if has_commit(root, head, tip):
        return "ahead"
    return "behind" if has_commit(root, tip, head) else "diverged"


def operation_in_progress(root: str) -> Optional[tuple[str, str]]:
    """Return the name of a git operation that is in progress and how to end it, or None. Does not run git."""
    operation = find_operation(root)
    return operation[1:3] if operation else None


def find_operation(root: str) -> Optional[tuple[str, str, str, tuple[str, ...]]]:
    """Return the row of _OPERATIONS for the git operation that is in progress, or None. Does not run git."""
    git_dir = project_paths.find_git_dir(root)
    return next((row for row in _OPERATIONS if git_dir and os.path.exists(f"{git_dir}/{row[0]}")), None)


def list_changes(root: str) -> tuple[List[str], List[str]]:
    """Return the uncommitted paths: tracked ones that are modified or staged, and untracked ones.

    Paths are relative to the top of the working tree, an untracked folder ends with `/`; the state file is left out.
    """
    tracked: List[str] = []
    untracked: List[str] = []
    for kind, _, paths in _iter_status(root):
        (untracked if kind == "?" else tracked).extend(path for path in paths if not path.startswith(_STATE_PATH))
    return tracked, untracked


def list_changed_submodules(root: str) -> List[str]:
    """Return the submodules with uncommitted content, which no commit in the root can include."""
    return [paths[0] for _, submodule, paths in _iter_status(root) if "M" in submodule or "U" in submodule]


def list_submodules(root: str) -> List[str]:
    """Return the folders of the submodules that are checked out, as absolute paths."""
    top = get_top(root)
    entries = run_git(top, "ls-files", "--stage", "-z").stdout.split("\0")
    links = [f"{top}/{entry.partition(chr(9))[2]}" for entry in entries if entry.startswith("160000 ")]
    return [path for path in links if os.path.lexists(f"{path}/.git")]


def has_ref(root: str, ref: str) -> bool:
    """Return whether the repository has this ref."""
    return run_git(root, "show-ref", "--verify", "--quiet", ref, check=False).returncode == 0


def list_moved_submodules(root: str) -> List[str]:
    """Return the submodules at another commit than the one that is staged."""
    return [paths[0] for _, submodule, paths in _iter_status(root) if "C" in submodule]


def list_ignored_paths(root: str) -> List[str]:
    """Return the ignored paths, a folder that is ignored as a whole with `/` at its end; the state file is left out."""
    entries = _iter_status(root, "--ignored=matching")
    return [paths[0] for kind, _, paths in entries if kind == "!" and not paths[0].startswith(_STATE_PATH)]


def _iter_status(root: str, *options: str) -> Iterator[tuple[str, str, List[str]]]:
    """Yield kind, submodule state and paths of each entry of `git status --porcelain=v2`; see its manual.

    Kinds are 1 and 2 (changed; 2 has two paths), u (unmerged), ? (untracked) and ! (ignored). The submodule state is
    `N...` for a file, else `S` and `C` (another commit), `M` and `U` (content).
    """
    fixed = ("--porcelain=v2", "-z", "--untracked-files=normal")
    fields = iter(run_git(root, "--no-optional-locks", "status", *fixed, *options).stdout.split("\0"))
    for field in fields:
        kind = field[:1]
        if kind in ("?", "!"):
            yield kind, "N...", [field[2:]]
        elif kind in ("1", "2", "u"):
            columns = field.split(" ", {"1": 8, "2": 9, "u": 10}[kind])
            yield kind, columns[2], [columns[-1], next(fields)] if kind == "2" else [columns[-1]]


def list_uncommitted_paths(root: str, known: Iterable[str]) -> List[str]:
    """Return the uncommitted paths without the untracked ones that are in `known` or below a folder in it."""
    tracked, untracked = list_changes(root)
    return tracked + _exclude_known(root, untracked, list(known))


def _exclude_known(root: str, paths: List[str], known: List[str]) -> List[str]:
    """Return the paths that are neither in `known` nor below a folder in it; a folder with known paths is expanded."""
    paths = exclude_known(paths, known)
    parents = {parent for path in known for parent in _iter_parents(_as_stored(path))}
    mixed = [path for path in paths if path.endswith("/") and _as_stored(path) in parents]
    if mixed:
        output = run_git(
            root, "ls-files", "--others", "--exclude-standard", "-z", "--", *mixed, literal_paths=True
        ).stdout
        paths = [path for path in paths if path not in mixed] + exclude_known(output.split("\0")[:-1], known)
    return sorted(paths)


def exclude_known(paths: Iterable[str], known: Iterable[str]) -> List[str]:
    """Return the paths that are neither in `known`, as the state has it, nor below a folder in it."""
    names = {_as_stored(path) for path in known}
    if not names:
        return list(paths)
    stored = ((path, _as_stored(path)) for path in paths)
    return [path for path, name in stored if name not in names and names.isdisjoint(_iter_parents(name))]


def _iter_parents(path: str) -> Iterator[str]:
    """Yield the folders above a path, each with a `/` at its end."""
    end = path.find("/")
    while 0 <= end < len(path) - 1:
        yield path[: end + 1]
        end = path.find("/", end + 1)


def _as_stored(path: str) -> str:
    """Return a path as the state has it: bytes that are not UTF-8 are question marks there."""
    return path if path.isascii() else path.encode("utf-8", "replace").decode()


def exclude_state_file(root: str) -> None:
    """List the state file in the exclude file of the repository that its folder is in, so that `git add -A` adds it
    nowhere. `.claude` may be a submodule or a repository of its own.
    """
    folder, name = f"{root}/{project_paths.STATE_FOLDER}", project_paths.STATE_NAME
    if not os.path.isdir(folder):
        folder, name = root, _STATE_PATH
    path = os.path.join(folder, run_git(folder, "rev-parse", "--git-path", "info/exclude").stdout.strip("\n"))
    prefix = run_git(folder, "rev-parse", "--show-prefix").stdout.strip("\n")
    add_excludes(path, [f"/{prefix}{name}*"])


def add_excludes(path: str, lines: Iterable[str]) -> None:
    """Append the lines that the exclude file at `path` does not have yet."""
    try:
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                text = file.read()
        except FileNotFoundError:
            text = ""
        known = text.splitlines()
        missing = [line for line in lines if line not in known]
        if missing:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "a", encoding="utf-8", errors="surrogateescape") as file:
                file.write(("" if not text or text.endswith("\n") else "\n") + "\n".join(missing) + "\n")
    except OSError as error:
        raise StateError(
            f"{path} cannot be written: {error.strerror}. The batch would end up in its own commits; fix this first.",
            "disk-trouble",
        ) from error


def has_identity(root: str) -> bool:
    """Return whether git can make a commit here: it knows or derives a name and an e-mail address."""
    return run_git(root, "var", "GIT_COMMITTER_IDENT", check=False).returncode == 0


def get_committer_email(root: str) -> Optional[str]:
    """Return the configured e-mail address of the committer; None when git would derive one from the host name."""
    result = run_git(root, "-c", "user.useConfigOnly=true", "var", "GIT_COMMITTER_IDENT", check=False)
    return result.stdout.rpartition(">")[0].rpartition("<")[2] if result.returncode == 0 else None


def require_version() -> str:
    """Return the output of `git --version`. Raise StateError for a git that is older than OLDEST_VERSION."""
    text = run_git("/", "--version").stdout.strip()
    numbers = [int(part) for part in [*text.split(), "", "", ""][2].split(".")[:2] if part.isdigit()]
    if tuple(numbers) < OLDEST_VERSION:
        oldest = ".".join(map(str, OLDEST_VERSION))
        raise StateError(f"{text} is too old: git {oldest} or newer is needed first on PATH. Update it.", "git-trouble")
    return text


def format_paths(paths: List[str]) -> str:
    """Return at most ten paths for a message, quoted as git does it, and how many more there are."""
    return ", ".join(map(_quote_path, paths[:10])) + (f" and {len(paths) - 10} more" if len(paths) > 10 else "")


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
    environment: Optional[Mapping[str, str]] = None,
) -> GitResult:
    """Run git in the root and return its exit status and output; `input` goes to its standard input.

    Raises StateError when git does not end within `timeout_s` seconds (None: TIMEOUT_S) or, with `check`, fails.
    `literal_paths`: paths among the arguments are never patterns. `environment` adds to that of this process.
    """
    timeout_s = TIMEOUT_S if timeout_s is None else timeout_s
    call = " ".join(("git", *arguments[:2]))
    cleared = process_identity.REPOSITORY_VARIABLES
    variables = {name: value for name, value in os.environ.items() if name not in cleared}
    variables.update(LC_ALL="C", GIT_TERMINAL_PROMPT="0", SSH_ASKPASS_REQUIRE="never", **(environment or {}))
    if literal_paths:
        variables["GIT_LITERAL_PATHSPECS"] = "1"
    data = None if input is None else input.encode("utf-8", "surrogateescape")
    try:
        ended = subprocesses.run(["git", "-C", root, *arguments], timeout_s=timeout_s, env=variables, input=data)
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
    if ended.returncode < 0:  # that is no answer, also to a question that git answers by failing
        raise StateError(f"`{call}` in {root} died of signal {-ended.returncode}. Try again.", "git-trouble")
    stdout, stderr = (data.decode("utf-8", "surrogateescape") for data in (ended.stdout, ended.stderr))
    if ended.returncode != 0 and check:
        cause = stderr.strip()[:500].rstrip(".") or f"exit status {ended.returncode}, no output"
        fix = "Fix this, then try again"
        if any(message in stderr for message in _INDEX_ERRORS):
            fix = f"The index is damaged; this makes it new from the last commit: {_NEW_INDEX}"
        raise StateError(f"`{call}` failed in {root}: {cause}. {fix}.", "git-trouble")
    return GitResult(ended.returncode, stdout, stderr)
