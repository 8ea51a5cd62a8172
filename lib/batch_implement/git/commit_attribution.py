"""What became of the history since a commit: what is new on HEAD, who made it, what was rewritten on the way.

    work = work_since(root, base)
    work.commits        those made here: a feature's own, amended ones among them
    work.rewritten      commits from before that are there under another name, or whose content is in another
    work.foreign        those that somebody else made
    work.lost           commits from before that HEAD has in no form
    work.brings         whether `commits` hold any work of their own: something that their parents do not have

As long as `base` is an ancestor of HEAD, nothing was rewritten and this takes four questions to git. After an amend
or a rebase the commits that HEAD has and `base` has not are held against those that `base` has and HEAD has not:

    rebased     the same patch, by git's own comparison; for a merge, the same merge made again
    amended     the same author, author date and subject, or in an amend with other words the same parents, but another
                patch: work went into an old commit
    absorbed    no commit of its own any more, but merging it would change nothing: it was squashed into another

At most the last `gitrepo.MOST_COMMITS` on each side are looked at. Only reads, but for trees that nothing refers to.
"""

from __future__ import annotations

from ..base.text import one_line
from ..core.errors import RefusedError
from . import git_client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Set, Tuple

MAX_SHOWN = 5  # commits in a message
_LOG_FORMAT = "%H%x00%P%x00%T%x00%an <%ae>%x00%at%x00%cn%x00%ce%x00%ct%x00%s"


class Commit:
    """A commit, as text: `parents` is a list, `author` has name and address, `committer` the address alone,
    `committer_name` the name; `date` is the author's, in seconds. `fresh`: it was committed when it was written.
    """

    __slots__ = ("author", "committer", "committer_name", "date", "is_original", "parents", "sha", "subject", "tree")

    def __init__(self, line: str) -> None:
        self.sha, parents, self.tree, self.author, self.date, *committed, self.subject = line.split("\0", 8)
        self.committer_name, self.committer, date = committed
        self.parents, self.is_original = parents.split(), date == self.date


class Attribution:
    """What `work_since` found (see the module); lists of Commit, oldest first.

    `rewritten` has an object each, as the state keeps it: `old`, `new` (None when absorbed), `how`.
    """

    __slots__ = ("commits", "foreign", "has_changes", "lost", "rewritten")

    def __init__(self) -> None:
        self.commits: List[Commit] = []
        self.foreign: List[Commit] = []
        self.lost: List[Commit] = []
        self.rewritten: List[Dict[str, Any]] = []
        self.has_changes = False


def attribute_commits(root: str, base: Optional[str]) -> Attribution:
    """The work between `base` (None: before the first commit) and HEAD.

    Refused when `base` is not in the repository any more.
    """
    new, gone = _list_both_sides(root, base)
    old_of: Dict[str, Tuple[Commit, str]] = {}
    left = gone
    if gone and base:
        old_of, left = _match_rewritten(root, base, new, gone)
    here = git_client.get_committer_email(root)
    work = Attribution()
    for commit in new:
        old, how = old_of.get(commit.sha, (None, ""))
        if old is not None:
            work.rewritten.append({"old": old.sha, "new": commit.sha, "how": how})
        if how == "rebased":
            continue
        theirs = here is not None and commit.committer.casefold() != here.casefold()
        (work.foreign if theirs else work.commits).append(commit)
    left = [commit for commit in left if len(commit.parents) < 2]  # a merge holds what its parents hold
    if left and base:
        if _is_contained(root, base):
            work.rewritten += [{"old": commit.sha, "new": None, "how": "absorbed"} for commit in left]
        else:
            work.lost = left
    work.has_changes = _have_changes(root, work.commits)
    return work


def list_abandoned_commits(root: str, base: Optional[str], since: str) -> List[Commit]:
    """Commits made after the time `since` (ISO 8601) that HEAD was at, and that neither HEAD nor `base` has: a reset or
    a checkout left them behind. Oldest first; empty where git keeps no log of HEAD.
    """
    log = ("rev-list", "--walk-reflogs", f"--max-count={git_client.MAX_COMMITS}", "HEAD", "--")
    seen = list(dict.fromkeys(git_client.run_git(root, *log, check=False).stdout.split()))
    kept = ["HEAD", *([base] if base else [])]
    return (_read_commits(root, seen, kept, f"--since={since}") or []) if seen else []


def format_commits(commits: List[Commit]) -> str:
    """Commits for a message: the last few, each with its subject and whose it is, as data."""
    shown = [
        f"{commit.sha[:12]} {one_line(commit.subject, 80)!r} by "
        + one_line(f"{commit.committer_name} <{commit.committer}>", 160)
        for commit in commits[-MAX_SHOWN:]
    ]
    return ", ".join(shown) + (f" and {len(commits) - MAX_SHOWN} more" if len(commits) > MAX_SHOWN else "")


def _list_both_sides(root: str, base: Optional[str]) -> Tuple[List[Commit], List[Commit]]:
    """What HEAD has and `base` has not, and the other way round."""
    new = _read_commits(root, ["HEAD"], [base] if base else [])
    if new is None:
        if git_client.get_head(root) is not None:
            raise RefusedError(
                f"The commit that the feature began at ({str(base)[:12]}) is not in this repository any more: a "
                "shallow fetch, or a clean-up after a rewrite, may have taken it. `git fetch --unshallow` may bring it "
                "back, then `batchctl done` again; else `batchctl fail --reason TEXT`, and the next attempt begins at "
                "HEAD.",
                "commits-missing",
            )
        return [], (_read_commits(root, [base], []) or []) if base else []
    return new, (_read_commits(root, [base], ["HEAD"]) or []) if base else []


def _read_commits(root: str, having: List[str], lacking: List[str], *limits: str) -> Optional[List[Commit]]:
    """The last commits that are reachable from `having` and not from `lacking`, oldest first, within git's own
    `limits`; None when git does not know one of these.
    """
    answer = git_client.run_git(
        root,
        "rev-list",
        "--topo-order",
        "--reverse",
        f"--max-count={git_client.MAX_COMMITS}",
        f"--format={_LOG_FORMAT}",
        "--encoding=UTF-8",
        *limits,
        "--end-of-options",
        *having,
        *(f"^{name}" for name in lacking),
        "--",
        check=False,
    )
    if answer.returncode != 0:
        return None
    return [Commit(line) for line in answer.stdout.split("\n") if "\0" in line]


def _match_rewritten(
    root: str, base: str, new: List[Commit], gone: List[Commit]
) -> Tuple[Dict[str, Tuple[Commit, str]], List[Commit]]:
    """For each new commit that is an old one rewritten, that one and how; and the old ones without a counterpart."""
    same = _find_same_patches(root, base, new, gone) if new else set()
    found: Dict[str, Tuple[Commit, str]] = {}
    used: Set[str] = set()

    def pair(key: Callable[[Commit], object], olds: List[Commit], news: List[Commit]) -> None:
        waiting: Dict[object, List[Commit]] = {}
        for commit in olds:
            if commit.sha not in used:
                waiting.setdefault(key(commit), []).append(commit)
        for commit in news:
            if commit.sha not in found and waiting.get(key(commit)):
                old = waiting[key(commit)].pop(0)
                used.add(old.sha)
                alike = commit.sha in same and old.sha in same
                found[commit.sha] = (old, "rebased" if alike or _is_same_merge(old, commit) else "amended")

    alike = [commit for commit in gone if commit.sha in same], [commit for commit in new if commit.sha in same]
    pair(lambda commit: (commit.author, commit.date, commit.subject), *alike)
    pair(lambda commit: (commit.author, commit.date), *alike)  # with other words
    pair(lambda commit: None, *alike)  # by another hand
    pair(lambda commit: (commit.author, commit.date, commit.subject), gone, new)
    # An amend with other words. A commit that was not made again is no amend, whatever it has in common with one.
    again = [commit for commit in new if not commit.is_original]
    pair(lambda commit: (commit.author, commit.date, *commit.parents), gone, again)
    return found, [commit for commit in gone if commit.sha not in used]


def _find_same_patches(root: str, base: str, new: List[Commit], gone: List[Commit]) -> Set[str]:
    """The commits of both lists whose patch is in the other list, too; merges, which git does not compare, never."""
    looked_at = {commit.sha for commit in (*new, *gone)}
    beyond = {parent for commit in (*new, *gone) for parent in commit.parents if parent not in looked_at}
    answer = git_client.run_git(
        root, "rev-list", "--cherry-mark", "--left-right", "--no-merges", "--stdin",
        input="".join(f"{word}\n" for word in (f"{base}...HEAD", *(f"^{parent}" for parent in sorted(beyond)))),
    )  # fmt: skip
    return {line[1:] for line in answer.stdout.split() if line.startswith("=")}


def _is_same_merge(old: Commit, new: Commit) -> bool:
    """Whether `new` is the merge `old` made again, on other parents or with other words."""
    return min(len(old.parents), len(new.parents)) > 1 and (old.parents != new.parents or old.tree == new.tree)


def _is_contained(root: str, commit: str) -> bool:
    """Whether HEAD has all that `commit` brought: merging it would change nothing. False when git cannot tell (a
    conflict, or a git before 2.38).
    """
    merged = git_client.run_git(root, "merge-tree", "--write-tree", "--no-messages", "HEAD", commit, check=False)
    return merged.returncode == 0 and merged.stdout.strip() == git_client.get_tree(root, "HEAD")


def _have_changes(root: str, commits: List[Commit]) -> bool:
    """Whether one of these changes a file, or, of a merge, has content that neither of its parents has."""
    merges = [commit for commit in commits if len(commit.parents) > 1]
    plain = [commit for commit in commits if len(commit.parents) < 2]
    return _have_diff(root, plain, "--root", "--name-only") or _have_diff(root, merges, "--cc")


def _have_diff(root: str, commits: List[Commit], *form: str) -> bool:
    if not commits:
        return False
    answer = git_client.run_git(
        root, "diff-tree", "--stdin", *form, "--no-commit-id", "--no-ext-diff", "--no-textconv",
        input="".join(f"{commit.sha}\n" for commit in commits),
    )  # fmt: skip
    return bool(answer.stdout.strip())
