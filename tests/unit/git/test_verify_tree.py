"""The worktree of a verify command: what git makes of a commit, whatever ran there before."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any, Callable

import pytest
from batch_implement.core.errors import RefusedError
from batch_implement.git import git_client, tree_setup, verify_tree
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


# -- setup -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def prepared(repository: Path, tmp_path: Path) -> Callable[..., Path]:
    """Call: the worktree for the repository's HEAD, prepared with a setup command that writes a line per run."""
    (repository / ".gitignore").write_text("/deps/\n*.db\n*.cache\n/kept\\ \\[1\\]/\n")
    (repository / "tools.lock").write_text("1\n")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "Begin")

    def prepare(command: str | None = "mkdir -p deps; echo x > deps/x", **options: Any) -> Path:
        folder = tmp_path / "trees" / "verify-0"
        line = None if command is None else f"echo ran >> '{tmp_path}/runs'; {command}"
        setup = tree_setup.Setup(line, **options)
        verify_tree.prepare(str(repository), str(folder), git(repository, "rev-parse", "HEAD"), setup=setup)
        return folder

    return prepare


def runs(tmp_path: Path) -> int:
    """How many times the setup command ran."""
    path = tmp_path / "runs"
    return len(path.read_text().splitlines()) if path.exists() else 0


def test_what_the_setup_command_left_stays_and_what_came_later_goes(prepared, repository, tmp_path):
    folder = prepared("mkdir -p deps 'kept [1]'; echo x > deps/x; echo x > 'kept [1]/x'; touch seed.db")
    shell(folder, "touch app.lock test.db a.cache; mkdir 'kept 1'; touch 'kept 1/a.cache'; echo changed > tools.lock")
    commit(repository, later="x")
    prepared("mkdir -p deps 'kept [1]'; echo x > deps/x; echo x > 'kept [1]/x'; touch seed.db")
    assert runs(tmp_path) == 1
    names = {str(Path(name)) for name in content(folder)} - {
        str(Path(name)) for name in git(folder, "ls-files").split()
    }
    assert names == {"deps/x", "kept [1]/x", "seed.db"}
    assert (folder / "tools.lock").read_text() == "1\n"


@pytest.mark.some(3)
@pytest.mark.parametrize(
    "change",
    [
        "echo 2 > tools.lock", "echo /more/ >> .gitignore", "echo '{}' > package.json", "mkdir sub; touch sub/go.mod",
        "touch requirements-dev.txt", "touch Makefile",
    ],
)  # fmt: skip
def test_setup_runs_again_when_a_commit_changes_what_it_reads(prepared, repository, tmp_path, change):
    folder = prepared("mkdir deps; echo x > deps/x")  # fails where deps is there already
    shell(folder, "touch deps/of-the-first-run")
    shell(repository, f"{change}; git add .; git commit -qm Change")
    prepared("mkdir deps; echo x > deps/x")
    assert runs(tmp_path) == 2 and not (folder / "deps" / "of-the-first-run").exists()


def test_setup_runs_again_when_a_file_that_it_names_changes(prepared, repository, tmp_path):
    commit(repository, **{"prepare": "mkdir -p deps"})
    for command in ("sh ./prepare.txt", "cd . && sh 'prepare.txt'"):
        prepared(command)
        commit(repository, prepare=f"mkdir -p deps # {command}")
        prepared(command)
        commit(repository, other=command)
        prepared(command)
    assert runs(tmp_path) == 4


@pytest.mark.some(2)
@pytest.mark.parametrize(
    "loss",
    ["git clean -fdxq", "rm -r deps", "rm -r deps; touch deps", "rm -r deps; ln -s .. deps", "rm .git; git init -q ."],
)
def test_setup_runs_again_when_what_it_left_is_gone(prepared, tmp_path, loss):
    shell(prepared(), loss)
    folder = prepared()
    assert runs(tmp_path) == 2 and (folder / "deps" / "x").read_text() == "x\n"


def test_setup_runs_again_when_it_is_another_command_or_was_ended(prepared, tmp_path):
    with pytest.raises(tree_setup.SetupFailed, match="did not end within 1 s"):
        prepared("mkdir deps; sleep 60", timeout_s=1)
    folder = prepared("test ! -e deps")
    prepared("mkdir deps")
    assert (runs(tmp_path), (folder / "deps").is_dir()) == (3, True)


def test_what_setup_leaves_that_git_does_not_ignore_goes(prepared):
    folder = prepared("mkdir deps; touch deps/x notes.txt; echo changed > tools.lock; git checkout -q -b theirs")
    assert git(folder, "status", "--porcelain") == "" and not (folder / "notes.txt").exists()
    assert git_client.get_branch(str(folder)) is None


def test_what_is_named_to_be_kept_stays_without_a_setup_command_too(prepared, tmp_path):
    prepared(None, keep=("*.cache", "/objects/"))
    folder = prepared(None, keep=("*.cache", "/objects/"))
    shell(folder, "touch a.cache test.db; mkdir -p objects deep; touch objects/x deep/b.cache deep/c")
    prepared(None, keep=("*.cache", "/objects/"))
    assert (folder / "a.cache").exists() and (folder / "objects" / "x").exists() and (folder / "deep/b.cache").exists()
    assert not (folder / "test.db").exists() and not (folder / "deep" / "c").exists() and runs(tmp_path) == 0


def test_a_file_of_another_commit_does_not_hide_in_what_is_kept(prepared, repository):
    folder = prepared("mkdir -p deps; touch deps/x")
    shell(repository, "mkdir deps; echo x > deps/tracked; git add -f deps; git commit -qm Tracked")
    prepared("mkdir -p deps; touch deps/x")
    assert (folder / "deps" / "tracked").exists()
    git(folder, "update-index", "--skip-worktree", "deps/tracked")
    shell(repository, "git rm -qr deps; git commit -qm Gone")
    prepared("mkdir -p deps; touch deps/x")
    assert (folder / "deps" / "x").exists() and not (folder / "deps" / "tracked").exists()


def test_a_setup_command_that_fails_is_named_with_its_last_words(prepared, tmp_path):
    with pytest.raises(tree_setup.SetupFailed) as caught:
        prepared("echo begin; echo 'no such package' >&2; exit 7")
    assert "failed with exit status 7: no such package" in caught.value.message
    assert (caught.value.exit_code, caught.value.output) == (7, "begin\nno such package")
    prepared()
    assert runs(tmp_path) == 2


def test_setup_in_submodules_stays_and_one_that_it_fetches_too(repository, part, tmp_path):
    git(repository, "submodule", "--quiet", "deinit", "--force", "--all")
    subprocess.run(["rm", "-rf", repository / ".git" / "modules"], check=True)
    allow = "git -c protocol.file.allow=always"
    command = f"echo ran >> '{tmp_path}/runs'; {allow} submodule --quiet update --init --recursive; "
    command += "echo '*.cache' >> \"$(git -C part rev-parse --git-path info/exclude)\"; touch part/x.cache"
    folder = tmp_path / "verify-0"
    for _ in range(2):
        verify_tree.prepare(str(repository), str(folder), "HEAD", setup=tree_setup.Setup(command))
        assert (folder / "part" / "inner" / "value.txt").read_text() == "inner 1"
        assert (folder / "part" / "x.cache").exists() and not (folder / "part" / "left").exists()
        (folder / "part" / "left").touch()
    assert runs(tmp_path) == 1
