"""Attribute the commits since a base: those of the feature, those from elsewhere, those that were rewritten or lost.

    work = attribute_commits(root, base, list_own)
    work.commits        those that `list_own` returns (see `own_commits`), amended ones included
    work.foreign        all others
    work.rewritten      commits before the base that HEAD has in another form
    work.lost           commits before the base that HEAD has in no form
    work.has_changes    whether `commits` change anything in sum: a commit and its revert do not

While `base` is an ancestor of HEAD nothing was rewritten, and four git calls are enough. After an amend or a rebase the
commits that only HEAD has are matched with those that only `base` has:

    rebased     the same patch, as `git rev-list --cherry-mark` compares it; the same merge made again
    amended     another patch, but the same author, author date and subject, or the same author, date and parents
    absorbed    no commit of its own, but merging it would change nothing: it was squashed into another

At most the last `git_client.MAX_COMMITS` of each side are read.
"""

from __future__ import annotations

from ..base.text import one_line
from ..core.errors import RefusedError
from . import git_client, merging

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Container, Dict, List, Optional, Sequence, Set, Tuple

MAX_SHOWN = 5  # commits in a message
LOG_FORMAT = "%H%x00%P%x00%T%x00%an <%ae>%x00%at%x00%cn%x00%ce%x00%ct%x00%s"


class Commit:
    """A commit, its fields as text: `author` with address, `committer` the address alone, `date` the author's."""

    __slots__ = ("author", "committer", "committer_name", "date", "is_original", "parents", "sha", "subject", "tree")

    def __init__(self, line: str) -> None:
        self.sha, parents, self.tree, self.author, self.date, *committed, self.subject = line.split("\0", 8)
        self.committer_name, self.committer, date = committed
        self.parents, self.is_original = parents.split(), date == self.date


class Attribution:
    """The commits since a base, oldest first; see the module.

    `rewritten` has objects as the state stores them: `old`, `new` (None when absorbed), `how`.
    """

    __slots__ = ("commits", "foreign", "has_changes", "lost", "rewritten")

    def __init__(self) -> None:
        self.commits: List[Commit] = []
        self.foreign: List[Commit] = []
        self.lost: List[Commit] = []
        self.rewritten: List[Dict[str, Any]] = []
        self.has_changes = False


def attribute_commits(
    root: str, base: Optional[str], list_own: Callable[[Sequence[str]], Container[str]]
) -> Attribution:
    """Attribute the commits between `base` (None: before the first commit) and HEAD.

    `list_own` returns the feature's own among the commits that it is given.

    Raises RefusedError when the repository does not have `base` any more.
    """
    new, old = _list_both_sides(root, base)
    originals: Dict[str, Tuple[Commit, str]] = {}
    unmatched = old
    if old and base:
        originals, unmatched = _match_rewritten(root, base, new, old)
    own = list_own([commit.sha for commit in new])
    work = Attribution()
    for commit in new:
        original, how = originals.get(commit.sha, (None, ""))
        if original is not None:
            work.rewritten.append({"old": original.sha, "new": commit.sha, "how": how})
        if how != "rebased":
            (work.commits if commit.sha in own else work.foreign).append(commit)
    unmatched = [commit for commit in unmatched if len(commit.parents) < 2]  # a merge has what its parents have
    if unmatched and base:
        if git_client.get_head(root) and merging.changes_nothing(root, "HEAD", base):
            work.rewritten += [{"old": commit.sha, "new": None, "how": "absorbed"} for commit in unmatched]
        else:
            work.lost = unmatched
    work.has_changes = _have_net_change(root, base, work)
    return work


def list_abandoned_commits(root: str, base: Optional[str], since: str) -> List[Commit]:
    """Return the commits that HEAD was at after `since` (ISO 8601) and that neither HEAD nor `base` has, oldest first.

    A reset or a checkout left them. Empty where git keeps no reflog of HEAD.
    """
    log = ("rev-list", "--walk-reflogs", f"--max-count={git_client.MAX_COMMITS}", "HEAD", "--")
    seen = list(dict.fromkeys(git_client.run_git(root, *log, check=False).stdout.split()))
    kept = ["HEAD", *([base] if base else [])]
    return (_read_commits(root, seen, kept, f"--since={since}") or []) if seen else []


def format_commits(commits: List[Commit]) -> str:
    """Return the last commits for a message, each with its subject and committer, and how many more there are."""
    shown = [
        f"{commit.sha[:12]} {one_line(commit.subject, 80)!r} by "
        + one_line(f"{commit.committer_name} <{commit.committer}>", 160)
        for commit in commits[-MAX_SHOWN:]
    ]
    return ", ".join(shown) + (f" and {len(commits) - MAX_SHOWN} more" if len(commits) > MAX_SHOWN else "")


def _list_both_sides(root: str, base: Optional[str]) -> Tuple[List[Commit], List[Commit]]:
    """Return the commits that only HEAD has, and those that only `base` has."""
    new = _read_commits(root, ["HEAD"], [base] if base else [])
    if new is None and git_client.get_head(root) is not None:
        raise RefusedError(
            f"The commit that the feature started from ({str(base)[:12]}) is not in this repository any more: a "
            "shallow fetch or a garbage collection after a rewrite may have removed it. Try `git fetch --unshallow`, "
            "then `batchctl done` again; else `batchctl fail --reason TEXT`: the next attempt starts from HEAD.",
            "commits-missing",
        )
    kept = [] if new is None else ["HEAD"]
    return new or [], (_read_commits(root, [base], kept) or []) if base else []


def _read_commits(root: str, having: List[str], lacking: List[str], *limits: str) -> Optional[List[Commit]]:
    """Return the last commits reachable from `having` and not from `lacking`, oldest first; None if one is unknown.

    `limits` are options of `git rev-list`.
    """
    result = git_client.run_git(
        root, "rev-list", "--topo-order", "--reverse", f"--max-count={git_client.MAX_COMMITS}",
        f"--format={LOG_FORMAT}", "--encoding=UTF-8", *limits,
        "--end-of-options", *having, *(f"^{name}" for name in lacking), "--", check=False,
    )  # fmt: skip
    if result.returncode != 0:
        return None
    return [Commit(line) for line in result.stdout.split("\n") if "\0" in line]


def _match_rewritten(
    root: str, base: str, new: List[Commit], old: List[Commit]
) -> Tuple[Dict[str, Tuple[Commit, str]], List[Commit]]:
    """Return for each new commit that is a rewritten old one that commit and how, and the unmatched old commits."""
    same_patch = _find_same_patches(root, base, new, old) if new else set()
    matches: Dict[str, Tuple[Commit, str]] = {}
    used: Set[str] = set()

    def pair(key: Callable[[Commit], object], old_commits: List[Commit], new_commits: List[Commit]) -> None:
        candidates: Dict[object, List[Commit]] = {}
        for commit in old_commits:
            if commit.sha not in used:
                candidates.setdefault(key(commit), []).append(commit)
        for commit in new_commits:
            if commit.sha not in matches and candidates.get(key(commit)):
                original = candidates[key(commit)].pop(0)
                used.add(original.sha)
                is_same = commit.sha in same_patch and original.sha in same_patch
                is_rebased = is_same or _is_same_merge(original, commit)
                matches[commit.sha] = (original, "rebased" if is_rebased else "amended")

    same_old = [commit for commit in old if commit.sha in same_patch]
    same_new = [commit for commit in new if commit.sha in same_patch]
    pair(lambda commit: (commit.author, commit.date, commit.subject), same_old, same_new)
    pair(lambda commit: (commit.author, commit.date), same_old, same_new)  # another message
    pair(lambda commit: None, same_old, same_new)  # another author
    pair(lambda commit: (commit.author, commit.date, commit.subject), old, new)
    # An amend with another message. A commit that was not made again is no amend, whatever it has in common with one.
    made_again = [commit for commit in new if not commit.is_original]
    pair(lambda commit: (commit.author, commit.date, *commit.parents), old, made_again)
    return matches, [commit for commit in old if commit.sha not in used]


def _find_same_patches(root: str, base: str, new: List[Commit], old: List[Commit]) -> Set[str]:
    """Return the commits whose patch is in both lists. Merges are never among them: git does not compare them."""
    listed = {commit.sha for commit in (*new, *old)}
    beyond = sorted({parent for commit in (*new, *old) for parent in commit.parents if parent not in listed})
    lines = "".join(f"{revision}\n" for revision in (f"{base}...HEAD", *(f"^{parent}" for parent in beyond)))
    result = git_client.run_git(
        root, "rev-list", "--cherry-mark", "--left-right", "--no-merges", "--stdin", input=lines
    )
    return {line[1:] for line in result.stdout.split() if line.startswith("=")}


def _is_same_merge(old: Commit, new: Commit) -> bool:
    """Return whether `new` is the merge `old` made again, on other parents or with another message."""
    return min(len(old.parents), len(new.parents)) > 1 and (old.parents != new.parents or old.tree == new.tree)


def _have_net_change(root: str, base: Optional[str], work: Attribution) -> bool:
    """Return whether a file that own commits change is in HEAD neither as `base` nor as foreign commits have it."""
    merges = [commit.sha for commit in work.commits if len(commit.parents) > 1]
    others = [commit.sha for commit in work.commits if len(commit.parents) < 2]
    # Of a merge only what neither parent has: the rest was changed by other commits.
    paths = _list_paths(root, others, "--root") | _list_paths(root, merges, "--cc")
    if paths:
        paths &= _list_difference(root, base)
    foreign = [commit.sha for commit in work.foreign]
    tips = git_client.run_git(root, "merge-base", "--independent", *foreign).stdout.split() if foreign else []
    for tip in tips:
        if not any(git_client.has_commit(root, commit.sha, tip) for commit in work.commits):
            paths &= _list_difference(root, tip)
    return bool(paths)


def _list_paths(root: str, commits: List[str], *options: str) -> Set[str]:
    """Return the paths that these commits change."""
    if not commits:
        return set()
    fixed = ("-r", "--name-only", "--no-renames", "-z", "--no-commit-id", "--no-ext-diff", "--no-textconv")
    lines = "".join(f"{commit}\n" for commit in commits)
    output = git_client.run_git(root, "diff-tree", "--stdin", *options, *fixed, input=lines).stdout
    return set(output.split("\0")) - {""}


def _list_difference(root: str, commit: Optional[str]) -> Set[str]:
    """Return the paths that differ between `commit` (None: nothing) and HEAD."""
    if commit is None:
        command = ["ls-tree", "-r", "--full-tree", "--name-only", "-z", "HEAD"]
    else:
        command = ["diff-tree", "-r", "--name-only", "--no-renames", "-z", commit, "HEAD"]
    return set(git_client.run_git(root, *command).stdout.split("\0")) - {""}
