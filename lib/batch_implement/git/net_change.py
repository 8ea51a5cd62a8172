"""Decide whether completed features are still there: whether the net change of their commits is in HEAD.

    presence = find_presence(root, [list_commits(evidence), ...])[0]
    presence.status     PRESENT, REVERTED, UNMERGED or MISSING
    presence.command    what brings the feature back, `git merge BRANCH`; empty when it is present or nothing does

A feature is present when its commits are in HEAD, or their change is under other commits: rebased, cherry-picked,
amended, squashed alone or with a whole branch. Later edits of the same lines do not matter. It is reverted when a
commit in HEAD says so (unless that one was reverted), or when nothing of its change is left in HEAD's tree. It is
unmerged when a branch has its commits, as they were or rebased. A feature without commits is present.

The net change of commits that follow each other is the difference between the first one's parent and the last one.
Git objects are written (commits that no ref has, the same ones each time), but no refs and no files.
"""

from __future__ import annotations

import re
from typing import Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from . import git_client, merging
from .commit_attribution import LOG_FORMAT, Commit

PRESENT, REVERTED, UNMERGED, MISSING = "present", "reverted", "unmerged", "missing"
_OBJECT_NAME = re.compile(r"[0-9a-f]{7,64}")
_REVERT = re.compile(
    r"[Tt]his reverts commits? ((?:[0-9a-f]{7,64}\b(?:,? and |[,\s]+)?)+)(?:,?\s*reversing\s+changes\s+made\s+to\s+"
    r"([0-9a-f]{7,64}))?"
)
_PAIR = re.compile(r"([0-9a-f]{40,64}) ([0-9a-f]{40,64})\n")
_RAW_ENTRY = re.compile(r":(\d+) (\d+) ([0-9a-f]+) ([0-9a-f]+) \w+\0([^\0]*)\0")
_CLOCK_SKEW_S = 86_400
_NO_MODE = "000000"  # of a path that does not exist


class Presence(NamedTuple):
    """Whether a feature is in HEAD, the branch that has it when it is unmerged, and the command that brings it back.

    `command` is empty for a feature that is present, or whose commits the repository does not have any more.
    """

    status: str
    branch: str = ""
    command: str = ""


class _Group(NamedTuple):
    """Commits that follow each other; their net change leads from tree `old` to tree `new`. `parent` is the commit
    before them, None at the root.
    """

    commits: List[Commit]
    parent: Optional[str]
    old: str
    new: str


def list_commits(evidence: Mapping[str, object]) -> List[str]:
    """Return the commits of a completed feature, oldest first, from its evidence; none if it needed no change."""
    if "no_change" in evidence:
        return []
    commits = evidence.get("commits") or [evidence.get("commit")]
    return [commit for commit in commits if isinstance(commit, str)] if isinstance(commits, list) else []


def find_presence(root: str, features: Sequence[Sequence[str]], head: str = "HEAD") -> List[Presence]:
    """Return for each feature, given as its commits (oldest first), whether it is in `head`.

    Raises StateError when git fails.
    """
    head_commit = git_client.run_git(
        root, "rev-parse", "--verify", "--quiet", f"{head}^{{commit}}", check=False
    ).stdout.strip()
    if not any(features) or not head_commit:
        return [Presence(MISSING if commits else PRESENT) for commits in features]
    return _History(root, head_commit, features).judge()


class _History:
    """What git says about the commits of some features, asked for all of them at once where possible."""

    def __init__(self, root: str, head: str, features: Sequence[Sequence[str]]) -> None:
        self.root, self.head = root, head
        self.head_tree = str(git_client.get_tree(root, head))
        self.empty_tree = git_client.write_empty_tree(root)
        names = self._resolve({name for commits in features for name in commits})
        self.features = [[names.get(name) for name in commits] for commits in features]
        known = list(dict.fromkeys(names.values()))
        self.commits = {commit.sha: commit for commit in self._read_commits(known, "--no-walk=unsorted")}
        self.outside = (
            set(self._git("rev-list", "--stdin", text=_lines([*known, f"^{head}"])).split()) if known else set()
        )
        parents = {commit.parents[0] for commit in self.commits.values() if commit.parents}
        self.trees = {
            **{commit.sha: commit.tree for commit in self._read_commits(parents, "--no-walk=unsorted")},
            **{sha: commit.tree for sha, commit in self.commits.items()},
        }
        self.groups = [self._group([self.commits[sha] for sha in commits if sha]) for commits in self.features]
        self.changes = self._read_changes({(group.old, group.new) for groups in self.groups for group in groups})
        self.in_head = self._read_head({path for changes in self.changes.values() for path in changes})
        self.reverts: Optional[Dict[str, List[str]]] = None
        self.newer: Optional[List[Commit]] = None
        self.squashes: Optional[Dict[str, List[str]]] = None

    def judge(self) -> List[Presence]:
        """Return the presence of each feature."""
        return [self._judge_feature(shas, groups) for shas, groups in zip(self.features, self.groups)]

    def _judge_feature(self, shas: Sequence[Optional[str]], groups: List[_Group]) -> Presence:
        known = [sha for sha in shas if sha]
        if len(known) < len(shas):
            return self._find_elsewhere(known) if known else Presence(MISSING)
        groups = [group for group in groups if group.old != group.new]
        if all(self._is_in_tree(group) for group in groups):
            return Presence(PRESENT)
        missing = [commit.sha for group in groups for commit in group.commits if commit.sha in self.outside]
        if not missing:
            return self._judge_history(known, known, groups)
        if all(self._merges_into_head(group.old, group.new) for group in groups):
            return Presence(PRESENT)
        equivalents = self._find_equivalents(missing, groups)
        if equivalents:
            return self._judge_history(known, [*set(known).difference(missing), *equivalents], groups)
        return self._find_elsewhere(known)

    def _judge_history(self, own: Sequence[str], names: Sequence[str], groups: List[_Group]) -> Presence:
        """Judge a feature whose change came into HEAD with the commits `names`: it is there unless it was reverted."""
        reverting = [commit for name in names for commit in self._list_reverts().get(name, ()) if commit not in own]
        if reverting:
            if all(self._merges_into_head(group.old, group.new) for group in groups):
                return Presence(PRESENT)  # it came back by other commits
            return Presence(REVERTED, command=_format_command("revert", dict.fromkeys(reverting)))
        if all(self._is_undone(group) for group in groups):
            return Presence(REVERTED, command=_format_command("cherry-pick", own))
        return Presence(PRESENT)

    def _find_elsewhere(self, known: List[str]) -> Presence:
        """Return the presence of a feature that is not in HEAD: on a branch, or missing."""
        branch = self._find_branch(known[-1]) if known[-1] in self.outside else ""
        if not branch:
            unmerged = self._read_commits([f"^{self.head}"], "--branches")
            rewritten = {_identify(commit): commit.sha for commit in reversed(unmerged)}
            if all(_identify(self.commits[sha]) in rewritten for sha in known):
                branch = self._find_branch(rewritten[_identify(self.commits[known[-1]])])
        if branch:
            return Presence(UNMERGED, branch, _format_command("merge", [branch]))
        missing = [sha for sha in known if sha in self.outside]
        return Presence(MISSING, command=_format_command("cherry-pick", missing) if missing else "")

    # -- the tree ------------------------------------------------------------------------------------------------------

    def _is_in_tree(self, group: _Group) -> bool:
        """Return whether every path that the group changes is in HEAD as the group left it."""
        changes = self.changes[group.old, group.new]
        return all(self.in_head[path] == new for path, (_, new) in changes.items())

    def _is_undone(self, group: _Group) -> bool:
        """Return whether nothing of the group's change is left in HEAD."""
        changes = self.changes[group.old, group.new]
        if any(self.in_head[path] == new for path, (_, new) in changes.items()):
            return False
        is_as_before = all(self.in_head[path] == old for path, (old, _) in changes.items())
        if not is_as_before and not self._merges_into_head(group.new, group.old):
            return False
        added = {path for path, (old, _) in changes.items() if old.startswith(_NO_MODE)}
        return not added or added.isdisjoint(self._list_renamed(group.new))

    def _list_renamed(self, tree: str) -> Set[str]:
        """Return the paths of a tree that are in HEAD by another name."""
        output = self._git(
            "diff-tree", "-r", "-z", "-M", "--diff-filter=R", "--name-status", tree, self.head_tree
        ).split("\0")
        return set(output[1::3])

    def _merges_into_head(self, old: str, new: str) -> bool:
        """Return whether the change from tree `old` to tree `new`, merged into HEAD, changes nothing there."""
        return merging.changes_nothing(self.root, self.head_tree, new, base=old)

    # -- other commits with the same change ----------------------------------------------------------------------------

    def _find_equivalents(self, missing: Sequence[str], groups: List[_Group]) -> List[str]:
        """Return the commits in HEAD that have the change of the commits `missing`; none if one has no equivalent."""
        newer = self._list_newer()
        by_identity: Dict[object, str] = {}
        for commit in newer:
            by_identity.setdefault(_identify(commit), commit.sha)
        found: List[str] = []
        for group in groups:
            wanted = [commit for commit in group.commits if commit.sha in missing]
            if not wanted:
                continue
            same = [by_identity.get(_identify(commit)) or self._find_amended(commit) for commit in wanted]
            if not all(same):
                same = self._find_same_patches([commit.sha for commit in wanted], group.commits[-1].sha, group.parent)
            if not same:
                squash = merging.write_nameless_commit(self.root, group.new, group.parent)
                same = self._find_same_patches([squash], squash, group.parent)
            same = same or self._list_squashes().get(group.commits[-1].sha, [])
            if not same:
                return []
            found += same
        return found

    def _find_amended(self, commit: Commit) -> str:
        """Return the commit in HEAD that is `commit` with another message and perhaps more changes; or nothing."""
        wanted = self._list_paths(commit.sha)
        for other in self._list_newer():
            is_made_again = not other.is_original and (other.author, other.date) == (commit.author, commit.date)
            if is_made_again and wanted <= self._list_paths(other.sha):
                return other.sha
        return ""

    def _list_paths(self, sha: str) -> Set[str]:
        names = self._git("diff-tree", "-r", "-z", "--root", "--no-commit-id", "--name-only", "--no-renames", sha)
        return set(names.split("\0")[:-1])

    def _find_same_patches(self, wanted: List[str], tip: str, before: Optional[str]) -> List[str]:
        """Return the commits in HEAD with the patches of `wanted`, which lead to `tip`; none if one is not there."""
        marked = self._git(
            "rev-list", "--cherry-mark", "--left-right", "--no-merges", "--stdin",
            text=_lines([f"{self.head}...{tip}", *([f"^{before}"] if before else [])]),
        ).split()  # fmt: skip
        marks = {line[1:] for line in marked if line.startswith("=")}
        newer = {commit.sha for commit in self._list_newer()}
        return sorted(marks & newer) if marks.issuperset(wanted) else []

    def _list_squashes(self) -> Dict[str, List[str]]:
        """Return for commits of branches that were squashed into one commit of HEAD that commit."""
        if self.squashes is None:
            self.squashes = {}
            last = sorted({commits[-1] for commits in self.features if commits and commits[-1] in self.outside})
            tips = self._git("merge-base", "--independent", *last[:500]).split() if last else []
            for tip in tips:
                base = git_client.get_merge_base(self.root, self.head, tip)
                tree = git_client.get_tree(self.root, tip)
                if not base or tree is None:
                    continue
                squash = merging.write_nameless_commit(self.root, tree, base)
                same = self._find_same_patches([squash], squash, base)
                for sha in self._git("rev-list", tip, f"^{self.head}", "--").split() if same else ():
                    self.squashes[sha] = same
        return self.squashes

    def _list_newer(self) -> List[Commit]:
        """Return the commits of HEAD that came after the features' commits, or beside them, newest first."""
        if self.newer is None:
            since = min(int(commit.date) for commit in self.commits.values()) - _CLOCK_SKEW_S
            self.newer = self._read_commits([self.head], f"--since=@{max(since, 0)}")
        return self.newer

    def _list_reverts(self) -> Dict[str, List[str]]:
        """Return by commit the commits in HEAD that revert it and are not reverted themselves."""
        if self.reverts is None:
            since = min(int(commit.date) for commit in self.commits.values()) - _CLOCK_SKEW_S
            text = self._git(
                "rev-list", "--topo-order", f"--since=@{max(since, 0)}", "--grep=his reverts commit",
                "--format=%x00%H%x00%B", self.head, "--",
            )  # fmt: skip
            fields = text.split("\0")[1:]
            messages = list(zip(fields[::2], fields[1::2]))
            notes = {sha: _REVERT.findall(body) for sha, body in messages}
            words = {
                name for found in notes.values() for note in found for name in _OBJECT_NAME.findall(" ".join(note))
            }
            names = self._resolve(words)
            parents = {
                commit.sha: commit.parents for commit in self._read_commits(names.values(), "--no-walk=unsorted")
            }
            self.reverts = {}
            for sha, found in notes.items():  # a commit comes after those that revert it
                if sha in self.reverts:
                    continue
                for targets, mainline in found:
                    for target in filter(None, map(names.get, _OBJECT_NAME.findall(targets))):
                        reverted = [target]
                        if len(parents[target]) > 1:
                            side = names.get(mainline) or parents[target][0]
                            reverted = self._git("rev-list", target, f"^{side}", "--").split()
                        for commit in reverted:
                            self.reverts.setdefault(commit, []).append(sha)
        return self.reverts

    # -- git -----------------------------------------------------------------------------------------------------------

    def _git(self, *arguments: str, text: Optional[str] = None) -> str:
        return git_client.run_git(self.root, *arguments, input=text).stdout

    def _resolve(self, names: Iterable[str]) -> Dict[str, str]:
        """Return the full name of each commit, by the name that it was asked for; unknown ones are left out."""
        wanted = [name for name in names if _OBJECT_NAME.fullmatch(name)]
        lines = self._git("cat-file", "--batch-check=%(objectname) %(objecttype)", text=_lines(wanted)).splitlines()
        return (
            {name: line.split(" ")[0] for name, line in zip(wanted, lines) if line.endswith(" commit")}
            if wanted
            else {}
        )

    def _read_commits(self, revisions: Iterable[str], *options: str) -> List[Commit]:
        """Return the commits that `git rev-list` names for these revisions, in its order."""
        wanted = list(revisions)
        if not wanted:
            return []
        output = self._git(
            "rev-list", "--stdin", f"--format={LOG_FORMAT}", "--encoding=UTF-8", *options, text=_lines(wanted)
        )
        return [Commit(line) for line in output.split("\n") if "\0" in line]

    def _group(self, commits: List[Commit]) -> List[_Group]:
        """Return the groups of the commits. Merges have what their parents have, and count only when they are alone."""
        groups: List[_Group] = []
        for commit in [commit for commit in commits if len(commit.parents) < 2] or commits:
            parent = commit.parents[0] if commit.parents else None
            last = next((group for group in groups if group.commits[-1].sha == parent), None)
            if last is not None:
                groups.remove(last)
                groups.append(last._replace(commits=[*last.commits, commit], new=commit.tree))
            else:
                old = self.trees[parent] if parent else self.empty_tree
                groups.append(_Group([commit], parent, old, commit.tree))
        return groups

    def _read_changes(self, pairs: Set[Tuple[str, str]]) -> Dict[Tuple[str, str], Dict[str, Tuple[str, str]]]:
        """Return for each pair of trees the paths that differ: what they are before and after, as mode and object."""
        changes: Dict[Tuple[str, str], Dict[str, Tuple[str, str]]] = {pair: {} for pair in pairs}
        wanted = _lines(f"{old} {new}" for old, new in pairs)
        text = self._git("diff-tree", "--stdin", "-r", "-z", "--raw", "--no-renames", text=wanted) if pairs else ""
        at, pair = 0, ("", "")
        while at < len(text):
            header = _PAIR.match(text, at)
            entry = None if header else _RAW_ENTRY.match(text, at)
            if header:
                pair, at = (header[1], header[2]), header.end()
            elif entry:
                changes[pair][entry[5]] = (f"{entry[1]} {entry[3]}", f"{entry[2]} {entry[4]}")
                at = entry.end()
            else:
                raise ValueError(f"unexpected output of git diff-tree: {text[at : at + 100]!r}")
        return changes

    def _read_head(self, paths: Set[str]) -> Dict[str, str]:
        """Return what HEAD has at each path, as mode and object, zeros where it has nothing."""
        found = dict.fromkeys(paths, f"{_NO_MODE} {'0' * len(self.head)}")
        wanted = sorted(paths)
        for start in range(0, len(wanted), 500):
            output = git_client.run_git(
                self.root, "ls-tree", "-z", "--full-tree", self.head, "--", *wanted[start : start + 500],
                literal_paths=True,
            ).stdout  # fmt: skip
            for line in output.split("\0")[:-1]:
                about, _, path = line.partition("\t")
                mode, _, sha = about.split(" ")
                found[path] = f"{mode} {sha}"
        return found

    def _find_branch(self, commit: str) -> str:
        """Return a branch that has a commit: the batch's own, else a local one, else a remote one; or nothing."""
        output = self._git(
            "for-each-ref", "--format=%(refname)", f"--contains={commit}", "refs/heads", "refs/remotes"
        ).splitlines()
        local = [name[len("refs/heads/") :] for name in output if name.startswith("refs/heads/")]
        merged = [name for name in local if name.startswith("batch/") and name.endswith("/merged")]
        remote = [name[len("refs/remotes/") :] for name in output if name.startswith("refs/remotes/")]
        return next(iter([*merged, *local, *(name for name in remote if not name.endswith("/HEAD"))]), "")


def _identify(commit: Commit) -> object:
    """Return what a rebase and most amends keep of a commit."""
    return commit.author, commit.date, commit.subject


def _format_command(name: str, words: Iterable[str]) -> str:
    """Return a git command on commits or a branch."""
    import shlex

    return " ".join(["git", name, *(shlex.quote(word[:12] if name != "merge" else word) for word in words)])


def _lines(words: Iterable[str]) -> str:
    return "".join(f"{word}\n" for word in words)
