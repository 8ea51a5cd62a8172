"""Work trees and branches of a batch, on real git."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from batch_implement.base import process_identity
from batch_implement.core.errors import RefusedError, StateError
from batch_implement.git import worktrees
from batches import commit, git

HOSTILE = [
    "", " ", "Add login", "$(touch x); `id`", "../../../etc/passwd", "-rf /", "--force", ".", "..", ".lock", "a.lock",
    "ünïcode Ärger", "日本語だけ", "x" * 500, "a\nb\0c\td", "\u202e\ud83d", "@{u}", "a~1^2:3?*[\\", "HEAD", "CON",
    "------", "x" * 39 + " y", "ﬀ" * 300, "İstanbul",
]  # fmt: skip


@pytest.fixture
def top(tmp_path: Path) -> Path:
    return tmp_path.resolve() / "repository.worktrees" / "batch-1"


def names(repository: Path) -> list[str]:
    """The work trees that git knows beside the repository's own."""
    lines = git(repository, "worktree", "list", "--porcelain").splitlines()
    return [Path(line[9:]).name for line in lines if line.startswith("worktree ")][1:]


# -- names -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_whatever_a_feature_says_its_branch_and_folder_have_plain_short_names_that_git_takes(text, repository, top):
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", worktrees.make_slug(text))
    branch, folder = (
        worktrees.get_attempt_branch("batch-1", 2, text, 2),
        Path(worktrees.get_attempt_folder(str(top), 2, text, 2)),
    )
    assert folder.parent == top and folder.name == branch.rpartition("/")[2]
    worktrees.add(str(repository), str(folder), branch, git(repository, "rev-parse", "HEAD"))
    assert git(folder, "branch", "--show-current") == branch


def test_no_two_features_or_attempts_share_a_branch():
    made = {
        worktrees.get_attempt_branch("b", index, "Same", attempt) for index in range(12) for attempt in range(1, 12)
    }
    assert len(made) == 144 - 12
    assert worktrees.get_attempt_branch("b", 2, "Add login", 1) == "batch/b/3-add-login"
    assert worktrees.get_attempt_branch("b", 2, "Add login", 2) == "batch/b/3-add-login.2"
    assert worktrees.get_batch_branch("b") == "batch/b/merged"


# -- making and adopting -----------------------------------------------------------------------------------------------


def test_a_work_tree_begins_at_its_base_and_the_persons_own_tree_stays_as_it_is(repository, top):
    base = git(repository, "rev-parse", "HEAD")
    commit(repository, later="x")
    (repository / "README.md").write_text("half an edit\n")
    before = git(repository, "status", "--porcelain"), git(repository, "rev-parse", "HEAD", "main")
    worktrees.add(str(repository), f"{top}/1-a", "batch/b/1-a", base)
    assert git(top / "1-a", "rev-parse", "HEAD") == base and git(top / "1-a", "status", "--porcelain") == ""
    assert (git(repository, "status", "--porcelain"), git(repository, "rev-parse", "HEAD", "main")) == before


def test_one_that_is_there_stays_with_its_commits_its_changes_and_its_branch(repository, top):
    base, folder = git(repository, "rev-parse", "HEAD"), top / "1-a"
    worktrees.add(str(repository), str(folder), "batch/b/1-a", base)
    made = commit(folder, work="x")
    (folder / "half").write_text("done")
    commit(repository, later="x")
    worktrees.add(str(repository), str(folder), "batch/b/1-a", git(repository, "rev-parse", "HEAD"))
    assert git(folder, "rev-parse", "HEAD") == made and (folder / "half").exists()


def test_a_branch_whose_work_tree_is_gone_comes_back_with_its_commits(repository, top):
    folder = top / "1-a"
    worktrees.add(str(repository), str(folder), "batch/b/1-a", "HEAD")
    commit(folder, work="x")
    shutil.rmtree(folder)
    worktrees.add(str(repository), str(folder), "batch/b/1-a", "main")
    assert git(folder, "log", "-1", "--format=%s") == "Add work"


@pytest.mark.parametrize("what", ["a file", "a folder with something in it", "another repository", "a dangling link"])
def test_what_is_in_the_way_is_refused_and_stays(repository, top, tmp_path, what):
    folder = top / "1-a"
    top.mkdir(parents=True)
    if what == "a file":
        folder.write_text("theirs")
    elif what == "a dangling link":
        folder.symlink_to(tmp_path / "nowhere")
    else:
        folder.mkdir()
        (folder / "file").write_text("theirs")
        if what == "another repository":
            git(folder, "init", "-q")
    with pytest.raises(RefusedError, match="already exists and is not a worktree"):
        worktrees.add(str(repository), str(folder), "batch/b/1-a", "HEAD")
    worktrees.remove(str(repository), str(folder))
    assert os.path.lexists(folder) and names(repository) == []
    assert not folder.is_dir() or (folder / "file").read_text() == "theirs"


def test_a_work_tree_of_another_repository_is_in_the_way_and_is_never_removed(repository, top, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(repository, other)
    git(other, "worktree", "add", "-q", "-b", "x", str(top / "1-a"))
    with pytest.raises(RefusedError, match="already exists and is not a worktree"):
        worktrees.add(str(repository), str(top / "1-a"), "batch/b/1-a", "HEAD")
    worktrees.remove(str(repository), str(top / "1-a"))
    assert (top / "1-a" / "README.md").exists() and names(other) == ["1-a"]


def test_work_trees_of_the_persons_whose_disk_is_not_there_now_are_not_forgotten(repository, top, tmp_path):
    """`git worktree prune` did that."""
    away = tmp_path / "stick" / "theirs"
    git(repository, "worktree", "add", "-q", "-b", "theirs", str(away))
    away.parent.rename(tmp_path / "unplugged")
    worktrees.add(str(repository), f"{top}/1-a", "batch/b/1-a", "HEAD")
    worktrees.add_detached(str(repository), f"{top}/merged", "HEAD")
    worktrees.remove(str(repository), f"{top}/1-a")
    (tmp_path / "unplugged").rename(tmp_path / "stick")
    assert git(away, "branch", "--show-current") == "theirs"


def test_a_branch_that_is_checked_out_elsewhere_is_left_there(repository, top, tmp_path):
    git(repository, "worktree", "add", "-q", "-b", "batch/b/1-a", str(tmp_path / "look"))
    with pytest.raises(StateError, match="already"):
        worktrees.add(str(repository), f"{top}/1-a", "batch/b/1-a", "HEAD")
    assert git(tmp_path / "look", "status", "--porcelain") == ""


# -- after a kill ------------------------------------------------------------------------------------------------------


def half_made(repository: Path, folder: Path) -> None:
    """A work tree whose git was killed while it checked files out: a filter of the project holds it there."""
    (repository / ".git" / "info").mkdir(exist_ok=True)
    (repository / ".git" / "info" / "attributes").write_text("* filter=slow\n")
    mark = repository.parent / "checking-out"
    git(repository, "config", "filter.slow.smudge", f"touch '{mark}'; sleep 300")
    adding = subprocess.Popen(
        ["git", "worktree", "add", "-q", "-b", "batch/b/1-a", str(folder), "HEAD"], cwd=repository,
        start_new_session=True, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while not mark.exists() and adding.poll() is None:
        time.sleep(0.01)
    os.killpg(adding.pid, signal.SIGKILL)
    adding.wait()
    git(repository, "config", "--unset", "filter.slow.smudge")
    (repository / ".git" / "info" / "attributes").unlink()
    assert (repository / ".git" / "worktrees" / folder.name / "locked").exists()


def test_one_whose_checkout_was_killed_is_made_anew(repository, top):
    """It was taken for a work tree in which somebody had deleted every file."""
    half_made(repository, top / "1-a")
    worktrees.add(str(repository), f"{top}/1-a", "batch/b/1-a", "HEAD")
    assert git(top / "1-a", "status", "--porcelain") == "" and (top / "1-a" / "README.md").exists()
    assert names(repository) == ["1-a"]


def test_one_whose_checkout_was_killed_is_removed(repository, top):
    half_made(repository, top / "1-a")
    worktrees.remove(str(repository), f"{top}/1-a")
    assert names(repository) == [] and not top.parent.exists()


@pytest.mark.parametrize("left", ["nothing", "an empty folder", "some files"])
def test_one_whose_removal_was_killed_is_removed_or_made_anew(repository, top, left):
    folder = top / "1-a"
    for action in ("remove", "add"):
        worktrees.add(str(repository), str(folder), "batch/b/1-a", "HEAD")
        if left == "some files":
            (folder / ".git").unlink()
        else:
            shutil.rmtree(folder)
        if left == "an empty folder":
            folder.mkdir()
        if action == "remove":
            worktrees.remove(str(repository), str(folder))
            assert names(repository) == [] and not folder.exists()
        else:
            worktrees.add(str(repository), str(folder), "batch/b/1-a", "HEAD")
            assert git(folder, "status", "--porcelain") == ""


def test_the_locks_of_a_git_that_was_killed_do_not_stop_the_next_client(repository, top):
    folder = top / "1-a"
    worktrees.add(str(repository), str(folder), "batch/b/1-a", "HEAD")
    own = repository / ".git" / "worktrees" / "1-a"
    ours = [own / "index.lock", own / "HEAD.lock", repository / ".git/refs/heads/batch/b/1-a.lock"]
    theirs = [repository / ".git" / "index.lock", repository / ".git" / "packed-refs.lock"]
    for path in ours + theirs:
        path.write_text("")
    worktrees.add(str(repository), str(folder), "batch/b/1-a", "HEAD")
    assert [path for path in ours + theirs if path.exists()] == theirs
    theirs[1].unlink()
    commit(folder, work="x")


# -- removing ----------------------------------------------------------------------------------------------------------


def test_removing_takes_everything_in_it_along_and_leaves_branch_stash_and_other_trees(repository, top):
    folder, other = top / "1-a", top / "2-b"
    for path, branch in ((folder, "batch/b/1-a"), (other, "batch/b/2-b")):
        worktrees.add(str(repository), str(path), branch, "HEAD")
    commit(folder, work="x")
    (folder / "README.md").write_text("changed")
    git(folder, "stash", "push", "-q", "-m", "kept")
    (folder / "README.md").write_text("changed again")
    (folder / "untracked").write_text("x")
    git(repository, "worktree", "lock", str(folder))
    worktrees.remove(str(repository), str(folder))
    assert not folder.exists() and names(repository) == ["2-b"]
    assert git(repository, "log", "-1", "--format=%s", "batch/b/1-a") == "Add work"
    assert "kept" in git(repository, "stash", "list")
    worktrees.remove(str(repository), str(other))
    assert not top.parent.exists(), "folders that are empty now go, too"
    worktrees.remove(str(repository), str(other))  # twice is harmless


def test_a_folder_that_a_person_named_for_work_trees_stays_when_it_is_empty(repository, tmp_path):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    worktrees.add(str(repository), f"{theirs}/batch-1/1-a", "batch/b/1-a", "HEAD")
    worktrees.remove(str(repository), f"{theirs}/batch-1/1-a")
    assert list(theirs.iterdir()) == []


def test_the_repositorys_own_tree_is_never_removed(repository):
    worktrees.remove(str(repository), str(repository))
    assert git(repository, "status", "--porcelain") == "" and (repository / "README.md").exists()


def test_removing_ends_what_still_runs_for_it(repository, top):
    folder = str(top / "1-a")
    worktrees.add(str(repository), folder, "batch/b/1-a", "HEAD")
    wait = [sys.executable, "-c", "print(flush=True); import time; time.sleep(300)"]
    left = subprocess.Popen(
        wait, env={**os.environ, process_identity.WORKTREE_VARIABLE: folder}, stdout=subprocess.PIPE
    )
    other = subprocess.Popen(
        wait, env={**os.environ, process_identity.WORKTREE_VARIABLE: f"{folder}.2"}, stdout=subprocess.PIPE
    )
    for each in (left, other):
        assert each.stdout and each.stdout.readline()
    worktrees.remove(str(repository), folder)
    assert left.poll() is not None or left.wait(30) == -signal.SIGTERM
    assert other.poll() is None
    other.kill()
    other.wait()


def test_preflights_that_died_are_removed_and_one_that_still_runs_is_not(repository, top):
    preflight, running = top / "preflight", top.parent / "batch-2" / "preflight"
    for folder in (preflight, running):
        worktrees.add_detached(str(repository), str(folder), "HEAD")
    (top.parent / "batch-3" / "preflight").mkdir(parents=True)
    with subprocess.Popen(
        ["sleep", "60"], env={**os.environ, process_identity.WORKTREE_VARIABLE: str(running)}
    ) as process:
        worktrees.remove_preflights(str(repository), str(top.parent))
        process.kill()
    assert names(repository) == ["preflight"] and running.is_dir()
    assert sorted(os.listdir(top.parent)) == ["batch-2"]
