"""The worktree of a verify command: what git makes of a commit, whatever ran there before."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Callable

import pytest
from batch_implement.core.errors import RefusedError
from batch_implement.git import git_client, verify_tree
from batches import commit, git


@pytest.fixture
def folder(repository: Path, tmp_path: Path) -> Path:
    """A worktree that was prepared for a commit, in a repository that ignores `*.cache`."""
    (repository / ".gitignore").write_text("*.cache\n")
    (repository / "tool").write_text("#!/bin/sh\n")
    (repository / "tool").chmod(0o755)
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "Begin")
    verify_tree.prepare(str(repository), str(tmp_path / "trees" / "verify-0"), "HEAD")
    return tmp_path / "trees" / "verify-0"


def shell(folder: Path, commands: str) -> None:
    subprocess.run(["/bin/sh", "-c", commands], cwd=folder, check=False, capture_output=True)


def content(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Mode and bytes of each file below a folder but `.git`."""
    found = {}
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name != ".git"]
        for name in files:
            path = Path(place, name)
            if name != ".git":
                found[str(path.relative_to(folder))] = (path.stat().st_mode, path.read_bytes())
    return found


@pytest.mark.parametrize(
    "before",
    [
        "echo x > untracked; echo x > a.cache; mkdir -p deep/er; echo x > deep/er/b.cache",
        "echo changed > tool; git add tool; rm .gitignore",
        "git config core.fileMode false; chmod -x tool",
        "git update-index --skip-worktree tool; echo changed > tool",
        "git update-index --assume-unchanged tool; echo changed > tool; touch -r .gitignore tool",
        "git config core.sparseCheckout true; git sparse-checkout set nowhere",
        "git init -q nested; cd nested; git commit -q --allow-empty -m x",
        "git checkout -q -b theirs; git commit -q --allow-empty -m x",
        "mkdir closed; echo x > closed/x; chmod a-w closed",
        'echo broken > "$(git rev-parse --git-path index)"',
        'echo broken > "$(git rev-parse --git-path HEAD)"',
        'touch "$(git rev-parse --git-path index.lock)"',
        "rm .git; git init -q .",
        "git checkout -q -B one; echo 1 > both; git add both; git commit -qm 1; git checkout -q -B two HEAD^; "
        "echo 2 > both; git add both; git commit -qm 2; git rebase -q one",
        "git checkout -q -B one; echo 1 > both; git add both; git commit -qm 1; git checkout -q -B two HEAD^; "
        "echo 2 > both; git add both; git commit -qm 2; git cherry-pick one",
        "git bisect start -q; git bisect bad; git bisect good HEAD",
        'mkdir "$(git rev-parse --git-path rebase-merge)"',
    ],
)
def test_whatever_ran_there_leaves_no_trace(repository: Path, folder: Path, before: str) -> None:
    shell(folder, before)
    branches = git(repository, "for-each-ref", "--format=%(refname) %(objectname)")
    git(repository, "config", "core.fileMode", "true")
    wanted = commit(repository, later="x")
    verify_tree.prepare(str(repository), str(folder), wanted)
    fresh = folder.parent / "fresh"
    git(repository, "worktree", "add", "-q", "--detach", str(fresh), wanted)
    assert content(folder) == content(fresh)
    assert git(folder, "rev-parse", "HEAD") == wanted and git_client.get_branch(str(folder)) is None
    assert git_client.operation_in_progress(str(folder)) is None
    assert git(folder, "status", "--porcelain", "--ignored") == ""
    moved = git(repository, "for-each-ref", "--format=%(refname) %(objectname)").splitlines()
    assert [line for line in branches.splitlines() if "heads/main" not in line] == [
        line for line in moved if "heads/main" not in line
    ]


def test_only_the_user_can_read_it(folder: Path) -> None:
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_of_somebody_else_is_refused(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("x")
    with pytest.raises(RefusedError, match="is not a worktree of this repository"):
        verify_tree.prepare(str(repository), str(tmp_path / "mine"), "HEAD")
    assert (tmp_path / "mine" / "notes.txt").read_text() == "x"


def test_no_hook_of_the_repository_runs(repository: Path, tmp_path: Path) -> None:
    hook = repository / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch '{tmp_path}/hooked'\n")
    hook.chmod(0o755)
    verify_tree.prepare(str(repository), str(tmp_path / "tree"), "HEAD")
    assert not (tmp_path / "hooked").exists()


# -- submodules --------------------------------------------------------------------------------------------------------


@pytest.fixture
def part(repository: Path, tmp_path: Path) -> Callable[..., str]:
    """A repository that has a submodule `part`, with a submodule `inner` in it. Call: commit in `part` of a tree."""
    allow = ("-c", "protocol.file.allow=always")
    for name in ("inner", "part"):
        subprocess.run(["git", "init", "-q", tmp_path / name], check=True)
        commit(tmp_path / name, value=f"{name} 1")
    git(tmp_path / "part", *allow, "submodule", "--quiet", "add", str(tmp_path / "inner"), "inner")
    git(tmp_path / "part", "commit", "-qm", "Add inner")
    git(repository, *allow, "submodule", "--quiet", "add", str(tmp_path / "part"), "part")
    git(repository, *allow, "submodule", "--quiet", "update", "--init", "--recursive")
    git(repository, "commit", "-qm", "Add part")

    def make(tree: Path, value: str) -> str:
        commit(tree / "part", value=value)
        git(tree, "commit", "-qam", value)
        return git(tree, "rev-parse", "HEAD")

    return make


def test_submodules_are_checked_out_as_they_are_committed_and_cleaned(repository, part, tmp_path):
    tree = tmp_path / "verify-0"
    first = git(repository, "rev-parse", "HEAD")
    verify_tree.prepare(str(repository), str(tree), first)
    assert (tree / "part" / "value.txt").read_text() == "part 1"
    assert (tree / "part" / "inner" / "value.txt").read_text() == "inner 1"
    (tree / "part" / "value.txt").write_text("changed")
    (tree / "part" / "inner" / "left.txt").write_text("left")
    second = part(repository, "part 2")
    verify_tree.prepare(str(repository), str(tree), second)
    assert (tree / "part" / "value.txt").read_text() == "part 2"
    assert not (tree / "part" / "inner" / "left.txt").exists()
    assert git(tree, "status", "--porcelain", "--ignored") == ""


def test_a_submodule_that_is_checked_out_nowhere_stays_empty(repository, part, tmp_path):
    git(repository, "submodule", "--quiet", "deinit", "--force", "--all")
    subprocess.run(["rm", "-rf", repository / ".git" / "modules"], check=True)
    verify_tree.prepare(str(repository), str(tmp_path / "verify-0"), "HEAD")
    (tmp_path / "verify-0" / "part" / "left.txt").write_text("left")
    verify_tree.prepare(str(repository), str(tmp_path / "verify-0"), "HEAD")
    assert list((tmp_path / "verify-0" / "part").iterdir()) == []


def test_a_submodules_commit_that_is_nowhere_is_refused(repository, part, tmp_path):
    git(repository, "update-index", "--cacheinfo", f"160000,{'a' * 40},part")
    git(repository, "commit", "-qm", "Point nowhere")
    with pytest.raises(RefusedError, match="commit aaaaaaaaaaaa of the submodule part is in no repository"):
        verify_tree.prepare(str(repository), str(tmp_path / "verify-0"), "HEAD")
