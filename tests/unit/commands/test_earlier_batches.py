"""The same list again: what earlier batches did is left out, with a real git and the real commands."""

from __future__ import annotations

import json
import os
import time

import pytest
from batch_implement.git import git_client
from batches import commit, git

LIST = "- [ ] Add one\n- [ ] Add two\n"


@pytest.fixture
def todo(repository):
    """Writes the list that is used again and again; git does not see it."""
    git_client.add_excludes(str(repository / ".git" / "info" / "exclude"), ["TODO.md"])

    def write(text):
        (repository / "TODO.md").write_text(text, encoding="utf-8")

    write(LIST)
    return write


@pytest.fixture
def do(typed, repository):
    """Does the next features of the batch, each with a commit of a file of its name; returns the commits."""

    def work(*names):
        commits = []
        for name in names:
            assert typed("start")[0] == 0
            commits.append(commit(repository, **{name: name}))
            assert typed("done")[0] == 0
        return commits

    return work


def created(typed, *options):
    status, out, err = typed("create", "TODO.md", *options)
    assert status == 0, err
    return out


def batch_id(out):
    return out.split()[1]


def texts(typed):
    return [entry["text"] for entry in json.loads(typed("status", "--json")[1])["features"]]


def test_features_that_a_batch_did_are_left_out_and_counted(typed, todo, do):
    first = batch_id(created(typed))
    do("one", "two")
    todo(LIST + "- [ ] Add three\n")
    plan = typed("create", "TODO.md", "--dry-run")[1]
    assert f"2 features done in batch {first} left out." in plan
    assert f"done in batch {first} (2):" in plan
    out = created(typed)
    assert f"has 1 feature. 2 features done in batch {first} left out. `batchctl add` does a feature again." in out
    assert texts(typed) == ["Add three"]
    do("three")
    todo(LIST + "- [ ] Add three\n- [ ] Add four\n")
    assert created(typed).count("left out.") == 2  # from the archive and from the batch that is here
    assert texts(typed) == ["Add four"]


def test_a_list_that_is_done_is_refused_and_add_does_a_feature_again(typed, todo, do, repository):
    first = batch_id(created(typed))
    do("one", "two")
    status, _, err = typed("create", "TODO.md")
    assert status == 1
    assert f"Nothing to do: all 2 features are done in batch {first}. `batchctl add` does a feature again." in err
    (repository / "again.txt").write_text("Add one\n")
    assert typed("add", "again.txt")[0] == 0
    assert texts(typed) == ["Add one", "Add two", "Add one"]


def test_what_is_not_the_same_is_not_left_out(typed, todo, do):
    created(typed)
    do("one", "two")
    todo("## Later\n- [ ] Add one\n- [ ] Add two\n  in another way, with more\n  - a detail\n- [ ] add  TWO (id: a)\n")
    created(typed)
    assert texts(typed) == ["Add one", "Add two in another way, with more", "add  TWO"]


def test_a_feature_that_was_reverted_is_done_again_and_named(typed, todo, do, repository):
    first = batch_id(created(typed))
    one, _ = do("one", "two")
    git(repository, "revert", "--no-edit", one)
    out = created(typed)
    revert = git(repository, "rev-parse", "HEAD")[:12]
    assert (
        f"1 feature of batch {first}, reverted since, will be done again: 'Add one'. Instead, `git revert {revert}`"
        in out
    )
    assert texts(typed) == ["Add one"]


def test_a_feature_that_is_nowhere_is_done_again_and_named(typed, todo, do, repository):
    created(typed)
    do("one", "two")
    git(repository, "reset", "-q", "--hard", "HEAD~1")
    assert "no longer in HEAD nor on a branch, will be done again: 'Add two'. Instead, `git cherry-pick" in created(
        typed
    )
    assert texts(typed) == ["Add two"]


def test_a_feature_that_failed_is_done_again(typed, todo, do):
    created(typed)
    do("one")
    typed("start")
    typed("fail", "--reason", "no", "--permanent")
    created(typed)
    assert texts(typed) == ["Add two"]


def test_a_feature_on_an_unmerged_branch_is_left_out_with_the_command(typed, todo, do, repository):
    git(repository, "checkout", "-qb", "work")
    first = batch_id(created(typed))
    do("one", "two")
    git(repository, "checkout", "-q", "-")
    todo(LIST + "- [ ] Add three\n")
    out = created(typed)
    assert (
        "2 features left out are done on branch work, which is not merged: 'Add one', 'Add two'. `git merge work` "
        "merges them." in out
    )
    typed("abort")
    todo(LIST)
    assert (
        f"all 2 features are done in batch {first}; 2 of them not merged yet: `git merge work`"
        in typed("create", "TODO.md")[2]
    )
    todo(LIST + "- [ ] Add three (after: 2)\n")
    assert (
        "Feature 'Add three' needs 'Add two', which is done on branch work and not in HEAD."
        in typed("create", "TODO.md")[2]
    )


def test_what_needs_a_feature_that_is_left_out_needs_it_no_more(typed, todo, do):
    created(typed)
    do("one", "two")
    todo(f"{LIST}- [ ] Add three (after: 1)\n- [ ] Add four (after: 3, 2)\n- [ ] Add five (after: 4, 3)\n")
    plan = json.loads(typed("create", "TODO.md", "--dry-run", "--json")[1])
    assert [feature["text"] for feature in plan["features"]] == ["Add three", "Add four", "Add five"]
    assert plan["dependencies"] == {"2": [1], "3": [1, 2]}


def test_a_feature_without_a_change_counts_as_done(typed, todo, do):
    first = batch_id(created(typed))
    do("one")
    typed("start")
    assert typed("done", "--no-change", "it is there already")[0] == 0
    assert f"all 2 features are done in batch {first}" in typed("create", "TODO.md")[2]


def test_a_run_leaves_them_out_too(typed, todo, do):
    first = batch_id(created(typed))
    do("one", "two")
    assert f"all 2 features are done in batch {first}" in typed("run", "TODO.md", "--worker", "true")[2]
    todo(LIST + "- [ ] Add three\n")
    assert f"2 features done in batch {first} left out." in typed("run", "TODO.md", "--worker", "true", "--dry-run")[1]


def test_an_archived_file_that_cannot_be_read_is_named_and_prevents_nothing(typed, todo, do, store):
    created(typed)
    do("one", "two")
    todo("- [ ] Add three\n")
    created(typed)
    folder = f"{store.project.private}/archive"
    for name, text in [("a.json", "{"), ("b.json", "[]"), ("c.json", '{"completed_features": [7], "features": []}')]:
        with open(f"{folder}/{name}", "w", encoding="utf-8") as file:
            file.write(text)
    typed("abort")
    todo(LIST + "- [ ] Add three\n")
    out = created(typed)
    assert "2 archived batches in" in out
    assert texts(typed) == ["Add three"]


@pytest.mark.prove
def test_two_hundred_archived_batches_are_compared_with_few_calls_of_git(typed, todo, do, store, monkeypatch):
    created(typed)
    do("one", "two")
    todo("- [ ] Add three\n")
    created(typed)
    folder = f"{store.project.private}/archive"
    (name,) = [name for name in os.listdir(folder) if name.endswith(".json")]
    with open(f"{folder}/{name}", encoding="utf-8") as file:
        state = json.load(file)
    for number in range(200):
        with open(f"{folder}/batch-{number}.json", "w", encoding="utf-8") as file:
            json.dump({**state, "features": [*state["features"], *(f"text {other}" for other in range(100))]}, file)
    todo(LIST + "- [ ] Add three\n")
    calls = []
    real = git_client.run_git
    monkeypatch.setattr(git_client, "run_git", lambda *words, **how: calls.append(words) or real(*words, **how))
    began = time.perf_counter()
    assert "2 features done in batch" in typed("create", "TODO.md", "--dry-run")[1]
    print(f"{time.perf_counter() - began:.2f} s")
    assert len(calls) < 30
