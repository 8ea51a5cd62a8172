"""Whether a completed feature is still in HEAD, with a real git."""

from __future__ import annotations

from pathlib import Path

import pytest
from batch_implement.git import git_client, net_change
from batches import commit, git

LINES = [f"line {number}\n" for number in range(1, 31)]


@pytest.fixture
def main(root):
    """A repository with a file of thirty lines on its branch; the branch's name."""
    write(root, "app.py", "".join(LINES), "Begin")
    return git(root, "branch", "--show-current")


def write(root, name, text, subject):
    """Commit a file with this text and return the commit."""
    Path(root, name).parent.mkdir(parents=True, exist_ok=True)
    Path(root, name).write_text(text, encoding="utf-8")
    git(root, "add", "-A")
    git(root, "commit", "-qm", subject)
    return git(root, "rev-parse", "HEAD")


def edit(root, number, text, subject):
    """Commit another text of one line of app.py."""
    lines = Path(root, "app.py").read_text(encoding="utf-8").splitlines(keepends=True)
    lines[number - 1] = f"{text}\n"
    return write(root, "app.py", "".join(lines), subject)


def feature_on_branch(root, name="work"):
    """Two commits of a feature on a branch of their own; HEAD is back on the first branch."""
    git(root, "checkout", "-qb", name)
    edit(root, 10, "feature", "Add the feature")
    git(root, "commit", "-q", "--amend", "--no-edit", "--date=@1000000000 +0000")
    commits = [git(root, "rev-parse", "HEAD"), commit(root, feature="1")]
    git(root, "commit", "-q", "--amend", "--no-edit", "--date=@1000000060 +0000")
    commits[1] = git(root, "rev-parse", "HEAD")
    git(root, "checkout", "-q", "-")
    return commits


def presence(root, commits, head="HEAD"):
    return net_change.find_presence(root, [commits], head)[0]


def status(root, commits):
    return presence(root, commits).status


def test_commits_in_head_are_present(root, main):
    assert status(root, [edit(root, 10, "feature", "Add the feature"), commit(root, feature="1")]) == "present"


def test_a_feature_without_commits_is_present(root, main):
    assert status(root, []) == "present"


def test_a_branch_that_is_not_merged_is_named_with_the_command(root, main):
    commits = feature_on_branch(root)
    assert presence(root, commits) == ("unmerged", "work", "git merge work")
    git(root, *presence(root, commits).command.split()[1:])
    assert status(root, commits) == "present"


def test_the_branch_of_a_run_is_named_before_others(root, main):
    commits = feature_on_branch(root, "a-branch")
    git(root, "branch", "batch/20260101/merged", "a-branch")
    assert presence(root, commits).branch == "batch/20260101/merged"


def test_a_remote_branch_is_named_when_no_local_one_has_the_commits(root, main):
    commits = feature_on_branch(root)
    git(root, "update-ref", "refs/remotes/origin/work", "work")
    git(root, "branch", "-qD", "work")
    assert presence(root, commits).command == "git merge origin/work"


def test_another_commit_than_head_can_be_asked_for(root, main):
    commits = feature_on_branch(root)
    assert presence(root, commits, "work").status == "present"


@pytest.mark.some(6)
@pytest.mark.parametrize("way", ["merge", "squash", "rebase", "cherry-pick", "amend"])
@pytest.mark.parametrize("delete", [False, True], ids=["branch kept", "branch deleted"])
@pytest.mark.parametrize("edited", [True, False], ids=["edited later", "as it came"])
def test_what_came_another_way_is_present_also_when_it_is_edited_later(root, main, way, edited, delete):
    commits = feature_on_branch(root)
    edit(root, 30, "somebody else", "Edit elsewhere")
    if way == "merge":
        git(root, "merge", "-q", "--no-edit", "--no-ff", "work")
    elif way == "squash":
        git(root, "merge", "-q", "--squash", "work")
        git(root, "commit", "-qm", "All of it in one")
    elif way == "rebase":
        git(root, "rebase", "-q", main, "work")
        git(root, "checkout", "-q", "-B", main, "work")
    else:
        git(root, "cherry-pick", *commits)
    if way == "amend":
        edit(root, 11, "more", "to be amended")
        git(root, "reset", "-q", "--soft", "HEAD~1")
        git(root, "commit", "-q", "--amend", "-m", "Another message")
    if edited:
        edit(root, 10, "edited later", "Edit the same line")
        commit(root, feature="2")
    if delete:
        git(root, "branch", "-qD", "work")
    assert status(root, commits) == "present"


def test_a_branch_that_was_squashed_whole_has_each_of_its_features(root, main):
    git(root, "checkout", "-qb", "work")
    first, second = edit(root, 10, "one", "Add one"), edit(root, 11, "two", "Add two")
    git(root, "checkout", "-q", main)
    git(root, "merge", "-q", "--squash", "work")
    git(root, "commit", "-qm", "Both (#1)")
    edit(root, 10, "edited later", "Edit one")
    edit(root, 11, "edited later", "Edit two")
    assert [one.status for one in net_change.find_presence(root, [[first], [second]])] == ["present", "present"]
    git(root, "reset", "-q", "--hard", "HEAD~2")
    git(root, "revert", "--no-edit", "HEAD")
    both = net_change.find_presence(root, [[first], [second]])
    assert [one.status for one in both] == ["reverted", "reverted"]


@pytest.mark.some(4)
@pytest.mark.parametrize("way", ["direct", "merge", "squash", "rebase"])
@pytest.mark.parametrize("how", ["revert", "revert without a message", "by hand"])
def test_what_was_reverted_is_not_there_and_is_again_when_the_revert_is_reverted(root, main, way, how):
    commits = feature_on_branch(root)
    if way != "direct":
        edit(root, 30, "somebody else", "Edit elsewhere")
    before = git(root, "rev-parse", "HEAD")
    if way == "merge":
        git(root, "merge", "-q", "--no-edit", "--no-ff", "work")
    elif way == "squash":
        git(root, "merge", "-q", "--squash", "work")
        git(root, "commit", "-qm", "All of it")
    else:
        git(root, "cherry-pick", *commits) if way == "rebase" else git(root, "merge", "-q", "--ff-only", "work")
    came = git(root, "rev-list", "--first-parent", f"{before}..HEAD").split()
    if how == "by hand":
        git(root, "checkout", before, "--", ".")
        git(root, "rm", "-q", "feature.txt")
        git(root, "commit", "-qm", "No longer wanted")
    else:
        mainline = ["-m", "1"] if way == "merge" else []
        git(root, "revert", "--no-commit", *mainline, *came)
        names = ", ".join(f"{sha}" for sha in came)
        git(root, "commit", "-qm", f"Away\n\nThis reverts commits {names}." if how == "revert" else "Away")
    edit(root, 29, "later", "Edit elsewhere later")
    gone = presence(root, commits)
    assert gone.status == "reverted"
    assert gone.command
    git(
        root,
        *gone.command.split()[1:2],
        *(["--no-edit"] if "revert" in gone.command else []),
        *gone.command.split()[2:],
    )
    assert status(root, commits) == "present"
    edit(root, 10, "edited later", "Edit the same line")
    commit(root, feature="2")
    assert status(root, commits) == "present"


@pytest.mark.parametrize("times", [1, 2, 3, 4])
def test_a_revert_that_was_reverted_counts_even_if_the_lines_were_edited_later(root, main, times):
    made = edit(root, 10, "feature", "Add the feature")
    for _ in range(times):
        git(root, "revert", "--no-edit", "HEAD")
    edit(root, 10, "edited later", "Edit the same line")
    assert status(root, [made]) == ("reverted" if times % 2 else "present")


def test_the_revert_of_a_merge_takes_all_that_it_merged(root, main):
    commits = feature_on_branch(root)
    edit(root, 30, "somebody else", "Edit elsewhere")
    git(root, "merge", "-q", "--no-edit", "--no-ff", "work")
    git(root, "revert", "--no-edit", "-m", "1", "HEAD")
    edit(root, 10, "edited later", "Edit the same line")
    assert presence(root, commits) == ("reverted", "", f"git revert {git(root, 'rev-parse', 'HEAD~1')[:12]}")


def test_a_revert_of_one_of_its_commits_is_enough(root, main):
    commits = [edit(root, 10, "feature", "Add the feature"), commit(root, feature="1")]
    git(root, "revert", "--no-edit", commits[0])
    assert status(root, commits) == "reverted"


def test_a_feature_that_reverts_a_commit_of_its_own_is_present(root, main):
    first = edit(root, 10, "wrong", "Add it wrongly")
    git(root, "revert", "--no-edit", "HEAD")
    revert = git(root, "rev-parse", "HEAD")
    commits = [first, revert, edit(root, 10, "right", "Add it")]
    edit(root, 10, "edited later", "Edit the same line")
    assert status(root, commits) == "present"


def test_later_edits_of_another_feature_leave_it_present(root, main):
    made = write(root, "feature.py", "".join(LINES), "Add the feature")
    write(root, "feature.py", "".join(["another first line\n", *LINES[1:]]), "Edit it")
    git(root, "mv", "feature.py", "moved.py")
    git(root, "commit", "-qm", "Move it")
    assert status(root, [made]) == "present"


def test_a_feature_with_a_merge_of_its_own_is_judged_by_what_it_merged(root, main):
    side = feature_on_branch(root)
    edit(root, 30, "feature", "Add more of it")
    more = git(root, "rev-parse", "HEAD")
    git(root, "merge", "-q", "--no-edit", "--no-ff", "work")
    commits = [*side, more, git(root, "rev-parse", "HEAD")]
    assert status(root, commits) == "present"
    git(root, "checkout", "-q", "-b", "other", f"{more}~1")
    assert presence(root, commits).command == f"git merge {main}"


def test_commits_with_those_of_others_between_them_count_by_themselves(root, main):
    first = edit(root, 10, "feature", "Add the feature")
    edit(root, 20, "somebody else", "Edit elsewhere")
    commits = [first, commit(root, feature="1")]
    assert status(root, commits) == "present"
    edit(root, 10, "line 10", "Undo by hand")
    git(root, "rm", "-q", "feature.txt")
    git(root, "commit", "-qm", "Undo the rest")
    assert status(root, commits) == "reverted"


def test_a_branch_that_was_rebased_and_not_merged_is_named(root, main):
    commits = feature_on_branch(root)
    edit(root, 30, "somebody else", "Edit elsewhere")
    git(root, "rebase", "-q", main, "work")
    git(root, "checkout", "-q", main)
    assert presence(root, commits) == ("unmerged", "work", "git merge work")


def test_commits_on_no_branch_are_missing_and_can_be_picked(root, main):
    commits = feature_on_branch(root)
    git(root, "branch", "-qD", "work")
    lost = presence(root, commits)
    assert lost == ("missing", "", f"git cherry-pick {commits[0][:12]} {commits[1][:12]}")
    git(root, *lost.command.split()[1:])
    assert status(root, commits) == "present"


@pytest.mark.parametrize("name", ["0" * 40, "c0ffee1", "--output=x", "", "é"])
def test_commits_that_the_repository_does_not_have_are_missing(root, main, name):
    assert presence(root, [name]) == ("missing", "", "")


def test_a_first_commit_and_a_binary_file_with_a_strange_name_are_judged_too(tmp_path):
    git(tmp_path, "init", "-q")
    Path(tmp_path, 'a\nb \\ "ü.bin').write_bytes(bytes(range(256)))
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "Begin")
    made = git(tmp_path, "rev-parse", "HEAD")
    assert status(str(tmp_path), [made]) == "present"
    git(tmp_path, "rm", "-q", "-r", ".")
    git(tmp_path, "commit", "-qm", "Empty")
    assert status(str(tmp_path), [made]) == "reverted"


def test_without_a_commit_in_head_everything_is_missing(tmp_path):
    git(tmp_path, "init", "-q")
    assert status(str(tmp_path), ["0" * 40]) == "missing"


def test_neither_refs_nor_files_change_and_the_calls_do_not_grow_with_the_features(root, main, monkeypatch):
    made = [[commit(root, **{f"feature{number}": "1"})] for number in range(40)]
    before = git(root, "for-each-ref"), git(root, "status", "--porcelain")
    calls = []
    real = git_client.run_git
    monkeypatch.setattr(git_client, "run_git", lambda *words, **how: calls.append(words) or real(*words, **how))
    assert {one.status for one in net_change.find_presence(root, made)} == {"present"}
    assert len(calls) < 15
    assert (git(root, "for-each-ref"), git(root, "status", "--porcelain")) == before


def test_the_commits_of_a_feature_come_from_its_evidence():
    assert net_change.list_commits({"commit": "b", "commits": ["a", "b"]}) == ["a", "b"]
    assert net_change.list_commits({"commit": "b"}) == ["b"]
    assert net_change.list_commits({"commit": "b", "commits": ["b"], "no_change": "it is there"}) == []
    assert net_change.list_commits({}) == []
