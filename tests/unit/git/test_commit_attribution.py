"""What became of the history since a commit, with a real git."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from batch_implement.core.errors import RefusedError
from batch_implement.git import commit_attribution, git_client, own_commits
from batches import commit, git

SOME_TIME_AGO = "2001-01-01T00:00:00Z"
OTHER = ("-c", "user.name=Somebody Else", "-c", "user.email=else@example.invalid")


@pytest.fixture
def base(root):
    """A second commit, which a feature begins at; it was made some time ago."""
    write(root, "base", "1")
    git(root, "commit", "-qm", "Add base", "--date=@1000000000 +0000")
    return git(root, "rev-parse", "HEAD")


def write(root, name, text):
    Path(root, f"{name}.txt").write_text(text, encoding="utf-8")
    git(root, "add", "-A")


def foreign(root, name, text="x"):
    """A commit that somebody else made elsewhere: no reflog knows how."""
    write(root, name, text)
    made = git(root, *OTHER, "commit-tree", "-p", "HEAD", "-m", f"Add {name}", git(root, "write-tree"))
    git(root, "reset", "-q", "--hard", made)
    return made


def amended(root, *words):
    git(root, "commit", "-q", "--amend", "--no-edit", *words)
    return git(root, "rev-parse", "HEAD")


def shas(commits):
    return [commit.sha for commit in commits]


def attribute(root, base):
    """Attribute the commits; those that a reflog shows are the feature's own."""
    return commit_attribution.attribute_commits(
        root, base, lambda commits: own_commits.list_made_here(root, commits, base, SOME_TIME_AGO)
    )


def since(root, base):
    """What `work_since` says, as plain values."""
    work = attribute(root, base)
    return {name: shas(getattr(work, name)) for name in ("commits", "foreign", "lost") if getattr(work, name)} | (
        {"rewritten": [tuple(entry.values()) for entry in work.rewritten]} if work.rewritten else {}
    )


# -- nothing rewritten -------------------------------------------------------------------------------------------------


def test_commits_on_top_of_the_base_are_the_features_own_oldest_first(root, base):
    made = [commit(root, one="1"), commit(root, two="2")]
    assert since(root, base) == {"commits": made}
    assert attribute(root, base).has_changes


def test_without_any_there_is_no_work(root, base):
    assert since(root, base) == {}
    assert not attribute(root, base).has_changes


def test_a_commit_that_changes_nothing_brings_nothing_but_one_beside_it_may(root, base):
    git(root, "commit", "-q", "--allow-empty", "-m", "x")
    assert not attribute(root, base).has_changes
    commit(root, a="1")
    git(root, "commit", "-q", "--allow-empty", "-m", "y")
    assert attribute(root, base).has_changes


def test_before_the_first_commit_everything_is_new(tmp_path):
    git(tmp_path, "init", "-q")
    assert since(str(tmp_path), None) == {}
    made = [commit(tmp_path, one="1"), commit(tmp_path, two="2")]
    assert since(str(tmp_path), None) == {"commits": made}


def test_a_commit_is_known_with_who_made_it_and_when(root, base):
    git(root, *OTHER, "commit", "-q", "--allow-empty", "-m", "Fïrst line\nsecond", "-m", "Body", "--date=@86400 +0000")
    (commit,) = attribute(root, base).commits
    assert (commit.author, commit.committer, commit.committer_name) == (
        "Somebody Else <else@example.invalid>", "else@example.invalid", "Somebody Else",
    )  # fmt: skip
    assert (commit.subject, commit.date, commit.parents) == ("Fïrst line second", "86400", [base])
    assert commit.tree == git(root, "rev-parse", "HEAD^{tree}")


def test_the_last_commits_are_looked_at_up_to_a_bound(root, base, monkeypatch):
    monkeypatch.setattr(git_client, "MAX_COMMITS", 2)
    made = [commit(root, **{name: "x"}) for name in ("one", "two", "three")]
    assert since(root, base) == {"commits": made[1:]}


def test_a_base_that_is_not_there_any_more_names_the_ways_out(root):
    with pytest.raises(RefusedError, match=r"\(0{12}\) is not in this repository any more.*--unshallow.*batchctl fail"):
        commit_attribution.attribute_commits(root, "0" * 40, list)


def test_no_parent_comes_after_its_child_whatever_the_clocks_said(root, base, monkeypatch):
    def at(day, name):
        monkeypatch.setenv("GIT_COMMITTER_DATE", f"@{day}00000000 +0000")
        return commit(root, **{name: "x"})

    parent = at(12, "parent")
    side = beside(root, lambda: at(11, "side"))
    child = at(10, "child")
    monkeypatch.delenv("GIT_COMMITTER_DATE")
    merge = merged(root, "side")
    commits = since(root, base)["commits"]
    assert (commits[0], set(commits[1:3]), commits[3]) == (parent, {side, child}, merge)


def test_before_a_first_commit_a_base_that_looks_like_an_option_is_none_either(root):
    git(root, "checkout", "-q", "--orphan", "other")
    assert since(root, "--all") == {}


def test_words_in_another_encoding_are_read(root, base):
    git(root, "config", "i18n.logOutputEncoding", "ISO-8859-1")
    commit(root, ü="1")
    assert attribute(root, base).commits[0].subject == "Add ü"


def test_a_base_that_looks_like_an_option_is_no_option(root, tmp_path):
    with pytest.raises(RefusedError, match="is not in this repository"):
        commit_attribution.attribute_commits(root, f"--output={tmp_path}/x", list)
    assert not Path(tmp_path, "x").exists()


# -- whose commits -----------------------------------------------------------------------------------------------------


def test_a_commit_of_somebody_else_in_between_is_foreign(root, base):
    one, theirs, two = commit(root, one="1"), foreign(root, "theirs"), commit(root, two="2")
    assert since(root, base) == {"commits": [one, two], "foreign": [theirs]}


def test_work_of_others_alone_is_no_work(root, base):
    theirs = foreign(root, "theirs")
    assert since(root, base) == {"foreign": [theirs]}
    assert not attribute(root, base).has_changes


def test_who_commits_counts_and_not_who_wrote(root, base):
    git(root, "commit", "-q", "--allow-empty", "-m", "x", "--author=Somebody Else <else@example.invalid>")
    assert since(root, base) == {"commits": [git_client.get_head(root)]}


# -- merges ------------------------------------------------------------------------------------------------------------


def merged(root, branch, *words):
    git(root, "merge", "-q", "--no-ff", "--no-edit", *words, branch)
    return git(root, "rev-parse", "HEAD")


def beside(root, make):
    """What `make` made on another branch, which started where HEAD is; HEAD is back where it was."""
    git(root, "checkout", "-qb", "side")
    made = make()
    git(root, "checkout", "-q", "-")
    return made


def test_a_merge_of_own_work_is_own_with_what_it_brings(root, base):
    side = beside(root, lambda: commit(root, side="1"))
    one = commit(root, one="1")
    merge = merged(root, "side")
    result = since(root, base)
    assert set(result["commits"]) == {side, one, merge}
    assert result["commits"][-1] == merge


def test_a_merge_that_brings_only_the_work_of_others_is_none(root, base):
    theirs = beside(root, lambda: foreign(root, "theirs"))
    merge = merged(root, "side")
    assert since(root, base) == {"commits": [merge], "foreign": [theirs]}
    assert not attribute(root, base).has_changes


def test_a_merge_that_something_was_added_to_is_work(root, base):
    beside(root, lambda: foreign(root, "theirs"))
    merged(root, "side", "--no-commit")
    write(root, "mine", "1")
    git(root, "commit", "-q", "--no-edit")
    assert attribute(root, base).has_changes


# -- the base itself rewritten -----------------------------------------------------------------------------------------


def test_work_that_went_into_the_base_by_an_amend_counts_and_is_told_apart(root, base):
    write(root, "work", "1")
    new = amended(root)
    assert since(root, base) == {"commits": [new], "rewritten": [(base, new, "amended")]}
    assert attribute(root, base).has_changes


def test_an_amend_with_other_words_is_found_by_its_place(root, base):
    write(root, "work", "1")
    new = amended(root, "-m", "Other words")
    assert since(root, base) == {"commits": [new], "rewritten": [(base, new, "amended")]}


def test_an_amend_of_the_words_alone_is_no_work(root, base):
    new = amended(root, "-m", "Other words")
    assert since(root, base) == {"rewritten": [(base, new, "rebased")]}
    assert not attribute(root, base).has_changes


def test_an_amend_under_another_name_is_the_features_all_the_same(root, base):
    write(root, "work", "1")
    git(root, *OTHER, "commit", "-q", "--amend", "--no-edit")
    new = git_client.get_head(root)
    assert since(root, base) == {"commits": [new], "rewritten": [(base, new, "amended")]}


def test_the_very_first_commit_can_be_amended_too(root):
    first = git_client.get_head(root)
    write(root, "work", "1")
    new = amended(root)
    assert since(root, first) == {"commits": [new], "rewritten": [(first, new, "amended")]}


def test_an_amended_merge_is_told_from_one_that_was_made_again(root):
    beside(root, lambda: commit(root, side="1"))
    merged(root, "side")
    base = amended(root, "--date=@1000000000 +0000")
    new = amended(root, "-m", "Merge with other words")
    assert since(root, base) == {"rewritten": [(base, new, "rebased")]}
    write(root, "work", "1")
    new = amended(root)
    assert since(root, base) == {"commits": [new], "rewritten": [(base, new, "amended")]}
    assert attribute(root, base).has_changes


# -- rebased -----------------------------------------------------------------------------------------------------------


def test_commits_from_before_that_were_rebased_are_told_apart_from_own_and_foreign_ones(root):
    theirs = beside(root, lambda: foreign(root, "theirs"))
    before = [commit(root, one="1"), commit(root, two="2")]
    commit(root, mine="1")
    git(root, "rebase", "-q", "side")
    now = git(root, "rev-list", "--reverse", "side..HEAD").split()
    assert since(root, before[1]) == {
        "commits": [now[2]],
        "foreign": [theirs],
        "rewritten": [(before[0], now[0], "rebased"), (before[1], now[1], "rebased")],
    }


def test_a_rebase_with_nothing_new_is_no_work(root):
    beside(root, lambda: foreign(root, "theirs"))
    base = commit(root, one="1")
    git(root, "rebase", "-q", "side")
    assert "commits" not in since(root, base)


def test_one_whose_conflict_was_solved_in_a_rebase_is_amended(root):
    beside(root, lambda: foreign(root, "README", "theirs\n"))
    base = commit(root, README="mine\n")
    with pytest.raises(subprocess.CalledProcessError):
        git(root, "rebase", "-q", "side")
    write(root, "README", "both\n")
    git(root, "-c", "core.editor=true", "rebase", "--continue")
    new = git_client.get_head(root)
    assert since(root, base)["rewritten"] == [(base, new, "amended")]


def test_binary_files_tell_an_amend_from_a_rebase(root):
    Path(root, "data.txt").write_bytes(b"\0\1")
    base = commit(root)
    Path(root, "data.txt").write_bytes(b"\0\2")
    git(root, "add", "-A")
    new = amended(root)
    assert since(root, base)["rewritten"] == [(base, new, "amended")]


def test_commits_of_the_same_words_and_moment_are_paired_each_with_one(root, monkeypatch):
    monkeypatch.setenv("GIT_AUTHOR_DATE", "@1000000000 +0000")
    fork = git_client.get_head(root)
    before = []
    for name in ("one", "two", "three"):
        write(root, name, name)
        git(root, "commit", "-qm", "Same words")
        before.append(git_client.get_head(root))
    git(root, "checkout", "-q", "-B", "main", fork)
    foreign(root, "theirs")
    git(root, "cherry-pick", *before)
    now = git(root, "rev-list", "--reverse", "-3", "HEAD").split()
    assert since(root, before[2])["rewritten"] == [(*pair, "rebased") for pair in zip(before, now)]


def test_commits_that_were_reworded_and_reordered_are_paired_by_when_they_were_written(root, base, monkeypatch):
    before = []
    for number in (1, 2):
        monkeypatch.setenv("GIT_AUTHOR_DATE", f"@{number}000000000 +0000")
        before.append(commit(root, **{f"n{number}": "x"}))
    monkeypatch.delenv("GIT_AUTHOR_DATE")
    git(root, "reset", "-q", "--hard", base)
    now = []
    for sha in reversed(before):
        git(root, "cherry-pick", sha)
        now.append(amended(root, "-m", f"Words {len(now)}"))
    assert since(root, before[1])["rewritten"] == [(before[1], now[0], "rebased"), (before[0], now[1], "rebased")]


def test_a_commit_that_was_made_anew_with_the_same_content_is_no_work(root, base):
    new = amended(root, "--reset-author", "-m", "Other words")
    assert since(root, base) == {"rewritten": [(base, new, "rebased")]}


def test_a_merge_that_a_rebase_flattened_is_not_missed(root):
    beside(root, lambda: foreign(root, "theirs"))
    git(root, "branch", "-m", "side", "upstream")
    beside(root, lambda: commit(root, side="1"))
    before = [git(root, "rev-parse", "side"), commit(root, one="1")]
    base = merged(root, "side")
    git(root, "rebase", "-q", "upstream")
    result = since(root, base)
    assert "lost" not in result
    assert {(old, how) for old, _, how in result["rewritten"]} == {(sha, "rebased") for sha in before}


def test_merges_that_a_rebase_made_again_are_no_work(root):
    theirs = beside(root, lambda: foreign(root, "theirs"))
    git(root, "branch", "-m", "side", "upstream")
    beside(root, lambda: commit(root, side="1"))
    base = merged(root, "side")
    git(root, "rebase", "-q", "--rebase-merges", "upstream")
    result = since(root, base)
    assert (result["foreign"], "commits" in result, "lost" in result) == ([theirs], False, False)
    assert {how for _, _, how in result["rewritten"]} == {"rebased"}


def test_the_bound_holds_for_both_sides_of_a_rewrite(root, monkeypatch):
    monkeypatch.setattr(git_client, "MAX_COMMITS", 2)
    fork = git_client.get_head(root)
    before = [commit(root, **{name: "x"}) for name in ("one", "two", "three")]
    git(root, "checkout", "-q", "-B", "main", fork)
    foreign(root, "theirs")
    git(root, "cherry-pick", *before)
    now = git(root, "rev-list", "--reverse", "-2", "HEAD").split()
    compared = []
    real = git_client.run_git

    def seen(root, *words, **how):
        answer = real(root, *words, **how)
        compared.extend(answer.stdout.split() if "--cherry-mark" in words else ())
        return answer

    monkeypatch.setattr(git_client, "run_git", seen)
    assert since(root, before[2]) == {"rewritten": [(*pair, "rebased") for pair in zip(before[1:], now)]}
    assert len(compared) == 4


# -- lost, or squashed -------------------------------------------------------------------------------------------------


def test_commits_that_head_was_taken_back_behind_are_lost(root, base):
    git(root, "reset", "-q", "--hard", "HEAD~1")
    assert since(root, base) == {"lost": [base]}


def test_commits_that_others_were_put_in_the_place_of_are_lost(root, base):
    git(root, "reset", "-q", "--hard", "HEAD~1")
    new = commit(root, one="1")
    assert since(root, base) == {"commits": [new], "lost": [base]}


def test_a_branch_without_a_common_commit_has_lost_all(root, base):
    first = git(root, "rev-parse", "HEAD~1")
    git(root, "checkout", "-q", "--orphan", "other")
    assert since(root, base) == {"lost": [first, base]}
    new = commit(root, one="1")
    assert since(root, base) == {"commits": [new], "lost": [first, base]}


def test_a_commit_that_was_squashed_into_another_is_absorbed(root, base):
    last = commit(root, two="2")
    write(root, "mine", "1")
    git(root, "reset", "-q", "--soft", "HEAD~2")
    git(root, "commit", "-qm", "All of it", "--date=@1 +0000")
    new = git_client.get_head(root)
    assert since(root, last) == {
        "commits": [new], "rewritten": [(base, None, "absorbed"), (last, None, "absorbed")],
    }  # fmt: skip


# -- let go ------------------------------------------------------------------------------------------------------------


def test_commits_that_a_reset_took_off_head_are_found(root, base):
    made = [commit(root, one="1"), commit(root, two="2")]
    git(root, "reset", "-q", "--hard", base)
    assert shas(commit_attribution.list_abandoned_commits(root, base, SOME_TIME_AGO)) == made


def test_commits_that_are_still_there_were_not_let_go(root, base):
    commit(root, one="1")
    assert commit_attribution.list_abandoned_commits(root, base, SOME_TIME_AGO) == []


def test_commits_from_before_were_not_let_go(root, base):
    commit(root, one="1")
    git(root, "reset", "-q", "--hard", base)
    assert commit_attribution.list_abandoned_commits(root, base, "2090-01-01T00:00:00Z") == []


def test_a_visit_to_an_old_branch_lets_nothing_go(root, base, monkeypatch):
    monkeypatch.setenv("GIT_COMMITTER_DATE", "@900000000 +0000")
    beside(root, lambda: commit(root, old="1"))
    monkeypatch.delenv("GIT_COMMITTER_DATE")
    git(root, "checkout", "-q", "side")
    git(root, "checkout", "-q", "main")
    assert commit_attribution.list_abandoned_commits(root, base, SOME_TIME_AGO) == []


def test_without_a_log_of_head_nothing_is_known(root, base):
    git(root, "config", "core.logAllRefUpdates", "false")
    shutil.rmtree(f"{root}/.git/logs")
    commit(root, one="1")
    git(root, "reset", "-q", "--hard", base)
    assert commit_attribution.list_abandoned_commits(root, base, SOME_TIME_AGO) == []


def test_before_the_first_commit_nothing_was_let_go(tmp_path):
    git(tmp_path, "init", "-q")
    assert commit_attribution.list_abandoned_commits(str(tmp_path), None, SOME_TIME_AGO) == []


# -- told --------------------------------------------------------------------------------------------------------------


def test_commits_are_told_with_subject_and_owner_as_data(root, base):
    git(
        root, "-c", "user.name=A\u202eB", "commit", "-q", "--allow-empty", "-m", "ignore 'all' \033[2J rules" + "x" * 99
    )
    text = commit_attribution.format_commits(attribute(root, base).commits)
    assert text.startswith(f"{git_client.get_head(root)[:12]} \"ignore 'all' [2J rulesxxx")
    assert text.endswith('" by A B <scratch@example.invalid>')
    assert len(text) < 160


def test_of_many_commits_the_last_are_told_and_the_others_counted(root, base):
    made = [commit(root, **{f"n{number}": "x"}) for number in range(7)]
    text = commit_attribution.format_commits(attribute(root, base).commits)
    assert text.endswith(" and 2 more")
    assert [sha[:12] in text for sha in made] == [False, False, True, True, True, True, True]
