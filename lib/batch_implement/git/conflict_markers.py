"""Find conflict markers that commits have brought in.

    paths = find_conflict_markers(root, base, head)

A marker is a line of `<<<<<<<` or `>>>>>>>` and a blank, as git writes it, in the size that the attribute
`conflict-marker-size` says. `=======` alone is a heading in Markdown. A file that had markers at `base` explains or
tests them: it is left out, and so is one that was moved.
"""

from __future__ import annotations

from . import git_client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Optional, Sequence, Set

_ANY_SIZE = r"^(<{7,}|>{7,})([[:space:]]|$)"
_DEFAULT_SIZE = 7


def find_conflict_markers(root: str, base: Optional[str], head: str) -> List[str]:
    """Return the paths of the files that changed from `base` (None: the empty tree) to `head` and have got markers."""
    before = base or git_client.write_empty_tree(root)
    fields = iter(
        git_client.run_git(
            root, "diff-tree", "-r", "-z", "-M", "--no-ext-diff", "--no-textconv", "--diff-filter=d", "--name-status",
            f"-G{_ANY_SIZE}", before, head, "--",
        ).stdout.split("\0")
    )  # fmt: skip
    sources: Dict[str, str] = {}
    for status in fields:
        if status:
            source = next(fields)
            sources[next(fields) if status[0] in "RC" else source] = source
    if not sources:
        return []
    sizes = _read_marker_sizes(root, list(sources))
    marked: List[str] = []
    for size in sorted(set(sizes.values())):
        paths = [path for path in sources if sizes[path] == size]
        known = _list_marked(root, before, [sources[path] for path in paths], size)
        now = _list_marked(root, head, paths, size)
        marked += [path for path in paths if path in now and sources[path] not in known]
    return sorted(marked)


def _read_marker_sizes(root: str, paths: Sequence[str]) -> Dict[str, int]:
    """Return the size of conflict markers in each file, by its attributes."""
    output = git_client.run_git(
        root, "check-attr", "-z", "--stdin", "conflict-marker-size", input="".join(f"{path}\0" for path in paths)
    ).stdout.split("\0")
    values = zip(output[0::3], output[2::3])
    return {path: int(value) if value.isdigit() and int(value) > 0 else _DEFAULT_SIZE for path, value in values}


def _list_marked(root: str, tree: str, paths: Sequence[str], size: int) -> Set[str]:
    """Return those of the paths that have lines with markers of this size in a tree."""
    pattern = rf"^(<{{{size}}}|>{{{size}}})([[:space:]]|$)"
    marked: Set[str] = set()
    for start in range(0, len(paths), 500):
        output = git_client.run_git(
            root, "grep", "-I", "-l", "-z", "--full-name", "-E", "-e", pattern, tree, "--", *paths[start : start + 500],
            check=False, literal_paths=True,
        ).stdout  # fmt: skip
        marked.update(entry.partition(":")[2] for entry in output.split("\0") if entry)
    return marked
