"""How verified commits come onto the batch's branch, with a real git and real verify commands."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path
from typing import NamedTuple

import pytest
from batch_implement.core.errors import RefusedError
from batch_implement.git import git_client
from batch_implement.runner import merge_tips
from batches import commit, git

BRANCH = "batch/merged"


class Merge(NamedTuple):
    """A tip of one feature, and its run of the verify command."""

    head: str
    commit: str
    commits: list[str]
    verify: dict | None


class NotPutOn(Exception):
    """The feature was left out."""


@pytest.fixture
def queue(repository, tmp_path):
    """Builds and verifies a tip of one feature: `queue(commit, verify="make test")`. The branch begins at HEAD."""
    git(repository, "branch", BRANCH)
    log = str(tmp_path / "logs" / "1" / "verify")

    def prepare(of, *, verify=None, timeout_s=60, stopped=None, may_be_empty=True):
        folder, root, head = str(tmp_path / "queue"), str(repository), tip(repository)
        built = merge_tips.build_tip(root, folder, head, head, [merge_tips.Work(0, of, may_be_empty)])
        for left_out in built.left_out:
            assert left_out.with_head
            raise NotPutOn(left_out.reason)
        (part,) = built.parts
        assert part.commit == built.commit
        if verify is None or built.commit in (of, head):
            return Merge(head, built.commit, part.commits, None)
        runs = merge_tips.verify_tip(
            root, folder, head, built.commit, {verify: timeout_s}, log=log, stopped=stopped or threading.Event()
        )
        return Merge(head, built.commit, part.commits, runs[verify])

    prepare.folder, prepare.log = tmp_path / "queue", Path(log)
    return prepare


def commits_from_start(repository, *contents):
    """Commit on a detached HEAD from where the branch began; the commits, oldest first. HEAD is `main` again."""
    git(repository, "checkout", "-q", "--detach", "main")
    made = [commit(repository, **files) for files in contents]
    git(repository, "checkout", "-q", "main")
    return made


def merge_meanwhile(repository, **files):
    """Move the branch to another feature's commit; that commit."""
    (made,) = commits_from_start(repository, files)
    git(repository, "branch", "-f", BRANCH, made)
    return made


def pick_meanwhile(repository, made, *then):
    """Move the branch to another feature's commit and the same change as `made`, and run git with `then` there; its
    head.
    """
    merge_meanwhile(repository, other="x")
    git(repository, "checkout", "-q", BRANCH)
    git(repository, "cherry-pick", made)
    if then:
        git(repository, *then)
    git(repository, "checkout", "-q", "main")
    return tip(repository)


def tip(repository):
    return git(repository, "rev-parse", BRANCH)


def test_a_commit_on_top_of_the_branch_is_merged_as_it_was_verified(repository, queue):
    head, made = tip(repository), commits_from_start(repository, {"one": "1"}, {"two": "2"})
    prepared = queue(made[-1], verify="exit 1")
    assert prepared == (head, made[-1], made, None)
    assert not queue.folder.exists()
    assert tip(repository) == head
    merge_tips.fast_forward(str(repository), BRANCH, prepared.head, prepared.commit)
    assert tip(repository) == made[-1]
    assert git(repository, "reflog", "-1", "--format=%gs", BRANCH) == "batch: merge"


def test_any_other_is_rebased_and_verified_on_the_new_head(repository, queue):
    made = commits_from_start(repository, {"one": "1"}, {"two": "2"})
    head = merge_meanwhile(repository, other="x")
    prepared = queue(made[-1], verify="cat one.txt two.txt other.txt; pwd")
    assert (prepared.head, tip(repository)) == (head, head)
    assert prepared.commits == git(repository, "rev-list", "--reverse", f"{head}..{prepared.commit}").split()
    assert len(prepared.commits) == 2 and not set(prepared.commits).intersection(made)
    assert queue.log.read_text() == f"12x{queue.folder}\n"
    seconds = prepared.verify.pop("seconds")
    assert 0 <= seconds < 60
    assert prepared.verify == {
        "command": "cat one.txt two.txt other.txt; pwd", "exit_code": 0, "log": str(queue.log),
    }  # fmt: skip
    assert queue.log.parent.stat().st_mode & 0o777 == 0o700
    assert queue(made[-1], verify="true").verify["exit_code"] == 0  # the folder of the log is there by now
    assert git(repository, "status", "--porcelain") == ""


def test_without_a_verify_command_it_is_only_rebased(repository, queue):
    (made,) = commits_from_start(repository, {"one": "1"})
    head = merge_meanwhile(repository, other="x")
    prepared = queue(made)
    assert (git(repository, "rev-parse", f"{prepared.commit}^"), prepared.verify) == (head, None)
    assert not queue.log.exists()


def test_what_another_feature_has_merged_already_leaves_nothing_to_verify(repository, queue):
    (made,) = commits_from_start(repository, {"one": "1"})
    pick_meanwhile(repository, made)
    assert queue(made, verify="exit 1") == (tip(repository), tip(repository), [], None)


def test_a_conflict_names_the_commit_and_the_files_and_leaves_the_worktree_usable(repository, queue):
    _, last = commits_from_start(repository, {"a": "mine", "b": "mine"}, {"fits": "1"})
    head = merge_meanwhile(repository, a="other", b="other")
    with pytest.raises(NotPutOn) as caught:
        queue(last)
    assert f"commit {last[:12]} conflicts with what was merged meanwhile ({head[:12]})" in str(caught.value)
    assert str(caught.value).endswith("in a.txt, b.txt.")
    assert git_client.operation_in_progress(str(queue.folder)) is None
    (clear,) = commits_from_start(repository, {"c": "mine"})
    assert len(queue(clear).commits) == 1
    assert tip(repository) == head


def test_a_file_that_a_verify_command_left_does_not_fail_the_next_feature(repository, queue):
    (made,) = commits_from_start(repository, {"one": "1"})
    merge_meanwhile(repository, other="x")
    queue(made)
    (queue.folder / "two.txt").write_text("left by a verify command")
    (made,) = commits_from_start(repository, {"two": "2"})
    prepared = queue(made, verify="grep 2 two.txt")
    assert git(repository, "show", f"{prepared.commit}:two.txt") == "2"


def test_histories_without_a_common_commit_are_told_in_gits_words(repository, queue):
    head, tree = merge_meanwhile(repository, other="x"), git(repository, "rev-parse", "main^{tree}")
    orphan = git(repository, "commit-tree", "-m", "Begin anew", tree)
    with pytest.raises(NotPutOn, match="unrelated histories") as caught:
        queue(orphan)
    assert f"cannot be put onto {head[:12]}" in str(caught.value)


def merged_tree(repository, head, work):
    """The tree that git itself merges, with its ordinary command, in a clone."""
    clone = repository.parent / "clone"
    git(repository.parent, "clone", "-q", str(repository), str(clone))
    git(clone, "fetch", "-q", "origin", head, work)
    git(clone, "checkout", "-q", "--detach", head)
    git(clone, "-c", "user.name=a", "-c", "user.email=b", "merge", "-q", "--no-edit", work)
    return git(clone, "rev-parse", "HEAD^{tree}")


def test_merges_in_a_features_work_are_put_on_as_one_commit_with_what_was_changed_in_them(repository, queue):
    """The rebase left out merge commits, and with them the glue, once all of the work."""
    git(repository, "checkout", "-q", "-b", "side", "main")
    side = commit(repository, side="s")
    git(repository, "checkout", "-q", "-b", "work", "main")
    first = commit(repository, first="f")
    git(repository, "merge", "-q", "--no-ff", "--no-commit", "side")
    Path(repository, "glue.txt").write_text("glue")
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "Merge branch 'side'")
    glue = git(repository, "rev-parse", "HEAD")
    author = ("-c", "user.name=J\u00f6rg <x", "-c", "user.email=j@example.org")
    Path(repository, "last.txt").write_text("l")
    git(repository, "add", ".")
    git(repository, *author, "commit", "-q", "--date=2020-02-02T02:02:02+0200", "-m", "Add last\n\nWhy.\n\nRefs: #7")
    last = git(repository, "rev-parse", "HEAD")
    git(repository, "checkout", "-q", "main")
    head = merge_meanwhile(repository, other="x")
    prepared = queue(last, verify="cat glue.txt side.txt first.txt last.txt other.txt")
    assert queue.log.read_text() == "gluesflx"
    assert prepared.commits == [prepared.commit] and git(repository, "rev-parse", f"{prepared.commit}^") == head
    assert git(repository, "rev-parse", f"{prepared.commit}^{{tree}}") == merged_tree(repository, head, last)
    show = git(repository, "log", "-1", "--format=%an|%ae|%aI%n%B", prepared.commit)
    assert show.startswith(
        "J\u00f6rg x|j@example.org|2020-02-02T02:02:02+02:00\nAdd last\n\nThe net change of these commits:\n"
    )
    assert all(git(repository, "rev-parse", "--short", each) in show for each in (side, first, glue, last))
    assert show.rstrip().endswith("Why.\n\nRefs: #7")


def test_a_change_that_the_branch_had_and_took_back_is_not_left_out_of_the_work(repository, queue):
    """The rebase took the commit for one that is applied already."""
    (made,) = commits_from_start(repository, {"one": "1"})
    head = pick_meanwhile(repository, made, "revert", "--no-edit", "HEAD")
    prepared = queue(made)
    assert git(repository, "show", f"{prepared.commit}:one.txt") == "1"
    assert git(repository, "rev-parse", f"{prepared.commit}^{{tree}}") == merged_tree(repository, head, made)


def test_work_that_conflicts_only_on_its_way_is_merged_as_git_merges_it(repository, queue):
    """A commit that conflicts and one that takes it back: their net change does not conflict."""
    made = commits_from_start(repository, {"base": "1"})[0]
    git(repository, "branch", "-f", BRANCH, made)
    git(repository, "checkout", "-q", "--detach", made)
    commit(repository, base="2")
    commit(repository, base="1")
    last = commit(repository, fine="f")
    git(repository, "checkout", "-q", "--detach", made)
    head = commit(repository, base="3")
    git(repository, "branch", "-f", BRANCH, head)
    git(repository, "checkout", "-q", "main")
    prepared = queue(last)
    assert git(repository, "show", f"{prepared.commit}:base.txt") == "3"
    assert git(repository, "rev-parse", f"{prepared.commit}^{{tree}}") == merged_tree(repository, head, last)


def test_files_declared_as_union_merge_by_that_however_they_were_committed(repository, queue):
    Path(repository, ".gitattributes").write_text("notes.txt merge=union\n")
    git(repository, "add", ".gitattributes")
    start = commit(repository, notes="top\n")
    git(repository, "checkout", "-q", "--detach", start)
    commit(repository, notes="top\ndraft\n")
    last = commit(repository, notes="top\nmine\n")
    git(repository, "checkout", "-q", "--detach", start)
    head = commit(repository, notes="top\nother\n")
    git(repository, "checkout", "-q", "main")
    git(repository, "branch", "-f", BRANCH, head)
    prepared = queue(last)
    assert git(repository, "show", f"{prepared.commit}:notes.txt") == "top\nother\nmine"


def test_a_merge_goes_on_after_a_git_that_was_killed_in_the_queues_worktree(repository, queue):
    (made,) = commits_from_start(repository, {"one": "1"})
    merge_meanwhile(repository, other="x")
    queue(made)
    mine, theirs = commits_from_start(repository, {"both": "mine"}), commits_from_start(repository, {"both": "theirs"})
    ended = subprocess.run(["git", "-C", queue.folder, "rebase", "-q", "--onto", *theirs, "main", *mine], check=False)
    assert ended.returncode != 0 and git_client.operation_in_progress(str(queue.folder))
    (queue.folder / "two.txt").write_text("left by a verify command")
    (made,) = commits_from_start(repository, {"two": "2"})
    assert len(queue(made, verify='test -z "$(git status --porcelain)"').commits) == 1


def test_putting_commits_on_runs_no_hook_and_follows_no_setting_that_changes_its_result(repository, queue, tmp_path):
    hooked = tmp_path / "hooked"
    hook = repository / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {hooked}\n")
    hook.chmod(0o755)
    git(repository, "config", "rebase.autoSquash", "true")
    git(repository, "config", "rebase.updateRefs", "true")
    (first,) = commits_from_start(repository, {"one": "1"})
    git(repository, "branch", "mine", first)
    git(repository, "checkout", "-q", "mine")
    (repository / "one.txt").write_text("2")
    git(repository, "commit", "-qam", "fixup! Add one")
    made = git(repository, "rev-parse", "HEAD")
    git(repository, "checkout", "-q", "main")
    git(repository, "branch", "-f", "mine", first)
    merge_meanwhile(repository, other="x")
    hooked.unlink()
    new = queue(made).commit
    assert len(git(repository, "rev-list", f"{BRANCH}..{new}").split()) == 2
    assert git(repository, "rev-parse", "mine") == first
    assert not hooked.exists()


@pytest.mark.parametrize(
    ("command", "timeout_s", "how"),
    [("echo broken; exit 3", 60, "failed with exit status 3"), ("echo broken; sleep 60", 1, "did not end within 1 s")],
)
def test_a_verify_command_that_fails_on_the_new_head_is_quoted(repository, queue, command, timeout_s, how):
    (made,) = commits_from_start(repository, {"one": "1"})
    head = merge_meanwhile(repository, other="x")
    with pytest.raises(merge_tips.VerifyFailed) as caught:
        queue(made, verify=command, timeout_s=timeout_s)
    assert f"the verify command `{command}` {how}" in str(caught.value)
    assert str(caught.value).endswith("\n> broken")
    assert tip(repository) == head


def test_a_run_that_is_stopped_ends_the_verify_command(repository, queue):
    (made,) = commits_from_start(repository, {"one": "1"})
    merge_meanwhile(repository, other="x")
    stopped = threading.Event()
    timer = threading.Timer(0.5, stopped.set)
    timer.start()
    with pytest.raises(merge_tips.NotMerged, match="stopped while features were verified"):
        queue(made, verify="sleep 600", stopped=stopped)
    timer.join()


def test_a_branch_that_has_moved_since_is_left_where_it_is(repository, queue):
    (made,) = commits_from_start(repository, {"one": "1"})
    prepared = queue(made)
    head = merge_meanwhile(repository, other="x")
    with pytest.raises(merge_tips.NotMerged, match=f"no longer at {prepared.head[:12]}"):
        merge_tips.fast_forward(str(repository), BRANCH, prepared.head, prepared.commit)
    assert tip(repository) == head


def test_a_branch_that_git_cannot_move_is_refused_with_gits_words(repository, queue):
    (made,) = commits_from_start(repository, {"one": "1"})
    prepared = queue(made)
    Path(repository, ".git", "refs", "heads", f"{BRANCH}.lock").touch()
    with pytest.raises(RefusedError) as caught:
        merge_tips.fast_forward(str(repository), BRANCH, prepared.head, prepared.commit)
    assert f"Moving {BRANCH} in {repository} to {made[:12]} failed: " in str(caught.value)
    assert f"{BRANCH}.lock" in str(caught.value)
    assert tip(repository) == prepared.head


def test_work_that_another_feature_has_done_meanwhile_is_left_out(repository, queue):
    (made,) = commits_from_start(repository, {"one": "1"})
    merge_meanwhile(repository, one="1", two="2")
    with pytest.raises(NotPutOn, match=r"changes nothing on top of .* `batchctl done --no-change REASON`"):
        queue(made, may_be_empty=False)
    assert queue(made).commits == []


def test_of_several_what_conflicts_with_the_head_is_told_from_what_conflicts_with_another(repository, queue):
    """The oracle is git alone: `git merge-tree` of the same commits."""
    first, same, other, fine = (
        commits_from_start(repository, files)[-1] for files in ({"a": "1"}, {"a": "2"}, {"b": "mine"}, {"c": "3"})
    )
    head = merge_meanwhile(repository, b="theirs")
    works = [merge_tips.Work(number, commit) for number, commit in enumerate((first, same, other, fine))]
    built = merge_tips.build_tip(str(repository), str(queue.folder), head, head, works)
    assert [part.feature for part in built.parts] == [0, 3]
    assert [(left_out.feature, left_out.with_head) for left_out in built.left_out] == [(1, False), (2, True)]
    for ours, theirs, conflicts in ((head, same, False), (head, other, True), (first, same, True)):
        merged = subprocess.run(
            ["git", "-C", repository, "merge-tree", "--write-tree", ours, theirs], check=False, capture_output=True
        )
        assert (merged.returncode == 1) is conflicts
    assert git(repository, "show", f"{built.commit}:a.txt") == "1"
    assert git(repository, "diff", "--name-only", head, built.commit).split() == ["a.txt", "c.txt"]


def test_all_commands_of_a_group_run_on_its_tip_each_in_a_clean_worktree(repository, queue, tmp_path):
    (made,) = commits_from_start(repository, {"one": "1"})
    commands = {"test ! -e left && touch left": 60, "test ! -e left && cat one.txt": 60}
    log = tmp_path / "log"
    runs = merge_tips.verify_tip(
        str(repository), str(queue.folder), tip(repository), made, commands, log=str(log), stopped=threading.Event()
    )
    assert [run["exit_code"] for run in runs.values()] == [0, 0]
    assert Path(f"{log}.2").read_text() == "1"
