"""The few questions asked of git, with a real git."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from batch_implement.core.errors import StateError
from batch_implement.git import git_client, leftovers
from batches import commit, git

ODD_NAMES = [
    "a b", "it's", 'say "hi"', "$(touch x)", "-rf", "*", "[a]", ":(top)x", "é", "tab\there", "new\nline", "back\\slash",
    "R  x", ".hidden",
]  # fmt: skip


def write(root, name, text="x"):
    path = Path(root) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.fixture
def bare_start(tmp_path):
    """A repository before its first commit."""
    git(tmp_path, "init", "-q")
    return str(tmp_path)


# -- questions ---------------------------------------------------------------------------------------------------------


def test_a_work_tree_is_told_from_any_other_folder(root, tmp_path):
    write(root, "src/x")
    assert git_client.is_repository(root)
    assert git_client.is_repository(f"{root}/src")
    assert not git_client.is_repository(f"{root}/.git")
    (tmp_path / "plain").mkdir()
    assert not git_client.is_repository(str(tmp_path / "plain"))
    assert not git_client.is_repository(str(tmp_path / "gone"))


def test_why_there_is_no_repository_is_told_with_what_to_do(root, tmp_path, monkeypatch):
    (tmp_path / "plain").mkdir()
    assert git_client.explain_missing_repository(str(tmp_path / "plain")).endswith(
        "is not a git repository. Start in one, or run `git init` and commit the files"
    )
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    assert not git_client.is_repository(root)
    why = git_client.explain_missing_repository(root)
    assert "belongs to somebody else" in why and f"`git config --global --add safe.directory {root}`" in why


def test_head_and_branch_are_what_git_says_or_none(root, bare_start):
    assert git_client.get_head(root) == git(root, "rev-parse", "HEAD")
    assert (git_client.get_branch(root), git_client.get_head(bare_start)) == ("main", None)
    git(root, "checkout", "-q", "--detach")
    assert git_client.get_branch(root) is None


def test_commits_since_a_base_are_told_oldest_first(root, bare_start):
    base = git_client.get_head(root)
    made = [commit(root, one="1"), commit(root, two="2")]
    assert git_client.list_commits_since(root, base) == made
    assert git_client.list_commits_since(root, made[1]) == []
    assert git_client.list_commits_since(root, None) == [base, *made]
    assert git_client.list_commits_since(bare_start, None) == []


def test_commits_are_told_up_to_a_bound_and_the_last_ones(root, monkeypatch):
    monkeypatch.setattr(git_client, "MAX_COMMITS", 2)
    made = [commit(root, **{name: "x"}) for name in ("one", "two", "three")]
    assert git_client.list_commits_since(root, None) == made[1:]


def test_a_branch_that_was_moved_back_has_no_commits_of_its_own(root):
    base = commit(root, one="1")
    git(root, "reset", "-q", "--hard", "HEAD~1")
    assert git_client.list_commits_since(root, base) == []


def test_trees_tell_whether_anything_is_different(root):
    base = git_client.get_head(root)
    there = commit(root, one="1")
    git(root, "rm", "-q", "one.txt")
    git(root, "commit", "-qm", "back")
    assert (
        git_client.get_tree(root, base)
        == git_client.get_tree(root, git_client.get_head(root))
        != git_client.get_tree(root, there)
    )
    assert git_client.get_tree(root, None) is None


def test_git_says_who_commits_or_that_nobody_does(root, monkeypatch, tmp_path):
    assert git_client.has_identity(root)
    monkeypatch.setenv("HOME", str(tmp_path))
    git(root, "config", "user.useConfigOnly", "true")
    assert not git_client.has_identity(root)


def test_the_address_of_who_commits_is_what_git_would_put_into_a_commit(root, monkeypatch):
    assert git_client.get_committer_email(root) == "scratch@example.invalid"
    git(root, "config", "user.email", "here@example.invalid")
    assert git_client.get_committer_email(root) == "here@example.invalid"
    monkeypatch.setenv("GIT_COMMITTER_EMAIL", "env@example.invalid")
    assert git_client.get_committer_email(root) == "env@example.invalid"


def test_an_address_that_git_makes_up_is_none(root, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("EMAIL", "made-up@example.invalid")
    assert git_client.has_identity(root)
    assert git_client.get_committer_email(root) is None


def test_nothing_is_in_progress_in_an_ordinary_tree_or_without_git(root, tmp_path):
    assert git_client.operation_in_progress(root) is None
    assert git_client.operation_in_progress(str(tmp_path)) is None


def test_the_version_is_what_git_says():
    assert git_client.require_version().startswith("git version 2")


@pytest.mark.parametrize(
    ("version", "is_new_enough"),
    [
        ("2.37.9", False),
        ("1.8.3.1", False),
        ("2.38.0", True),
        ("2.39.5 (Apple Git-154)", True),
        ("2.50.1.windows.1", True),
        ("3.0.0-rc1", True),
        ("", False),
    ],
)
def test_a_git_without_merge_tree_is_refused_with_the_version_that_has_it(
    version, is_new_enough, monkeypatch, tmp_path
):
    old = tmp_path / "git"
    old.write_text(f"#!/bin/sh\necho 'git version {version}'\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    if is_new_enough:
        assert git_client.require_version() == f"git version {version}"
    else:
        with pytest.raises(StateError, match=r"is too old: git 2\.38 or newer is needed first on PATH"):
            git_client.require_version()


# -- changes -----------------------------------------------------------------------------------------------------------


def test_a_clean_tree_has_no_changes(root):
    assert git_client.list_changes(root) == ([], [])


def test_what_is_modified_staged_deleted_or_untracked_is_told(root):
    commit(root, changed="1", gone="1", staged="1", removed="1")
    write(root, "changed.txt", "2")
    os.unlink(f"{root}/gone.txt")
    write(root, "staged.txt", "2")
    write(root, "added.txt")
    git(root, "add", "staged.txt", "added.txt")
    git(root, "rm", "-q", "removed.txt")
    write(root, "new.txt")
    write(root, "folder/deep/new.txt")
    tracked, untracked = git_client.list_changes(root)
    assert sorted(tracked) == ["added.txt", "changed.txt", "gone.txt", "removed.txt", "staged.txt"]
    assert sorted(untracked) == ["folder/", "new.txt"]


def test_both_names_of_a_renamed_file_are_told(root):
    commit(root, old="a longer text, so that git sees a rename", other="1")
    git(root, "mv", "old.txt", "new.txt")
    write(root, "other.txt", "2")
    assert sorted(git_client.list_changes(root)[0]) == ["new.txt", "old.txt", "other.txt"]


def test_a_rename_that_is_only_intended_is_told_with_both_names_too(root):
    commit(root, old="a longer text, so that git sees a rename", other="1")
    os.rename(f"{root}/old.txt", f"{root}/new.txt")
    git(root, "add", "--intent-to-add", "new.txt")
    write(root, "other.txt", "2")
    assert sorted(git_client.list_changes(root)[0]) == ["new.txt", "old.txt", "other.txt"]


def test_ignored_files_are_no_changes(root):
    write(root, ".gitignore", "*.log\n")
    git(root, "add", ".gitignore")
    git(root, "commit", "-qm", "ignore")
    write(root, "x.log")
    assert git_client.list_changes(root) == ([], [])


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_come_back_as_they_are(root, name):
    write(root, name)
    assert git_client.list_changes(root) == ([], [name])
    git(root, "--literal-pathspecs", "add", "--", name)
    assert git_client.list_changes(root) == ([name], [])


def test_a_name_that_is_no_text_comes_back_too(root):
    name = os.fsdecode(b"\xff\xfe")
    write(root, name)
    assert git_client.list_changes(root) == ([], [name])


def test_the_state_file_is_no_change_whether_tracked_or_not(root):
    write(root, ".claude/batch_state.json")
    write(root, ".claude/batch_state.json.tmp")
    write(root, ".claude/settings.json")
    git(root, "add", ".claude/settings.json")
    git(root, "commit", "-qm", "settings")
    assert git_client.list_changes(root) == ([], [])
    git(root, "add", "--force", ".claude/batch_state.json")
    assert git_client.list_changes(root) == ([], [])


def test_looking_does_not_write_to_the_repository(root):
    commit(root, one="1")
    os.utime(f"{root}/one.txt", (1, 1))
    before = os.stat(f"{root}/.git/index")
    git_client.list_changes(root)
    after = os.stat(f"{root}/.git/index")
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_only_submodules_change_inside(root):
    write(root, "README.md", "changed")
    write(root, "new.txt")
    assert git_client.list_changed_submodules(root) == []


def test_paths_are_listed_up_to_ten_and_the_others_counted():
    assert git_client.format_paths(["a b", "é"]) == "a b, é"
    assert git_client.format_paths([f"n{number}" for number in range(13)]).endswith("n8, n9 and 3 more")


@pytest.mark.parametrize(
    ("name", "shown"), [("tab\there", r'"tab\there"'), ('\n"\\', r'"\n\"\\"'), ("\x7f", r'"\177"')]
)
def test_a_name_that_a_line_cannot_hold_is_listed_as_git_quotes_it(root, name, shown):
    write(root, name)
    assert git_client.format_paths([name]) == shown
    assert git(root, "-c", "core.quotePath=false", "status", "--porcelain") == f"?? {shown}"


def test_left_over_is_what_was_not_there_at_the_start(root):
    for name in ("known.txt", "mine/a.txt"):
        write(root, name)
    known = git_client.list_changes(root)[1]
    for name in ("fresh.txt", "mine/b.txt", "other/c.txt"):
        write(root, name)
    write(root, "README.md", "changed")
    assert git_client.list_uncommitted_paths(root, known) == ["README.md", "fresh.txt", "other/"]


@pytest.mark.parametrize("folder", ["?", os.fsdecode(b"\xff")], ids=["as the state keeps it", "as it is"])
def test_a_name_that_is_no_text_is_known_in_either_form(root, folder):
    real = os.fsdecode(b"\xff")
    for name in (real + "file", f"{real}/tracked", f"{real}/new"):
        write(root, name)
    git(root, "add", f"{real}/tracked")
    git(root, "commit", "-qm", "Track one")
    assert git_client.list_uncommitted_paths(root, []) == [f"{real}/new", real + "file"]
    assert git_client.list_uncommitted_paths(root, [f"{folder}file", f"{folder}/"]) == []


def test_a_folder_that_holds_something_known_is_taken_apart(root):
    write(root, "sub/known.txt")
    write(root, "sub/fresh.txt")
    assert git_client.list_uncommitted_paths(root, ["sub/known.txt"]) == ["sub/fresh.txt"]


def test_a_folder_whose_name_is_no_text_is_taken_apart_too(root):
    real = os.fsdecode(b"\xff")
    write(root, f"{real}/known.txt")
    write(root, f"{real}/fresh.txt")
    assert git_client.list_uncommitted_paths(root, ["?/known.txt"]) == [f"{real}/fresh.txt"]


# -- hiding the state --------------------------------------------------------------------------------------------------


def test_the_state_is_hidden_from_git_once(root):
    for _ in range(2):
        git_client.exclude_state_file(root)
    write(root, ".claude/batch_state.json")
    write(root, ".claude/batch_state.json.tmp")
    git(root, "add", "-A")
    assert git(root, "status", "--porcelain") == ""
    assert Path(root, ".git/info/exclude").read_text().count("batch_state.json") == 1


def test_what_the_exclude_file_had_stays_also_without_a_line_end(root):
    Path(root, ".git/info").mkdir(exist_ok=True)
    Path(root, ".git/info/exclude").write_bytes(b"*.log\xff")
    git_client.exclude_state_file(root)
    assert Path(root, ".git/info/exclude").read_bytes() == b"*.log\xff\n/.claude/batch_state.json*\n"


def test_the_state_of_a_linked_worktree_is_hidden_too(root, tmp_path):
    git(root, "worktree", "add", "-q", str(tmp_path / "tree"))
    git_client.exclude_state_file(str(tmp_path / "tree"))
    write(tmp_path / "tree", ".claude/batch_state.json")
    assert git(tmp_path / "tree", "status", "--porcelain") == ""


def test_the_state_of_a_project_inside_a_work_tree_is_hidden_there(root):
    write(root, "sub/x")
    git_client.exclude_state_file(f"{root}/sub")
    assert "/sub/.claude/batch_state.json*" in Path(root, ".git/info/exclude").read_text().splitlines()


@pytest.mark.parametrize("is_submodule", [True, False])
def test_the_state_is_hidden_in_the_repository_that_its_folder_is(root, is_submodule):
    git(root, "init", "-q", ".claude")
    write(root, ".claude/settings.json")
    git(f"{root}/.claude", "add", ".")
    git(f"{root}/.claude", "commit", "-qm", "Add settings")
    if is_submodule:
        git(root, "submodule", "--quiet", "add", "./.claude")
        git(root, "submodule", "--quiet", "absorbgitdirs")
        git(root, "commit", "-qm", "Add .claude")
    git_client.exclude_state_file(root)
    write(root, ".claude/batch_state.json")
    assert git(f"{root}/.claude", "status", "--porcelain") == ""
    assert git_client.list_changes(root) == ([], [] if is_submodule else [".claude/"])


def test_an_exclude_file_that_cannot_be_written_says_what_would_happen(root):
    shutil.rmtree(f"{root}/.git/info", ignore_errors=True)
    write(root, ".git/info")
    with pytest.raises(StateError, match="would end up in its own commits"):
        git_client.exclude_state_file(root)


# -- git itself --------------------------------------------------------------------------------------------------------


def test_without_git_the_message_says_so(root, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StateError, match="git was not found on PATH"):
        git_client.require_version()
    assert not git_client.is_repository(root)


def test_a_git_that_does_not_answer_is_given_up_on(root, monkeypatch, tmp_path):
    slow = tmp_path / "git"
    slow.write_text("#!/bin/sh\nexec sleep 30\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(git_client, "TIMEOUT_S", 0.2)
    with pytest.raises(StateError, match=f"optional-locks status` did not answer within 0.2 s in {root} and was"):
        git_client.list_changes(root)


def test_a_failure_is_told_in_gits_own_words(root):
    with pytest.raises(StateError, match=r"`git rev-parse --verify` failed in .*: fatal: .*[^.]\. Fix this, then try"):
        git_client.get_tree(root, "nonsense")


def test_variables_that_point_git_elsewhere_are_not_followed(root, monkeypatch, tmp_path):
    here = git_client.get_head(root)
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY"):
        monkeypatch.setenv(name, str(tmp_path / "elsewhere"))
    assert (git_client.get_head(root), git_client.list_changes(root)) == (here, ([], []))


def test_variables_that_change_what_a_path_means_are_not_followed(root, monkeypatch):
    monkeypatch.setenv("GIT_LITERAL_PATHSPECS", "1")
    write(root, "README.md", "changed")
    assert leftovers.keep(root, "refs/batch/b/1.1") == "refs/batch/b/1.1"
    leftovers.take_out(root, "refs/batch/b/1.1")
    assert git_client.list_changes(root) == ([], [])


def test_git_never_waits_for_an_answer_from_a_terminal(root, monkeypatch, tmp_path):
    spy = tmp_path / "git"
    spy.write_text('#!/bin/sh\necho "$GIT_TERMINAL_PROMPT $LC_ALL $(cat)"\n')
    spy.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert git_client.run_git("/", "--version").stdout == "0 C \n"


def test_a_git_that_was_killed_is_no_answer_even_where_a_failure_is_one(repository, tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "git").write_text("#!/bin/sh\nkill -9 $$\n")
    (tmp_path / "bin" / "git").chmod(0o755)
    head = git_client.get_head(str(repository))
    monkeypatch.setenv("PATH", f"{tmp_path}/bin{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(StateError, match="died of signal 9"):
        git_client.has_commit(str(repository), head)
