"""What is verified in a run: the commit, in a worktree that git alone writes. Whole runs with commands as workers."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest
from batch_implement.base import process_identity
from batch_implement.base.project_paths import Project
from batch_implement.commands import verify_command
from batch_implement.core.errors import StateError
from batch_implement.git import git_client, verify_tree, worktrees
from batch_implement.runner import attempt_verify
from batch_implement.runner.job import Job, get_tree_lock
from batch_implement.store.store import Store
from batches import BATCHCTL, commit, conditions, git, new_batch, started
from unattended import UnattendedRun

DRAIN = "cat > /dev/null; "


@pytest.fixture
def run_with(repository: Path) -> Iterator[Callable[..., UnattendedRun]]:
    """Make runs of one attempt per feature: `run_with(worker, features, verify=...)`. Nothing runs afterwards."""
    made: list[UnattendedRun] = []

    def make(worker: str, features: int = 1, **policy: Any) -> UnattendedRun:
        git_client.exclude_state_file(str(repository))
        Store(Project(str(repository))).create(new_batch(features, **{"max_retries": 0, **policy}))
        made.append(UnattendedRun(repository, worker=DRAIN + worker))
        return made[-1]

    yield make
    for unattended in made:
        top = unattended.state()["run"]["worktrees"]
        assert [path for path in (f"{top}/verify-0", f"{top}/merged") if os.path.exists(path)] == []
        assert process_identity.find_marked(f"{top}/verify-0") == []


def reason(state: dict[str, Any]) -> str:
    """Why the first feature failed."""
    return str(state["attempts"]["0"][-1]["error_message"])


def test_work_that_git_ignores_does_not_pass_the_verify_command(run_with, repository):
    commit(repository, **{".gitignore": ""})
    (repository / ".gitignore").write_text("lib/\n")
    git(repository, "add", ".gitignore")
    git(repository, "commit", "-qm", "Ignore lib")
    worker = "mkdir lib; echo x > lib/adder; echo 'cat lib/adder' > check.sh; git add . && git commit -qm Work"
    state = run_with(worker, verify="sh check.sh").drive()
    assert conditions(state) == ["failed"]
    assert "lib/adder: No such file" in reason(state)


@pytest.mark.parametrize(
    "hide",
    [
        "git config core.fileMode false; chmod +x tool",
        "git update-index --skip-worktree tool; printf '#!/bin/sh' > tool; chmod +x tool",
        "git update-index --assume-unchanged tool; printf '#!/bin/sh' > tool; chmod +x tool",
    ],
    ids=["a mode that git does not see", "skip-worktree", "assume-unchanged"],
)
def test_changes_that_are_hidden_from_git_do_not_pass_the_verify_command(run_with, hide):
    worker = f"echo exit 1 > tool; git add . && git commit -qm Work; {hide}"
    state = run_with(worker, verify="./tool").drive()
    assert conditions(state) == ["failed"]
    assert "exit status 126" in reason(state)


def test_files_of_a_nested_repository_that_no_commit_holds_are_named(run_with):
    worker = (
        "git init -q part; cd part; echo x > x; git add x; git commit -qm x; cd ..; git add part; git commit -qm Work"
    )
    state = run_with(worker, verify="true").drive()
    assert conditions(state) == ["failed"]
    assert "a link to a nested repository, without its files: part" in reason(state)


def test_what_a_verify_command_leaves_is_not_there_for_the_next_feature(run_with, repository):
    commit(repository, **{"first": "x"})
    (repository / ".gitignore").write_text("*.db\n")
    git(repository, "add", ".gitignore")
    git(repository, "commit", "-qm", "Ignore databases")
    verify = "test ! -e app.lock && test ! -e test.db && test ! -e part && touch app.lock test.db && git init -q part"
    worker = 'n=$(basename "$PWD"); echo x > "$n"; git add . && git commit -qm "$n"'
    state = run_with(worker, 4, verify=verify).drive(jobs=2)
    assert conditions(state) == ["done"] * 4
    assert any(merge["rebased"] for merge in state["run"]["merges"])  # the merge queue's own worktree too


def test_the_environment_of_who_types_done_does_not_decide(run_with, repository):
    (repository / "Makefile").write_text("check:\n\tfalse\n")
    git(repository, "add", "Makefile")
    git(repository, "commit", "-qm", "Add a check")
    worker = f"echo x > x; git add . && git commit -qm Work; MAKEFLAGS=-n {BATCHCTL} done; true"
    state = run_with(worker, verify="make check").drive()
    assert conditions(state) == ["failed"]
    assert "false" in reason(state) and "exit status 2" in reason(state)


def test_batchctl_below_a_verify_command_changes_no_batch(run_with, repository, tmp_path):
    worker = "echo x > x; git add . && git commit -qm Work"
    verify = f"cd '{repository}' && {BATCHCTL} skip 1 2> '{tmp_path}/refusal'; {BATCHCTL} status > /dev/null"
    state = run_with(worker, verify=verify).drive()
    assert conditions(state) == ["done"]
    assert "was run by the verify command" in (tmp_path / "refusal").read_text()


def test_slots_are_numbers_from_0_that_no_other_running_attempt_has(run_with, tmp_path):
    worker = 'echo "worker $BATCH_SLOT" >> "$SLOTS"; n=$(basename "$PWD"); echo > "$n"; git add .; git commit -qm "$n"'
    worker = worker.replace("$SLOTS", str(tmp_path / "slots"))
    verify = f'echo "verify $BATCH_SLOT" >> "{tmp_path}/slots"'
    state = run_with(worker, 3, verify=verify).drive(jobs=2)
    assert conditions(state) == ["done"] * 3
    lines = set((tmp_path / "slots").read_text().splitlines())
    assert {"worker 0", "worker 1", "verify 0", "verify 1", "verify 2"} == lines  # 2: the merge queue


def test_a_submodules_new_commit_is_verified_from_the_workers_repository(run_with, repository, tmp_path):
    part = tmp_path / "part"
    subprocess.run(["git", "init", "-q", part], check=True)
    commit(part, value="old")
    git(repository, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(part), "part")
    git(repository, "commit", "-qm", "Add a submodule")
    worker = (
        "git -c protocol.file.allow=always submodule --quiet update --init; cd part; echo new > value.txt; "
        "git commit -qam New; cd ..; git add part; git commit -qm Work"
    )
    unattended = run_with(worker, verify="cat part/value.txt; grep new part/value.txt")
    state = unattended.drive()
    assert conditions(state) == ["done"], reason(state)


def test_what_keeps_the_verify_worktree_from_being_made_pauses_the_batch_and_costs_no_attempt(run_with, repository):
    folder = Path(f"{repository}.worktrees") / "batch-1" / "verify-0"
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("somebody's")
    unattended = run_with("echo x > x; git add . && git commit -qm Work", verify="true")
    state = unattended.drive()
    assert conditions(state) == ["pending"] and state["status"] == "paused" and not state["attempts"]
    assert f"{folder} already exists and is not a worktree of this repository" in state["pause"]["reason"]
    (folder / "notes.txt").unlink()
    folder.rmdir()


def test_done_without_a_running_attempt_says_who_verifies(repository):
    state = {**started(new_batch(1, verify="true")), "attempt_of": {"batch_id": "night", "feature_number": 2}}
    with pytest.raises(StateError, match="`batchctl run --resume` in the project resumes batch night"):
        verify_command.wait_for_result(Project(str(repository)), state, state["policy"], "a" * 40, 0)


# -- setup -------------------------------------------------------------------------------------------------------------

WORK = 'n=$(basename "$PWD"); echo x > "$n"; git add . && git commit -qm "$n"'


@pytest.fixture
def project_with_lock(repository: Path) -> Path:
    """The repository, with a lock file, in which `deps` and databases are ignored."""
    (repository / "deps.lock").write_text("good\n")
    (repository / ".gitignore").write_text("/deps/\n*.db\n")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "Begin")
    return repository


def test_setup_prepares_each_worktree_once(run_with, project_with_lock, tmp_path):
    setup = f'echo "$BATCH_SLOT $(basename "$PWD")" >> \'{tmp_path}/setups\'; mkdir deps; cp deps.lock deps/installed'
    verify = "cmp deps.lock deps/installed && test ! -e test.db && touch test.db"
    worker = "test -e deps/installed || exit 3; " + WORK
    state = run_with(worker, 4, verify=verify, setup=setup).drive(jobs=2)
    assert conditions(state) == ["done"] * 4
    assert any(merge["rebased"] for merge in state["run"]["merges"])
    places = [line.split()[1] for line in (tmp_path / "setups").read_text().splitlines()]
    assert len(places) == len(set(places)) == 7
    assert {"0 verify-0", "1 verify-1", "2 verify-2"} < set((tmp_path / "setups").read_text().splitlines())


def test_setup_runs_again_for_a_feature_that_changes_its_lock_file(run_with, project_with_lock):
    setup, verify = "mkdir -p deps; cp deps.lock deps/installed", "cmp deps.lock deps/installed"
    worker = f'case "$PWD" in */2-*) echo better > deps.lock ;; esac; {WORK}'
    state = run_with(worker, 3, verify=verify, setup=setup).drive()
    assert conditions(state) == ["done"] * 3


def test_a_setup_command_that_fails_pauses_the_batch_and_costs_no_attempt(run_with, project_with_lock):
    state = run_with(WORK, verify="true", setup="echo 'no compiler here'; exit 9").drive()
    assert conditions(state) == ["pending"] and state["status"] == "paused" and not state["attempts"]
    assert (
        "The setup command `echo 'no compiler here'; exit 9` failed with exit status 9: no compiler here"
        in (state["pause"]["reason"])
    )


def test_a_setup_command_that_fails_only_where_verify_runs_is_not_the_features_fault(run_with, project_with_lock):
    setup = 'case "$PWD" in */verify-*) exit 9 ;; esac'
    state = run_with(WORK, verify="true", setup=setup).drive()
    assert conditions(state) == ["pending"] and state["status"] == "paused" and not state["attempts"]


@pytest.mark.prove
def test_a_setup_command_that_fails_in_the_merge_queue_keeps_the_work(run_with, project_with_lock):
    setup = 'case "$PWD" in */merged) exit 9 ;; esac'
    state = run_with(WORK, 2, verify="true", setup=setup).drive(jobs=2)
    assert sorted(conditions(state)) == ["done", "pending"] and state["status"] == "paused" and not state["attempts"]
    assert "merging feature" in state["pause"]["reason"] and "exit status 9" in state["pause"]["reason"]
    waiting = [client[-1] for client in state["run"]["clients"].values()]
    assert {client["outcome"] for client in waiting} == {"completed"}


def test_a_network_that_fails_the_setup_command_is_waited_for(run_with, project_with_lock, tmp_path):
    setup = f"test -e '{tmp_path}/up' && exit; touch '{tmp_path}/up'; "
    setup += "echo 'curl: (6) Could not resolve host: a.b'; exit 6"
    unattended = run_with(WORK, verify="true", setup=setup)
    state = unattended.drive()
    assert conditions(state) == ["done"] and len(unattended.of("waiting")) == 1
    assert [client["failure_class"] for client in state["run"]["clients"]["0"]] == ["network", ""]


def test_a_lock_file_of_a_feature_that_cannot_be_set_up_fails_that_feature(run_with, project_with_lock):
    setup = "grep good deps.lock"
    worker = f'case "$PWD" in */1-*) echo bad > deps.lock ;; esac; {WORK}'
    state = run_with(worker, 2, verify="true", setup=setup).drive()
    assert conditions(state) == ["failed", "done"]
    assert "The feature changes deps.lock." in reason(state) and "exit status 1" in reason(state)


def test_what_setup_changes_in_tracked_files_is_in_no_commit(run_with, project_with_lock):
    setup, worker = "echo changed > deps.lock; mkdir deps", 'echo x > x; git add -A && git commit -qm "Work"'
    state = run_with(worker, verify="grep good deps.lock", setup=setup).drive()
    assert conditions(state) == ["done"], reason(state)
    assert git(project_with_lock, "show", "--name-only", "--format=", state["run"]["branch"]) == "x"


@pytest.mark.prove
def test_build_caches_that_are_kept_stay_between_features(run_with, project_with_lock, tmp_path):
    verify = f"ls *.db 2> /dev/null; test -e cache/x && touch '{tmp_path}/cached'; mkdir -p cache; touch cache/x"
    state = run_with(WORK, 2, verify=verify, keep=["/cache/"]).drive()
    assert conditions(state) == ["done"] * 2 and (tmp_path / "cached").exists()


# -- submodules --------------------------------------------------------------------------------------------------------

FROM_FILES = "git -c protocol.file.allow=always"
COMMIT_IN_SUBMODULE = (
    f'{FROM_FILES} submodule --quiet update --init; n=$(basename "$PWD"); cd part; echo "$n" > value.txt; '
    'git commit -qam "$n"; cd ..; git add part; git commit -qm "Work on $n"'
)


@pytest.mark.some(1)
@pytest.mark.parametrize("before", ["checked out", "not checked out", "removed"])
def test_a_commit_in_a_submodule_outlives_the_worktree_that_it_was_made_in(run_with, repository, tmp_path, before):
    part = tmp_path / "part"
    subprocess.run(["git", "init", "-q", part], check=True)
    commit(part, value="old")
    git(repository, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(part), "part")
    git(repository, "commit", "-qm", "Add a submodule")
    if before != "checked out":
        git(repository, "submodule", "--quiet", "deinit", "--force", "part")
    if before == "removed":
        subprocess.run(["rm", "-rf", repository / ".git" / "modules"], check=True)
    worker = f'case "$PWD" in */1-*) {COMMIT_IN_SUBMODULE} ;; *) sleep 1; {WORK} ;; esac'
    state = run_with(worker, 2, verify=f"test -e part/value.txt || {FROM_FILES} submodule --quiet update --init").drive(
        jobs=2
    )
    assert conditions(state) == ["done", "done"], state["pause"]
    assert not Path(state["run"]["worktrees"]).exists()
    git(repository, "merge", "-q", "--ff-only", state["run"]["branch"])
    git(repository, "-c", "protocol.file.allow=always", "submodule", "--quiet", "update", "--init")
    assert (repository / "part" / "value.txt").read_text().startswith("1-")
    refs = git(repository / "part", "for-each-ref", "--format=%(refname)", "refs/batch")
    assert refs == "refs/batch/batch-1/1.1"


@pytest.mark.prove
def test_a_commit_in_a_submodule_of_a_failed_attempt_is_kept_too(run_with, repository, tmp_path):
    part = tmp_path / "part"
    subprocess.run(["git", "init", "-q", part], check=True)
    commit(part, value="old")
    git(repository, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(part), "part")
    git(repository, "commit", "-qm", "Add a submodule")
    state = run_with(COMMIT_IN_SUBMODULE, verify="false", max_retries=1).drive()
    assert conditions(state) == ["failed"]
    assert git(repository / "part", "log", "-1", "--format=%s", "refs/batch/batch-1/1.1").startswith("1-")


def test_a_change_in_a_submodule_that_settings_hide_does_not_pass_the_verify_command(run_with, repository, tmp_path):
    part = tmp_path / "part"
    subprocess.run(["git", "init", "-q", part], check=True)
    commit(part, value="old")
    git(repository, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(part), "part")
    git(repository, "config", "-f", ".gitmodules", "submodule.part.ignore", "dirty")
    git(repository, "commit", "-qam", "Add a submodule")
    worker = f"{FROM_FILES} submodule --quiet update --init; echo new > part/value.txt; {WORK}"
    state = run_with(worker, verify="cat part/value.txt; grep -q new part/value.txt").drive()
    assert conditions(state) == ["failed"] and "> old" in reason(state)


# -- files and variables of others -------------------------------------------------------------------------------------


@pytest.mark.prove
def test_a_file_that_is_made_while_verify_runs_does_not_decide(run_with, tmp_path):
    verify = f"touch '{tmp_path}/begun'; sleep 1; test -e helper"
    helper = f"(while ! test -e '{tmp_path}/begun'; do sleep 0.1; done; touch helper)"
    state = run_with(f"{WORK}; {helper} & {BATCHCTL} done; wait; rm helper", verify=verify).drive()
    assert conditions(state) == ["failed"] and "exit status 1" in reason(state)


def test_a_file_in_a_folder_that_was_untracked_at_the_start_does_not_decide(run_with):
    worker = "touch lib/adder; echo 'test -e lib/adder' > check.sh; git add check.sh; git commit -qm Work"
    state = run_with(worker, setup="mkdir lib; touch lib/generated", verify="sh check.sh").drive()
    assert conditions(state) == ["failed"] and "Not committed yet: lib/adder" in reason(state)


@pytest.mark.prove
def test_a_rebase_that_was_killed_in_the_queues_worktree_costs_no_feature_a_redo(run_with, repository):
    folder = Path(f"{repository}.worktrees", "batch-1", "merged")
    head = commit(repository, both="0")
    verify_tree.prepare(str(repository), str(folder), head)
    conflict = "git checkout -q --detach; echo 1 > both.txt; git commit -qam 1; git branch -q one; git reset -q --hard "
    conflict += "HEAD^; echo 2 > both.txt; git commit -qam 2; ! git rebase -q one 2> /dev/null; echo x > app.lock"
    subprocess.run(["sh", "-c", conflict], cwd=folder, check=True, capture_output=True)
    git(repository, "branch", "-D", "one")
    assert git_client.operation_in_progress(str(folder))
    state = run_with(WORK, 2, verify="test ! -e app.lock && grep 0 both.txt").drive(jobs=2)
    assert conditions(state) == ["done", "done"] and not state["run"]["sent_back"] and not state["attempts"]


def test_verify_has_the_environment_of_the_run_whatever_the_worker_sets(run_with, monkeypatch):
    monkeypatch.setenv("FROM_RUN", "yes")
    worker = f"{WORK}; export FROM_RUN=no FROM_WORKER=yes; {BATCHCTL} done"
    state = run_with(worker, verify='test "$FROM_RUN" = yes && test -z "$FROM_WORKER"').drive()
    assert conditions(state) == ["done"]


def test_on_a_cluster_an_attempt_waits_for_another_that_uses_the_worktree_of_its_slot(repository, tmp_path):
    head = commit(repository, work="x")
    tree = str(tmp_path / "trees" / "1-feature")
    worktrees.add(str(repository), tree, "batch/batch-1/1-feature", head)
    project = Project(tree)
    state = {**started(new_batch(1, verify="true")), "attempt_of": {"batch_id": "batch-1"}}
    fields = dict.fromkeys(Job._fields[:17])
    fields.update(batch_id="batch-1", repository=str(repository), remote=True, worktree=tree, policy=state["policy"])
    job = Job(**{**fields, "base": head})
    held = verify_command.open_locked(get_tree_lock(job))
    stopped = threading.Event()
    with attempt_verify.Verifier(project, state, job, stopped):
        with pytest.raises(verify_command.StillRunning):
            verify_command.wait_for_result(project, state, state["policy"], head, 1)
        assert not os.path.exists(tmp_path / "trees" / "verify-0")
        os.close(held)
        assert verify_command.wait_for_result(project, state, state["policy"], head, 60)[0] == 0
    assert not stopped.is_set()
    worktrees.remove_generated(str(repository), str(tmp_path / "trees" / "verify-0"))
