"""What `batchctl done` refuses in a user's own tree, with the real batchctl and a real git."""

from __future__ import annotations

import shlex

from batches import commit, git, state_on_disk

# -- files from before the batch ---------------------------------------------------------------------------------------


def test_a_commit_of_everything_is_refused_with_the_user_files_in_it(tree):
    for name in ("settings.json", "notes/today.md", "notes/deep/er.md"):
        tree.write(name)
    tree.begin()
    tree.write("notes/fresh.md")
    commit(tree.root, parser="1")
    message = tree.refusal()
    assert "features.txt, notes/deep/er.md, notes/today.md, settings.json." in message
    assert "fresh" not in message
    remedy = message.split("`")
    git(tree.root, *remedy[1].split()[1:])
    git(tree.root, *remedy[3].split()[1:])
    tree.accept()
    assert git(tree.root, "ls-tree", "-r", "--name-only", "HEAD").split() == [
        "README.md",
        "notes/fresh.md",
        "parser.txt",
    ]
    assert (tree.root / "notes/deep/er.md").exists()


def test_user_files_are_refused_in_an_earlier_commit_even_when_a_later_one_removes_them(tree):
    tree.write("settings.json", "a secret")
    tree.begin()
    commit(tree.root, parser="1")
    git(tree.root, "rm", "-q", "--cached", "settings.json", "features.txt")
    git(tree.root, "commit", "-qm", "Take them out")
    message = tree.refusal()
    assert "features.txt, settings.json" in message
    assert f"`git reset --soft {git(tree.root, 'rev-parse', 'HEAD~2')[:12]}`" in message


def test_a_nested_repository_from_before_the_batch_is_no_work_of_a_feature(tree):
    git(tree.root, "init", "-q", "vendor")
    commit(tree.root / "vendor", inner="1")
    tree.begin()
    commit(tree.root, parser="1")
    assert "vendor" in tree.refusal()


def test_a_new_file_in_a_folder_from_before_the_batch_is_asked_for(tree):
    tree.write("notes/mine.md")
    tree.begin()
    tree.write("notes/fresh.md")
    tree.work("parser.txt")
    assert "Not committed yet: notes/fresh.md" in tree.refusal()


def test_what_verify_creates_may_be_committed_by_a_later_feature(tree):
    tree.write("features.txt", "Add a parser\nAdd a printer\n")
    assert tree.run("create", "features.txt", "--verify", "echo x >lock.json").returncode == 0
    assert tree.run("start").returncode == 0
    tree.work("parser.txt")
    tree.accept()
    assert tree.run("start").returncode == 0
    tree.work("lock.json")
    tree.accept()


def test_folders_with_too_many_files_count_as_a_whole(tree):
    tree.write("notes/mine.md")
    for number in range(1001):
        tree.write(f"data/{number}")
    tree.begin()
    assert state_on_disk(tree.root)["untracked_at_start"] == ["features.txt", "data/", "notes/mine.md"]
    tree.write("data/fresh")
    git(tree.root, "add", "data/fresh")
    git(tree.root, "commit", "-qm", "Add a parser")
    assert "data/fresh" in tree.refusal()


# -- ignored files -----------------------------------------------------------------------------------------------------


def test_work_that_a_rule_hides_is_asked_for_until_it_is_committed(tree):
    tree.work(".gitignore", "lib/\n")
    tree.begin()
    tree.write("lib/adder.py", "def add(a, b):\n    return a + b\n")
    tree.work("test_adder.py", "from lib.adder import add\n")
    message = tree.refusal()
    assert "Git ignores a file with work in it, and no commit has it: lib/adder.py." in message
    remedy = message.split("`")
    git(tree.root, *remedy[1].split()[1:])
    git(tree.root, *remedy[3].split()[1:])
    tree.accept()
    assert "lib/adder.py" in git(tree.root, "ls-tree", "-r", "--name-only", "HEAD")


def test_ignored_work_is_asked_for_without_a_change_too(tree):
    tree.work(".gitignore", "lib/\n")
    tree.begin()
    tree.write("lib/adder.py")
    assert "lib/adder.py" in tree.refusal("--no-change", "it was there already")


def test_what_is_left_out_is_recorded_reported_and_not_asked_for_again(tree):
    tree.work(".gitignore", "lib/\n*.csv\n")
    tree.begin()
    tree.write("lib/adder.py")
    tree.write("lib/deep/other.py")
    tree.write("table.csv")
    tree.work("test_adder.py")
    assert "lib/deep/other.py" in tree.refusal("--without", "lib/adder.py")
    answer = tree.accept("--without", "./lib/")
    assert "without lib/adder.py, lib/deep/other.py" in answer
    assert "In no commit, because git ignores them: table.csv." in answer
    assert state_on_disk(tree.root)["evidence"]["0"]["without"] == ["lib/adder.py", "lib/deep/other.py"]
    assert "files in no commit, which git ignores: `lib/adder.py, lib/deep/other.py`" in tree.run("report").stdout
    assert tree.run("start").returncode == 0
    tree.work("printer.txt")
    assert "lib" not in tree.accept()


def test_ignored_files_from_before_the_batch_are_not_asked_for(tree):
    tree.work(".gitignore", "lib/\n")
    tree.write("lib/mine.py")
    tree.begin()
    tree.work("parser.txt")
    tree.accept()


# -- own work ----------------------------------------------------------------------------------------------------------


def test_a_commit_and_its_revert_are_no_work(tree):
    tree.begin()
    tree.work("parser.txt")
    git(tree.root, "revert", "--no-edit", "HEAD")
    message = tree.refusal()
    assert "There is no commit of the feature's own" in message
    assert "commits that change nothing in sum are" in message
    assert "no change" in tree.accept("--no-change", "it was there already")


def test_a_pull_of_an_earlier_commit_of_the_same_person_is_no_work(tree, tmp_path, monkeypatch):
    git(tmp_path, "clone", "-q", str(tree.root), "laptop")
    monkeypatch.setenv("GIT_COMMITTER_DATE", "@1000000000 +0000")
    commit(tmp_path / "laptop", earlier="1")
    monkeypatch.delenv("GIT_COMMITTER_DATE")
    tree.begin()
    git(tree.root, "pull", "-q", "--ff-only", str(tmp_path / "laptop"), "main")
    assert "from elsewhere are" in tree.refusal()
    git(tree.root, "commit", "-q", "--amend", "--no-edit")
    tree.accept()


def test_work_that_was_committed_by_a_bot_is_accepted(tree):
    tree.begin()
    tree.write("parser.txt")
    git(tree.root, "add", "parser.txt")
    git(tree.root, "-c", "user.name=bot", "-c", "user.email=bot@example.invalid", "commit", "-qm", "Add a parser")
    tree.accept()


def test_a_file_that_others_change_too_does_not_make_a_reverted_commit_work(tree, tmp_path):
    git(tmp_path, "clone", "-q", str(tree.root), "laptop")
    tree.begin()
    commit(tmp_path / "laptop", parser="theirs")
    tree.work("parser.txt", "mine")
    git(tree.root, "revert", "--no-edit", "HEAD")
    git(tree.root, "pull", "-q", "--no-rebase", "--no-edit", str(tmp_path / "laptop"), "main")
    assert "commits that change nothing in sum are" in tree.refusal()


# -- the branch --------------------------------------------------------------------------------------------------------


def follow(tree, message):
    """Type the commands that a refusal names, up to `batchctl done`."""
    for command in message.split("`")[1::2]:
        if command == "batchctl done":
            return
        if command.startswith("git "):
            git(tree.root, *command.split()[1:])


def test_work_on_another_branch_is_refused_and_the_commands_named_bring_it_back(tree):
    tree.begin()
    git(tree.root, "checkout", "-qb", "topic")
    made = tree.work("parser.txt")
    message = tree.refusal()
    assert "HEAD is on `topic`, but the batch works on `main`" in message
    follow(tree, message)
    tree.accept()
    assert state_on_disk(tree.root)["evidence"]["0"]["commits"] == [made]
    assert git(tree.root, "symbolic-ref", "--short", "HEAD") == "main"


def test_work_on_a_detached_head_and_on_an_old_branch_comes_back_too(tree):
    git(tree.root, "branch", "old")
    commit(tree.root, earlier="1")
    tree.begin()
    git(tree.root, "checkout", "-q", "--detach")
    tree.work("parser.txt")
    follow(tree, tree.refusal())
    tree.accept()
    assert tree.run("start").returncode == 0
    git(tree.root, "checkout", "-q", "old")
    tree.work("printer.txt")
    follow(tree, tree.refusal())
    tree.accept()
    assert {"earlier.txt", "parser.txt", "printer.txt"} < set(git(tree.root, "ls-tree", "--name-only", "main").split())


def test_a_branch_that_was_renamed_is_made_again(tree):
    tree.begin()
    git(tree.root, "branch", "-m", "trunk")
    tree.work("parser.txt")
    follow(tree, tree.refusal())
    tree.accept()
    assert git(tree.root, "symbolic-ref", "--short", "HEAD") == "main"


def test_a_resume_moves_the_batch_to_another_branch_and_status_log_and_report_name_it(tree):
    tree.begin()
    assert "Branch: main." in tree.run("status").stdout
    git(tree.root, "checkout", "-qb", "topic")
    tree.work("parser.txt")
    assert tree.run("resume").returncode == 0
    tree.accept()
    assert "Branch: topic." in tree.run("status").stdout
    assert "moved to another branch; before: main; branch topic" in tree.run("log").stdout
    assert "Branch `topic`" in tree.run("report").stdout


def test_a_resume_says_that_it_moved_the_batch(tree):
    tree.begin()
    git(tree.root, "checkout", "-qb", "topic", "HEAD")
    assert "It continues on `topic`; it was on `main`." in tree.run("resume").stdout
    assert "It continues" not in tree.run("resume").stdout


def test_a_resume_on_a_branch_without_the_base_starts_the_open_feature_there(tree):
    git(tree.root, "branch", "old")
    commit(tree.root, earlier="1")
    tree.begin()
    git(tree.root, "checkout", "-q", "old")
    tree.run("resume")
    made = tree.work("parser.txt")
    tree.accept()
    assert state_on_disk(tree.root)["evidence"]["0"]["commits"] == [made]


# -- completed features ------------------------------------------------------------------------------------------------


def test_a_start_refuses_when_an_earlier_feature_is_not_in_head_and_names_what_brings_it_back(tree):
    commit(tree.root, earlier="1")
    tree.begin()
    tree.work("parser.txt")
    tree.accept()
    git(tree.root, "reset", "-q", "--hard", "HEAD~1")
    message = tree.run("start").stderr
    assert "Feature 1 is done, and its change is not in HEAD: `git cherry-pick" in message
    assert "is not in HEAD" in tree.run("report").stdout
    git(tree.root, *message.split("`")[1].split()[1:])
    assert tree.run("start").returncode == 0
    assert "is not in HEAD" not in tree.run("report").stdout


def test_a_feature_that_later_work_may_have_absorbed_is_named_and_not_refused(tree):
    tree.begin()
    tree.work("parser.txt", "one\n")
    tree.accept()
    tree.work("parser.txt", "one\ntwo\n")
    git(tree.root, "reset", "-q", "--soft", "HEAD~2")
    git(tree.root, "commit", "-qm", "Squash")
    begun = tree.run("start")
    assert (begun.returncode, "Feature 1 is done, and its change is not in HEAD" in begun.stdout) == (0, True)


def test_the_end_of_a_batch_and_the_report_name_a_feature_that_was_reverted(tree):
    tree.begin()
    tree.work("parser.txt")
    tree.accept()
    tree.run("start")
    tree.work("printer.txt")
    git(tree.root, "revert", "--no-edit", "HEAD~1")
    assert "Feature 1 is done, and its change was reverted: `git revert" in tree.accept()
    assert "its change was reverted" in tree.run("report").stdout
    assert "its change was reverted" in tree.run("report", "--format", "html").stdout


def test_a_person_can_retry_a_completed_feature(tree):
    tree.begin("Add a parser")
    tree.work("parser.txt")
    tree.accept()
    assert "Pending again: feature 1." in tree.run("retry", "1").stdout
    state = state_on_disk(tree.root)
    assert (state["status"], state["completed_features"], state["evidence"]) == ("in_progress", [], {})
    tree.run("start")
    tree.refusal()
    tree.work("more.txt")
    tree.accept()
    assert state_on_disk(tree.root)["completed_features"] == [0]


# -- the state's own folder --------------------------------------------------------------------------------------------


def test_a_feature_can_be_done_where_the_folder_of_the_state_is_a_submodule(tree):
    git(tree.root, "init", "-q", ".claude")
    commit(tree.root / ".claude", settings="{}")
    git(tree.root, "submodule", "--quiet", "add", "./.claude")
    git(tree.root, "commit", "-qm", "Add .claude")
    tree.begin()
    tree.work("parser.txt")
    tree.accept()
    assert git(tree.root / ".claude", "status", "--porcelain") == ""


def test_conflict_markers_are_amended_away_and_no_commit_has_them(tree):
    tree.begin()
    tree.work("my list.txt", "<<<<<<< HEAD\none\n=======\ntwo\n>>>>>>> other\n")
    remedy = tree.refusal().split("`")
    tree.write("my list.txt", "one\ntwo\n")
    for command in (remedy[3], remedy[5]):
        git(tree.root, *shlex.split(command)[1:])
    tree.accept()
    assert git(tree.root, "log", "--format=%h", "-G^<<<<<<<", "--", ".") == ""
