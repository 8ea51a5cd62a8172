"""`--tick`: the boxes of completed features are ticked in one commit at the end, with a real git."""

from __future__ import annotations

from pathlib import Path

import pytest
from batch_implement.git import git_client
from batches import BATCHCTL, commit, git

LIST = "# Plan\n\n- [ ] Add one\n  - [ ] a step\n- [x] Add none\n- [/] Add two\r\n- [ ] Add three\n"


@pytest.fixture
def todo(repository):
    """The list, committed; writes and commits another text of it."""

    def write(text, name="TODO.md"):
        (repository / name).write_bytes(text.encode())
        git(repository, "add", name)
        git(repository, "commit", "-qm", f"Write {name}")

    write(LIST)
    return write


@pytest.fixture
def end(typed, repository):
    """Creates a batch, completes its features named so, fails the others for good, and returns the last message."""

    def work(*names, file="TODO.md", options=()):
        status, out, err = typed("create", file, "--tick", *options)
        assert status == 0, err
        created = out + err
        for name in names:
            assert typed("start")[0] == 0
            if name:
                git(repository, "commit", "-q", "--allow-empty", "-m", "x")
                (repository / f"{name}.txt").write_text(name)
                git(repository, "add", f"{name}.txt")
                git(repository, "commit", "-qm", f"Add {name}")
                out = typed("done")[1]
            else:
                out = typed("fail", "--reason", "no", "--permanent")[1]
        return created, out

    return work


def text_of(repository, ref="HEAD", name="TODO.md"):
    return git_client.run_git(str(repository), "cat-file", "blob", f"{ref}:{name}").stdout


def test_completed_features_are_ticked_in_one_commit_at_the_end(todo, end, repository):
    _, out = end("one", "two", "")
    after = LIST.replace("[ ] Add one", "[x] Add one").replace("[ ] a step", "[x] a step").replace("[/]", "[x]")
    assert text_of(repository) == after
    assert (repository / "TODO.md").read_bytes() == after.encode()
    assert git(repository, "status", "--porcelain") == ""
    assert f"Ticked 2 features in TODO.md (commit {git(repository, 'rev-parse', 'HEAD')[:12]})." in out
    assert git(repository, "diff", "--name-only", "HEAD~1") == "TODO.md"
    assert git(repository, "log", "-1", "--format=%s") == "Tick 2 features in TODO.md"


def test_without_the_option_nothing_is_ticked(todo, typed, repository):
    typed("create", "TODO.md")
    head = git(repository, "rev-parse", "HEAD")
    for number in "1", "2", "3":
        typed("skip", number)
    assert git(repository, "rev-parse", "HEAD") == head


def test_a_batch_that_is_retried_ticks_the_rest_later(todo, end, typed, repository):
    end("one", "two", "")
    typed("retry")
    typed("start")
    commit(repository, three="3")
    assert "Ticked 1 feature in TODO.md" in typed("done")[1]
    assert "[ ]" not in text_of(repository)


def test_a_skip_may_be_the_end_too(todo, end, typed, repository):
    end("one", "two")
    assert "Ticked 2 features in TODO.md" in typed("skip", "3")[1]


def test_a_list_that_changed_meanwhile_is_ticked_where_the_features_are_now(todo, end, typed, repository):
    todo("- [ ] Add one\n- [ ] Add two\n- [ ] Add three\n")
    typed("create", "TODO.md", "--tick")
    for name in "one", "two":
        typed("start")
        commit(repository, **{name: name})
        typed("done")
    todo("- [ ] New\n- [ ] Add three\n- [ ] Add two in blue\n- [ ] Add one\n  with more\n- [ ] Add one\n  - note\n")
    typed("start")
    commit(repository, three="3")
    out = typed("done")[1]
    assert "Ticked 2 features in TODO.md" in out
    assert "No open box in TODO.md for 'Add two'." in out
    assert text_of(repository) == (
        "- [ ] New\n- [x] Add three\n- [ ] Add two in blue\n- [ ] Add one\n  with more\n- [x] Add one\n  - note\n"
    )


def test_what_was_reverted_during_the_batch_is_not_ticked(todo, end, typed, repository):
    end("one", "two")
    git(repository, "revert", "--no-edit", "HEAD")
    typed("skip", "3")
    assert "[/] Add two" in text_of(repository)
    assert "[x] Add one" in text_of(repository)


def test_an_untracked_list_is_named_and_not_ticked(end, repository):
    (repository / "plan.md").write_text("- [ ] Add one\n")
    created, out = end("one", file="plan.md")
    assert "--tick: plan.md will not be ticked: it is not tracked by git." in created
    assert "plan.md is not ticked: it is not tracked by git." in out
    assert (repository / "plan.md").read_text() == "- [ ] Add one\n"


def test_a_list_that_is_not_markdown_is_named_and_not_ticked(todo, end, repository):
    todo("- [ ] Add one\n", "plan.txt")
    created, out = end("one", file="plan.txt")
    assert "--tick: plan.txt will not be ticked: it is not a Markdown file." in created
    assert "plan.txt is not ticked: it is not a Markdown file." in out


def test_a_list_with_changes_that_are_not_committed_is_named_and_not_ticked(todo, end, typed, repository):
    end("one", "two")
    (repository / "TODO.md").write_text("- [ ] mine\n")
    assert "TODO.md is not ticked: it has changes that are not committed." in typed("skip", "3")[1]
    assert (repository / "TODO.md").read_text() == "- [ ] mine\n"


def test_issues_and_standard_input_cannot_be_ticked(typed):
    for words in ("--issues", "3"), ("-",):
        assert typed("create", *words, "--tick")[0] == 2


def test_a_list_in_a_folder_is_ticked_and_other_files_keep_their_modes(todo, end, repository):
    folder = repository / "docs" / "a b"
    folder.mkdir(parents=True)
    (folder / "run").write_text("x")
    (folder / "run").chmod(0o755)
    (folder / "plan.md").write_text("- [ ] Add one\n")
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "Plan")
    before = git(repository, "ls-tree", "-r", "HEAD").splitlines()
    end("one", file="docs/a b/plan.md")
    after = git(repository, "ls-tree", "-r", "HEAD").splitlines()
    assert [line.split("\t")[1] for line in after if line not in before] == ["docs/a b/plan.md", "one.txt"]
    assert (folder / "plan.md").read_text() == "- [x] Add one\n"


def test_a_run_ticks_on_the_branch_of_the_batch(todo, typed, repository):
    worker = repository.parent / "worker.sh"
    worker.write_text(
        'echo x > "$BATCH_FEATURE_NUMBER$RANDOM$$.txt"; git add -A; git commit -qm x; ' + f"{BATCHCTL} done\n"
    )
    todo("- [ ] Add one\n- [ ] Add two\n")
    status, out, err = typed("run", "TODO.md", "--tick", "--worker", f"bash {worker}")
    assert status == 0, out + err
    assert "Ticked 2 features in TODO.md" in out
    (branch,) = git(repository, "branch", "--list", "batch/*/merged", "--format=%(refname:short)").splitlines()
    assert text_of(repository, branch) == "- [x] Add one\n- [x] Add two\n"
    assert Path(repository, "TODO.md").read_text() == text_of(repository) == "- [ ] Add one\n- [ ] Add two\n"
    # The same list again, before and after the branch is squashed into one commit and deleted.
    assert f"2 of them not merged yet: `git merge {branch}`." in typed("create", "TODO.md")[2]
    git(repository, "merge", "-q", "--squash", branch)
    git(repository, "commit", "-qm", "All of it (#1)")
    git(repository, "branch", "-qD", branch)
    todo("- [ ] Add one\n- [ ] Add two\n- [ ] Add three\n")
    assert "2 features done in batch" in typed("create", "TODO.md", "--dry-run")[1]
