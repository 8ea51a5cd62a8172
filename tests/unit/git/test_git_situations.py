"""Repositories in every situation that a batch may meet, each with a real git and a sane answer to create, start, done
and fail.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from batch_implement.base.project_paths import Project
from batch_implement.commands import batch_commands, evidence, feature_commands
from batch_implement.commands.authorization import Caller
from batch_implement.commands.command import CommandContext
from batch_implement.core.errors import RefusedError, StateError
from batch_implement.features.feature_list import Feature, Listing
from batch_implement.features.sources import FeatureSource
from batch_implement.git import git_client
from batch_implement.runner.preflight import environment_checks
from batch_implement.store.store import Store
from batches import commit, git

PERSON = Caller("", None, is_user=True)
OTHER = ("-c", "user.name=Somebody Else", "-c", "user.email=else@example.invalid")
LOCAL = ("-c", "protocol.file.allow=always")
KEPT = "/1.1`: `git cherry-pick -n"


class Place:
    """A repository with a batch in it, driven as a person at a terminal drives it."""

    def __init__(self, root):
        self.root = str(root)
        self.project = Project(self.root)

    def create(self, features=2, **policy):
        listed = [Feature(f"feature {number + 1}", 0) for number in range(features)]
        batch_commands.create_batch(
            CommandContext(self.project, PERSON), FeatureSource(Listing(listed, {}), "-", []), policy
        )
        return self

    def start(self, **policy):
        """A batch whose first feature is open."""
        self.create(**policy)
        feature_commands.start(CommandContext(self.project, PERSON))
        return self

    def started_on(self, branch):
        """The feature's start with the branch that HEAD was on, in a batch that keeps no branch of its own."""
        state = Store(self.project).read()
        return {**state, "branch": None, "active": {**state["active"], "branch": branch}}

    @property
    def base(self):
        return Store(self.project).read()["active"]["base_commit"]

    def done(self, **how):
        return feature_commands.done(CommandContext(self.project, PERSON), **how).text

    def refusal(self, **how):
        with pytest.raises(RefusedError) as caught:
            self.done(**how)
        return caught.value.message

    def fail(self):
        return feature_commands.fail(CommandContext(self.project, PERSON), "it does not work").text

    def proof(self):
        """The first feature's evidence."""
        return Store(self.project).read()["evidence"]["0"]

    def write(self, name, text="x"):
        path = Path(self.root, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def git(self, *words):
        return git(self.root, *words)

    def commit(self, **files):
        return commit(self.root, **files)

    def foreign(self, name="theirs"):
        self.write(f"{name}.txt")
        self.git("add", f"{name}.txt")
        made = self.git(*OTHER, "commit-tree", "-p", "HEAD", "-m", f"Add {name}", self.git("write-tree"))
        self.git("reset", "-q", "--hard", made)  # no reflog shows that it was made here
        return made

    def hook(self, name, script):
        path = Path(self.root, ".git/hooks", name)
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def clean(self):
        return git_client.list_changes(self.root) == ([], [])

    def snapshot(self, number=1):
        """The ref of what the first attempt at a feature left."""
        refs = self.git("for-each-ref", "--format=%(refname)", "refs/batch").split()
        return next(ref for ref in refs if ref.endswith(f"/{number}.1"))

    def bring_back(self, number=1):
        self.git("cherry-pick", "-n", "-m", "1", self.snapshot(number))

    def stashes(self):
        return self.git("stash", "list").splitlines()


@pytest.fixture
def place(repository):
    """The scratch repository."""
    return Place(repository)


def fails(place, *words):
    with pytest.raises(subprocess.CalledProcessError):
        place.git(*words)


def works(place):
    """A whole feature from create to done, another that fails, and the answers on the way."""
    place.start()
    base = place.base
    assert base == git_client.get_head(place.root)
    assert "no commit since the feature began" in place.refusal()
    place.write("work.txt")
    assert "Not committed yet: work.txt" in place.refusal()
    made = place.commit(work="1")
    assert "is done" in place.done()
    assert (place.proof()["commit"], place.proof()["commits"]) == (made, [made])
    feature_commands.start(CommandContext(place.project, PERSON))
    assert place.base == made
    place.write("left.txt")
    place.write("work.txt", "changed")
    assert "/2.1`" in place.fail()
    assert place.clean()
    assert place.stashes() == []
    place.bring_back(2)
    assert Path(place.root, "left.txt").exists()
    assert Path(place.root, "work.txt").read_text() == "changed"
    return base


# -- kinds of repositories ---------------------------------------------------------------------------------------------


def test_an_ordinary_repository(place):
    works(place)


def test_a_detached_head(place):
    place.git("checkout", "-q", "--detach")
    works(place)
    assert place.proof()["branch"] is None


def test_a_linked_worktree(place, tmp_path):
    place.git("worktree", "add", "-q", "-b", "side", str(tmp_path / "tree"))
    tree = Place(tmp_path / "tree")
    works(tree)
    assert tree.proof()["branch"] == "side"
    assert place.clean()
    assert "No commit" not in place.git("log", "-1")


def test_a_shallow_clone(place, tmp_path):
    place.commit(two="2")
    place.commit(three="3")
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{place.root}", "shallow")
    shallow = Place(tmp_path / "shallow")
    assert works(shallow) == git(place.root, "rev-parse", "main")


def test_a_shallow_clone_whose_only_commit_is_amended(place, tmp_path):
    place.commit(two="2")
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{place.root}", "shallow")
    shallow = Place(tmp_path / "shallow").start()
    base = shallow.base
    shallow.write("work.txt")
    shallow.git("add", "-A")
    shallow.git("commit", "-q", "--amend", "--no-edit")
    shallow.done()
    new = git_client.get_head(shallow.root)
    assert shallow.proof()["rewritten"] == [{"old": base, "new": new, "how": "amended"}]


def test_a_shallow_clone_that_lost_the_base_says_how_to_get_it_back(place, tmp_path):
    place.commit(two="2")
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{place.root}", "shallow")
    shallow = Place(tmp_path / "shallow").start()
    place.commit(three="3")
    shallow.git("fetch", "-q", "--depth=1", "origin")
    shallow.git("reset", "-q", "--hard", "FETCH_HEAD")
    shallow.git("reflog", "expire", "--expire=now", "--all")
    shallow.git("gc", "-q", "--prune=now")
    assert "git fetch --unshallow" in shallow.refusal()
    shallow.git("fetch", "-q", "--unshallow", "origin")
    shallow.commit(work="1")
    assert "is done" in shallow.done()


def test_a_repository_with_sha_256(tmp_path):
    git(tmp_path, "init", "-q", "--object-format=sha256")
    commit(tmp_path, one="1")
    place = Place(tmp_path)
    base = works(place)
    assert len(base) == len(place.proof()["commit"]) == 64


def test_a_rewrite_in_a_repository_with_sha_256(tmp_path):
    git(tmp_path, "init", "-q", "--object-format=sha256")
    commit(tmp_path, one="1")
    place = Place(tmp_path).start()
    base = place.base
    place.write("work.txt")
    place.git("add", "-A")
    place.git("commit", "-q", "--amend", "--no-edit")
    place.done()
    assert place.proof()["rewritten"] == [{"old": base, "new": git_client.get_head(place.root), "how": "amended"}]


def test_a_branch_without_any_commit_finds_the_first_one(tmp_path):
    git(tmp_path, "init", "-q")
    place = Place(tmp_path).start()
    assert place.base is None
    assert "no commit since the feature began" in place.refusal()
    made = place.commit(work="1")
    place.done()
    assert (place.proof()["commits"], place.proof()["branch"]) == ([made], "main")


def test_on_a_branch_without_any_commit_leftovers_are_kept_and_come_back(tmp_path):
    git(tmp_path, "init", "-q")
    place = Place(tmp_path).start()
    place.write("left.txt")
    place.write("staged.txt")
    place.git("add", "staged.txt")
    assert KEPT in place.fail()
    assert place.clean()
    place.bring_back()
    assert Path(place.root, "left.txt").exists() and Path(place.root, "staged.txt").exists()


def test_what_is_staged_before_the_first_commit_stops_create(tmp_path):
    git(tmp_path, "init", "-q")
    place = Place(tmp_path)
    place.write("staged.txt")
    place.git("add", "-A")
    with pytest.raises(RefusedError, match=r"modified or staged: staged\.txt"):
        place.create()


# -- submodules --------------------------------------------------------------------------------------------------------


@pytest.fixture
def outer(place, tmp_path):
    """A repository with a submodule in `libs/in ner`, in a clone of its own."""
    inner = tmp_path / "inner"
    inner.mkdir()
    git(inner, "init", "-q")
    commit(inner, one="1")
    place.git(*LOCAL, "submodule", "--quiet", "add", str(inner), "libs/in ner")
    place.git("commit", "-qm", "Add the submodule")
    return place


@pytest.fixture
def within(outer):
    """The submodule as a project of its own."""
    return Place(f"{outer.root}/libs/in ner")


def test_inside_a_submodule(outer, within):
    within.git("checkout", "-q", "--detach")
    works(within)
    assert within.proof()["branch"] is None


def test_a_dirty_submodule_stops_create(outer, within):
    within.write("one.txt", "changed")
    with pytest.raises(RefusedError, match="modified or staged: libs/in ner") as refused:
        outer.create()
    first = "Commit inside the submodule libs/in ner first."
    assert first in refused.value.message
    assert [
        first in text
        for verdict, text in environment_checks.check_working_tree(str(outer.root), merge=False)
        if verdict == "error"
    ] == [True]


def test_work_in_a_submodule_is_committed_there_and_here(outer, within):
    outer.start()
    within.write("one.txt", "changed")
    assert "Commit inside the submodule libs/in ner first." in outer.refusal()
    within.commit(one="changed")
    message = outer.refusal()
    assert "Not committed yet: libs/in ner." in message
    assert "Inside" not in message
    outer.git("commit", "-qam", "Move the submodule")
    assert "is done" in outer.done()


def test_untracked_files_in_a_submodule_are_left_over_too(outer, within):
    outer.start()
    outer.commit(work="1")
    within.write("fresh.txt")
    assert "Commit inside the submodule libs/in ner first" in outer.refusal()


def test_leftovers_in_a_submodule_are_kept_there_and_it_goes_back(outer, within):
    belongs = within.git("rev-parse", "HEAD")
    outer.start()
    moved = within.commit(two="2")
    within.write("one.txt", "changed")
    within.write("fresh.txt")
    outer.write("left.txt")
    assert "So it does in the submodules" in outer.fail()
    assert outer.clean()
    assert within.clean()
    assert within.git("rev-parse", "HEAD") == belongs
    assert outer.stashes() == within.stashes() == []
    outer.bring_back()
    assert Path(outer.root, "left.txt").exists()
    outer.git("submodule", "--quiet", "update", "--no-fetch")
    assert within.git("rev-parse", "HEAD") == moved
    within.bring_back()
    assert Path(within.root, "fresh.txt").exists() and Path(within.root, "one.txt").read_text() == "changed"


def test_commits_in_a_submodule_that_no_branch_has_are_kept(outer, within):
    belongs = within.git("rev-parse", "HEAD")
    outer.start()
    within.git("checkout", "-q", "--detach")
    moved = within.commit(two="2")
    assert KEPT in outer.fail()
    assert within.git("rev-parse", "HEAD") == belongs
    assert within.git("rev-parse", within.snapshot()) == moved
    assert outer.git("rev-parse", f"{outer.snapshot()}:libs/in ner") == moved


def test_of_a_submodule_that_is_only_dirty_the_files_are_kept_there(outer, within):
    outer.start()
    within.write("one.txt", "changed")
    assert KEPT in outer.fail()
    assert outer.clean()
    within.bring_back()
    assert Path(within.root, "one.txt").read_text() == "changed"


def test_another_repository_inside_is_left_where_it_is(place):
    place.start()
    place.write("left.txt")
    git(place.root, "init", "-q", "clone")
    place.write("clone/file")
    assert KEPT in place.fail()
    assert git_client.list_changes(place.root) == ([], ["clone/"])
    assert Path(place.root, "clone/file").exists()


# -- hooks of the repository -------------------------------------------------------------------------------------------


def test_a_pre_commit_hook_that_rejects_leaves_what_is_uncommitted_to_be_told(place):
    place.start()
    place.hook("pre-commit", "echo no; exit 1")
    place.write("work.txt")
    place.git("add", "-A")
    fails(place, "commit", "-qm", "Work")
    assert "Not committed yet: work.txt" in place.refusal()
    assert KEPT in place.fail()
    assert place.clean()


def test_a_commit_msg_hook_that_rewrites_is_gits_business(place):
    place.start()
    place.hook("commit-msg", 'echo "Other words" >"$1"')
    made = place.commit(work="1")
    place.done()
    assert place.proof()["commits"] == [made]
    assert git(place.root, "log", "-1", "--format=%s", made) == "Other words"


def test_a_hook_that_commits_by_itself_makes_one_commit_more(place):
    place.start()
    place.hook("post-commit", "rm -f .git/hooks/post-commit; git commit -q --allow-empty -m Bot")
    place.commit(work="1")
    place.done()
    assert len(place.proof()["commits"]) == 2


def test_hooks_that_print_a_lot_stop_nothing(place):
    place.start()
    for name in ("post-index-change", "reference-transaction", "post-checkout", "post-commit"):
        place.hook(name, "head -c 300000 /dev/zero | tr '\\0' x; head -c 300000 /dev/zero | tr '\\0' y >&2")
    place.write("left.txt")
    place.git("add", "-A")
    assert KEPT in place.fail()
    assert place.clean()
    feature_commands.start(CommandContext(place.project, PERSON))
    place.commit(work="1")
    assert "is done" in place.done()


def test_a_hook_that_rejects_the_snapshot_is_told_and_nothing_is_gone(place):
    place.start()
    place.hook("reference-transaction", "echo not today >&2; exit 1")
    place.write("left.txt")
    with pytest.raises(StateError, match="`git update-ref -m` failed"):
        place.fail()
    assert Path(place.root, "left.txt").exists()
    assert Store(place.project).read()["active"] is not None


# -- the branch switched -----------------------------------------------------------------------------------------------


def test_another_branch_that_has_the_base_is_fine_and_recorded(place):
    place.start()
    place.git("checkout", "-qb", "topic")
    made = place.commit(work="1")
    taken = evidence.collect(place.project, place.started_on("main"))
    assert (taken["branch"], taken["branch_before"], taken["commits"]) == ("topic", "main", [made])


def test_the_same_branch_is_not_told_twice(place):
    place.start()
    place.commit(work="1")
    assert "branch_before" not in evidence.collect(place.project, place.started_on("main"))


def test_a_state_that_does_not_know_the_branch_is_not_asked(place):
    state = place.start().started_on("main")
    del state["active"]["branch"]
    place.git("checkout", "-qb", "topic")
    place.commit(work="1")
    assert "branch_before" not in evidence.collect(place.project, state)


@pytest.mark.parametrize(("words", "place_of"), [((), "on `old`"), (("--detach",), "detached")])
def test_another_branch_without_the_base_is_refused_with_the_way_back(place, words, place_of):
    place.git("branch", "old")
    place.commit(base="1")
    place.start()
    place.git("checkout", "-q", *words, "old")
    place.commit(work="1")
    with pytest.raises(RefusedError) as caught:
        evidence.collect(place.project, place.started_on("main"))
    message = caught.value.message
    began = f"The feature began on `main`, HEAD is {place_of}, which does not have its base {place.base[:12]}."
    assert began in message
    assert f"Missing are {place.base[:12]} 'Add base' by Scratch" in message
    assert "`git checkout main`" in message
    place.git("rebase", "-q", place.base)
    assert evidence.collect(place.project, place.started_on("main"))["branch_before"] == "main"


def test_on_the_same_branch_there_is_nowhere_to_go_back_to(place):
    place.commit(base="1")
    place.start()
    place.git("reset", "-q", "--hard", "HEAD~1")
    with pytest.raises(RefusedError, match="HEAD no longer has") as caught:
        evidence.collect(place.project, place.started_on("main"))
    assert "git checkout" not in caught.value.message


def test_a_detached_start_says_so(place):
    place.git("branch", "old")
    place.commit(base="1")
    place.start()
    place.git("checkout", "-q", "old")
    with pytest.raises(RefusedError, match="The feature began detached, HEAD is on `old`"):
        evidence.collect(place.project, place.started_on(None))


def test_a_switch_that_took_the_base_along_in_an_amend_is_fine(place):
    place.commit(base="1")
    place.start()
    base = place.base
    place.git("checkout", "-qb", "topic")
    place.write("work.txt")
    place.git("add", "-A")
    place.git("commit", "-q", "--amend", "--no-edit")
    taken = evidence.collect(place.project, place.started_on("main"))
    assert taken["rewritten"] == [{"old": base, "new": taken["commit"], "how": "amended"}]


# -- somebody else, merges, rewrites -----------------------------------------------------------------------------------


def test_a_commit_of_somebody_else_in_between_is_recorded_as_such(place):
    place.start()
    one, theirs, two = place.commit(one="1"), place.foreign(), place.commit(two="2")
    place.done()
    assert (place.proof()["commits"], place.proof()["foreign"]) == ([one, two], [theirs])


def test_only_commits_of_somebody_else_are_not_the_features_work(place):
    place.start()
    theirs = place.foreign()
    message = place.refusal()
    assert f"from elsewhere are {theirs[:12]} 'Add theirs' by Somebody Else <else@example.invalid>" in message
    assert "--no-change REASON" in message
    place.git("commit", "-q", "--amend", "--no-edit")
    assert "is done" in place.done()


def test_a_feature_that_others_have_done_needs_no_change(place):
    place.start()
    theirs = place.foreign()
    place.done(no_change="somebody did it")
    assert (place.proof()["commits"], place.proof()["foreign"]) == ([], [theirs])


def test_no_change_does_not_hold_for_own_work_beside_that_of_others(place):
    place.start()
    place.foreign()
    place.commit(work="1")
    assert "`--no-change` does not hold" in place.refusal(no_change="x")


def test_no_change_does_not_hold_when_commits_were_taken_away(place):
    place.commit(base="1")
    place.start()
    place.git("reset", "-q", "--hard", "HEAD~1")
    assert "`--no-change` does not hold" in place.refusal(no_change="x")


def test_a_merge_commit_with_the_features_work_is_evidence(place):
    place.start()
    place.git("checkout", "-qb", "side")
    work = place.commit(work="1")
    place.git("checkout", "-q", "main")
    place.git("merge", "-q", "--no-ff", "--no-edit", "side")
    place.done()
    assert place.proof()["commits"] == [work, git_client.get_head(place.root)]


def test_a_pull_that_only_merged_the_work_of_others_is_none(place):
    place.git("checkout", "-qb", "upstream")
    place.foreign()
    place.git("checkout", "-q", "main")
    place.commit(base="1")
    place.start()
    place.git("merge", "-q", "--no-edit", "upstream")
    message = place.refusal()
    assert "commits that change nothing in sum are" in message
    assert "from elsewhere are" in message


def test_an_amended_base_with_work_counts_and_is_told_apart(place):
    place.commit(base="1")
    place.start()
    base = place.base
    place.write("work.txt")
    place.git("add", "-A")
    place.git("commit", "-q", "--amend", "--no-edit")
    place.done()
    new = git_client.get_head(place.root)
    assert place.proof()["commits"] == [new]
    assert place.proof()["rewritten"] == [{"old": base, "new": new, "how": "amended"}]


def test_a_base_that_only_got_other_words_is_no_work(place):
    place.commit(base="1")
    place.start()
    base = place.base
    place.git("commit", "-q", "--amend", "-m", "Other words")
    message = place.refusal()
    assert (
        f"commits from before, only rewritten, are {git_client.get_head(place.root)[:12]} (was {base[:12]})" in message
    )


def test_a_rebase_in_the_middle_tells_own_rebased_and_foreign_commits_apart(place):
    place.git("checkout", "-qb", "upstream")
    theirs = place.foreign()
    place.git("checkout", "-q", "main")
    base = place.commit(base="1")
    place.start()
    place.commit(work="1")
    place.git("rebase", "-q", "upstream")
    place.done()
    proof = place.proof()
    new, work = place.git("rev-list", "--reverse", "upstream..main").split()
    assert (proof["commits"], proof["foreign"]) == ([work], [theirs])
    assert proof["rewritten"] == [{"old": base, "new": new, "how": "rebased"}]


def test_a_reset_that_took_the_work_away_is_told_with_the_way_back(place):
    place.start()
    state = Store(place.project).read()
    state["active"]["started_at"] = "2001-01-01T00:00:00Z"
    work = place.commit(work="1")
    place.git("reset", "-q", "--hard", place.base)
    with pytest.raises(RefusedError, match="There is no commit since the feature began") as caught:
        evidence.collect(place.project, state)
    assert f"HEAD was moved away from {work[:12]} 'Add work'" in caught.value.message
    assert f"`git merge {work[:12]}` brings it back" in caught.value.message
    place.git("merge", "-q", work[:12])
    assert "is done" in place.done()


def test_work_in_the_place_of_an_earlier_features_commit_is_refused_until_that_is_back(place):
    earlier = place.commit(earlier="1")
    place.git("commit", "-q", "--amend", "--no-edit", "--date=@1000000000 +0000")
    earlier = git_client.get_head(place.root)
    place.start()
    place.git("reset", "-q", "--hard", "HEAD~1")
    message = place.refusal()
    assert f"HEAD no longer has the commit that the feature began at, {earlier[:12]}." in message
    assert f"`git merge --ff-only {earlier[:12]}` brings them back" in message
    place.commit(work="1")
    message = place.refusal()
    assert f"Missing are {earlier[:12]} 'Add earlier'" in message
    assert f"`git rebase {earlier[:12]}` puts what is new on top of them" in message
    place.git("rebase", "-q", earlier[:12])
    assert "is done" in place.done()
    assert Path(place.root, "earlier.txt").exists()


def test_a_squash_of_earlier_commits_loses_nothing(place):
    place.commit(base="1")
    place.git("commit", "-q", "--amend", "--no-edit", "--date=@1000000000 +0000")
    place.start()
    base = place.base
    place.write("work.txt")
    place.git("add", "-A")
    place.git("reset", "-q", "--soft", "HEAD~1")
    place.git("commit", "-qm", "All of it")
    place.done()
    assert place.proof()["rewritten"] == [{"old": base, "new": None, "how": "absorbed"}]


# -- in the middle of something ----------------------------------------------------------------------------------------


@pytest.fixture
def forked(place):
    """Both branches changed README.md, so that each way of bringing them together stops."""
    place.git("checkout", "-qb", "side")
    place.commit(one="1")
    place.write("README.md", "side\n")
    place.git("commit", "-qam", "Side")
    place.git("checkout", "-q", "main")
    place.write("README.md", "main\n")
    place.git("commit", "-qam", "Main")
    return place.start()


def patches(place):
    place.git("format-patch", "-q", "main..side", "-o", ".git/patches")
    return [f".git/patches/{name}" for name in sorted(os.listdir(f"{place.root}/.git/patches"))]


UNDERWAY = {
    "rebase": ("a rebase", "git rebase --continue", lambda place: ("rebase", "side")),
    "rebase-apply": ("a rebase", "git rebase --continue", lambda place: ("rebase", "--apply", "side")),
    "am": ("`git am`", "git am --continue", lambda place: ("am", "-3", *patches(place))),
    "merge": ("a merge", "git merge --abort", lambda place: ("merge", "side")),
    "cherry-pick": ("a cherry-pick", "git cherry-pick --continue", lambda place: ("cherry-pick", "side")),
    "several": ("a cherry-pick", "git cherry-pick --continue", lambda place: ("cherry-pick", "main~1..side")),
    "revert": ("a revert", "git revert --continue", lambda place: ("revert", "side~1..side")),
}


@pytest.mark.parametrize("kind", UNDERWAY)
def test_what_is_in_progress_is_named_with_how_to_end_it(forked, kind):
    name, end, words = UNDERWAY[kind]
    fails(forked, *words(forked))
    message = forked.refusal()
    assert f"{name} is in progress" in message
    assert f"`{end}`" in message


@pytest.mark.parametrize("kind", UNDERWAY)
def test_a_failed_feature_leaves_nothing_in_progress(forked, kind):
    base = forked.base
    _, _, words = UNDERWAY[kind]
    fails(forked, *words(forked))
    at = git_client.get_head(forked.root)
    assert KEPT in forked.fail()
    if "rebase" not in kind:
        assert git_client.get_head(forked.root) == at  # what it had committed stays
    assert git_client.operation_in_progress(forked.root) is None
    assert forked.clean()
    assert git_client.get_branch(forked.root) == "main"
    assert forked.git("merge-base", base, "HEAD") == base
    feature_commands.start(CommandContext(forked.project, PERSON))
    forked.commit(work="1")
    assert "is done" in forked.done()


def twins(place):
    """Two commits that bring the same, so that picking the second one stops with nothing left to bring."""
    place.git("checkout", "-qb", "twin", "main~1")
    place.write("one.txt", "1")
    place.git("add", "-A")
    place.git("commit", "-qm", "The same again")
    place.git("checkout", "-q", "main")
    return ("side~1", "twin")


@pytest.mark.parametrize(("word", "given"), [("am", patches), ("cherry-pick", twins)])
def test_what_was_committed_on_the_way_stays_when_nothing_is_left_over(forked, word, given):
    fails(forked, word, *given(forked))
    assert forked.clean()
    at = git_client.get_head(forked.root)
    assert at != forked.base
    assert "refs/batch" not in forked.fail()
    assert (git_client.operation_in_progress(forked.root), git_client.get_head(forked.root)) == (None, at)


def test_between_two_picks_there_is_one_in_progress_as_well(forked):
    fails(forked, "cherry-pick", "side", "side~1")
    forked.git("checkout", "-q", "--theirs", "README.md")
    forked.git("commit", "-qam", "Solved")
    assert "sequencer" in os.listdir(f"{forked.root}/.git")
    assert "a cherry-pick or revert of several commits is in progress" in forked.refusal()
    forked.fail()
    assert git_client.operation_in_progress(forked.root) is None


def test_a_rebase_that_stopped_with_nothing_uncommitted_is_left_as_well(forked, monkeypatch):
    monkeypatch.setenv("GIT_SEQUENCE_EDITOR", "sed -i.bak s/^pick/edit/")
    forked.git("rebase", "-q", "-i", "HEAD~1")
    assert forked.clean()
    assert "a rebase is in progress" in forked.refusal()
    assert "refs/batch" not in forked.fail()
    assert (git_client.operation_in_progress(forked.root), git_client.get_branch(forked.root)) == (None, "main")


def test_what_a_rebase_had_stashed_by_itself_is_kept_too(forked):
    forked.write("one.txt", "mine")
    forked.git("add", "-A")
    forked.git("commit", "-qm", "One")
    forked.write("one.txt", "uncommitted")
    fails(forked, "rebase", "--autostash", "side~1")
    assert KEPT in forked.fail()
    assert forked.clean()
    assert forked.stashes() == []
    commits = forked.git("rev-list", "--parents", "-1", forked.snapshot()).split()
    assert forked.git("grep", "-l", "uncommitted", *commits)


def test_a_bisection_is_named_and_ended(place):
    place.commit(two="2")
    place.commit(three="3")
    place.start()
    place.git("bisect", "start")
    place.git("bisect", "bad")
    place.git("bisect", "good", "HEAD~2")
    message = place.refusal()
    assert "a bisection is in progress" in message
    assert "`git bisect reset`" in message
    place.fail()
    assert (git_client.operation_in_progress(place.root), git_client.get_branch(place.root)) == (None, "main")


def test_in_a_linked_worktree_its_own_rebase_is_seen_and_no_others(forked, tmp_path):
    forked.git("worktree", "add", "-q", "-b", "third", str(tmp_path / "tree"))
    tree = Place(tmp_path / "tree")
    fails(forked, "rebase", "side")
    assert git_client.operation_in_progress(tree.root) is None
    fails(tree, "rebase", "side")
    assert git_client.operation_in_progress(tree.root)[0] == "a rebase"


# -- odd files ---------------------------------------------------------------------------------------------------------


def test_files_that_git_was_told_to_overlook_are_gits_business(place):
    place.start()
    place.git("update-index", "--assume-unchanged", "README.md")
    place.write("README.md", "changed")
    place.commit(work="1")
    assert "is done" in place.done()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (b"new\nline", r'"new\nline"'), (b'say "hi"\t', r'"say \"hi\"\t"'), (b"-rf", "-rf"), ("é".encode(), "é"),
        (b"\xff\xfe", r'"\377\376"'), ("a\u202eb".encode(), r'"a\342\200\256b"'),
    ],
)  # fmt: skip
def test_odd_names_are_told_as_git_writes_them_and_can_be_kept(place, name, told):
    place.start()
    Path(place.root, os.fsdecode(name)).write_text("x")
    assert f"Not committed yet: {told}. What" in place.refusal()
    assert KEPT in place.fail()
    assert place.clean()


def test_an_untracked_name_that_is_no_text_is_known_again_after_it_was_kept(place):
    name = os.fsdecode(b"\xff\xfe")
    for path in (name, f"sub {name}/{name}"):
        place.write(path)
    place.start()
    place.write("work.txt")
    place.git("add", "work.txt")
    place.git("commit", "-qm", "Work")
    assert "is done" in place.done()
    feature_commands.start(CommandContext(place.project, PERSON))
    place.write("left.txt")
    assert "/2.1`" in place.fail()
    assert Path(place.root, name).exists()
    assert Path(place.root, f"sub {name}/{name}").exists()


# -- cost --------------------------------------------------------------------------------------------------------------


def test_done_asks_git_a_handful_of_questions_however_many_commits_there_are(place, monkeypatch):
    place.start()
    for number in range(8):
        place.commit(**{f"work{number}": "x"})
    asked = []
    real = git_client.run_git

    def counted(root, *words, **how):
        asked.append(words[0])
        return real(root, *words, **how)

    monkeypatch.setattr(git_client, "run_git", counted)
    place.done()
    assert len(asked) <= 16, asked
