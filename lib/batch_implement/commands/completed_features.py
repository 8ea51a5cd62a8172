"""Find completed features whose work is not in HEAD any more, and name the commands that bring it back.

missing = find_missing(project, state)      at each start, at the end, in the report
describe_missing(missing)                   a line for each
list_needs(missing)                         number, what is missing and the command, for the report
refuse_missing(project, state, missing)     RefusedError when nothing in HEAD can have absorbed one of them
"""

from __future__ import annotations

from ..core.batch_state import key
from ..core.errors import RefusedError
from ..git import git_client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Sequence, Tuple

    from ..base.project_paths import Project
    from ..core.batch_state import State
    from ..git.net_change import Presence

    Missing = Tuple[int, Presence]  # the number of a completed feature, and where its work is

MAX_NAMED = 10


def find_missing(project: Project, state: State) -> List[Missing]:
    """Return the completed features whose net change is not in HEAD, by number.

    Empty without git, and for a run whose branch is not merged yet.
    """
    from ..git import net_change

    run = state.get("run")
    if project.git_dir is None or not state["completed_features"] or not git_client.is_repository(project.root):
        return []
    if run and not git_client.has_commit(project.root, git_client.get_branch_tip(project.root, run["branch"])):
        return []
    indices = sorted(state["completed_features"])
    commits = [net_change.list_commits(state["evidence"].get(key(index), {})) for index in indices]
    presences = net_change.find_presence(project.root, commits)
    return [
        (index + 1, presence)
        for index, presence in zip(indices, presences)
        if presence.status != net_change.PRESENT
    ]  # fmt: skip


def describe_missing(missing: Sequence[Missing]) -> str:
    """Return a line for each missing feature, with the command that brings it back; empty without any."""
    lines = [_describe_one(number, presence) for number, presence in missing[:MAX_NAMED]]
    if len(missing) > MAX_NAMED:
        lines.append(f"and {len(missing) - MAX_NAMED} more.")
    return "\n".join(lines)


def list_needs(missing: Sequence[Missing]) -> List[Tuple[int, str, str]]:
    """Return for each missing feature its number, what is missing, and the command that brings it back."""
    return [
        (number, _describe_place(number, presence), presence.command or f"batchctl retry {number}")
        for number, presence in missing
    ]


def refuse_missing(project: Project, state: State, missing: Sequence[Missing]) -> None:
    """Raise RefusedError when a file that a completed feature changed is in HEAD as it was before, and no commit in
    HEAD reverts the feature.
    """
    from ..git import net_change

    lost = [
        (number, presence) for number, presence in missing
        if presence.status != net_change.REVERTED and _is_undone(project.root, state["evidence"][key(number - 1)])
    ]  # fmt: skip
    if lost:
        raise RefusedError(
            f"{describe_missing(lost)}\nThe next feature would be built without that. Bring it back, then `batchctl "
            f"start` again. A user who does not want it back: `batchctl retry {lost[0][0]}` in a terminal.",
            "commits-missing",
        )


def _is_undone(root: str, evidence: State) -> bool:
    """Return whether a file that the commits of a feature change is in HEAD as it was before the first of them."""
    # A feature whose files have a third content may be absorbed by another commit: that is said, but not refused.
    from ..git import net_change

    commits = net_change.list_commits(evidence)
    names = ("diff-tree", "-r", "--name-only", "--no-renames", "-z", f"{commits[0]}^")
    changed, since = (git_client.run_git(root, *names, commit, check=False) for commit in (commits[-1], "HEAD"))
    return bool(set(changed.stdout.split("\0")) - set(since.stdout.split("\0")))


def _describe_one(number: int, presence: Presence) -> str:
    back = f"`{presence.command}` brings it back" if presence.command else f"`batchctl retry {number}` does it again"
    return f"{_describe_place(number, presence)}: {back}."


def _describe_place(number: int, presence: Presence) -> str:
    where = f", but on branch {presence.branch}" if presence.branch else ""
    what = "was reverted" if presence.status == "reverted" else f"is not in HEAD{where}"
    return f"Feature {number} is done, and its change {what}"
