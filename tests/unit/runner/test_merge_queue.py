"""The merge queue in whole runs: real git, real processes, commands as workers."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from batch_implement.base.project_paths import Project
from batch_implement.git import git_client
from batch_implement.runner import merge_tips
from batch_implement.store.store import Store
from batches import conditions, git, new_batch
from unattended import UnattendedRun

BRANCH = "batch/batch-1/merged"
READ = 'brief=$(mktemp); cat > "$brief"; n=$(sed -n "s/^> feature \\([0-9]*\\)$/\\1/p" "$brief" | head -1); '
COMMIT = 'git add . && git commit -qm "Add $n"'
# The attempt's own verify run of each but the first waits until the first is merged: it is not on top of the head then.
LATER = f"[ -e feature-1.txt ] || until git cat-file -e {BRANCH}:feature-1.txt 2> /dev/null; do sleep 0.05; done; "
WORKER = f'{READ}echo "$n" > "feature-$n.txt"; {COMMIT}'


@pytest.fixture
def start(repository, tmp_path):
    """Make a run: `start(worker, features, verify=..., verify_jobs=...)`. In the queue, verify appends a line to
    `runs`.
    """

    def make(worker: str, features: int, *, verify: str = "true", options: dict[str, Any] | None = None, **batch: Any):
        git_client.exclude_state_file(str(repository))
        command = f'[ "$BATCH_SLOT" -lt 8 ] || echo begin $(ls feature-*.txt) >> {tmp_path}/runs; {LATER}{verify}'
        Store(Project(str(repository))).create(new_batch(features, verify=command, **batch))
        return UnattendedRun(repository, worker=worker, **(options or {}))

    return make


def runs(tmp_path: Path) -> list[str]:
    return (tmp_path / "runs").read_text().splitlines() if (tmp_path / "runs").exists() else []


def merged_files(repository: Path) -> list[str]:
    return [name for name in git(repository, "ls-tree", "--name-only", BRANCH).split() if name.startswith("feature")]


def until(check, timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not check() and time.monotonic() < deadline:
        time.sleep(0.02)


def test_features_that_wait_are_verified_together_and_their_evidence_says_so(start, repository, tmp_path):
    state = start(WORKER, 6, verify='[ "$BATCH_SLOT" -lt 8 ] || sleep 2').drive(jobs=8)
    assert conditions(state) == ["done"] * 6
    assert len(merged_files(repository)) == 6
    assert len(runs(tmp_path)) < 5, "each was verified alone"
    together = [entry for entry in state["evidence"].values() if entry.get("verified_with")]
    assert together
    for entry in together:
        others = [state["evidence"][str(index)] for index in entry["verified_with"]]
        assert all(other["verify"]["log"] == entry["verify"]["log"] for other in others)
        present = runs(tmp_path)[-1]
        assert all(f"feature-{index + 1}.txt" in present for index in entry["verified_with"])
    assert state["run"]["queue"] == {"groups": [], "judged": 6, "blamed": 0}
    # An oracle from git alone: each feature's commit has just that feature's file.
    for index, entry in state["evidence"].items():
        assert git(repository, "show", "--name-only", "--format=", entry["commit"]).split() == [
            f"feature-{int(index) + 1}.txt"
        ]


def test_of_a_red_group_only_the_bad_one_is_sent_back_and_the_others_are_merged(start, repository, tmp_path):
    bad = "! [ -e feature-1.txt -a -e feature-3.txt ] || [ -e mended.txt ]"
    worker = f'{READ}[ ! -e feature-1.txt ] || echo > mended.txt; echo "$n" > "feature-$n.txt"; {COMMIT}'
    unattended = start(worker, 5, verify=f'[ "$BATCH_SLOT" -lt 8 ] || sleep 1; {bad}')
    state = unattended.drive(jobs=8)
    assert conditions(state) == ["done"] * 5
    assert len(unattended.of("sent back")) == 1 and state["run"]["sent_back"] == {"2": 1}
    assert state["run"]["queue"]["blamed"] == 1
    assert not any(merge["flaky"] for merge in state["run"]["merges"])


def test_one_that_fails_by_chance_is_merged_and_named_flaky(start, repository, tmp_path):
    once = f"[ -e {tmp_path}/red ] || {{ touch {tmp_path}/red; false; }}"
    chance = f'[ "$BATCH_SLOT" -lt 8 ] || [ ! -e feature-2.txt ] || {once}'
    state = start(WORKER, 2, verify=chance).drive(jobs=8)
    assert conditions(state) == ["done"] * 2 and state["run"]["sent_back"] == {}
    assert [merge["flaky"] for merge in state["run"]["merges"]] == [False, True]


def test_with_each_verified_every_merged_feature_has_a_run_of_its_own(start, repository, tmp_path):
    options = {"each_verified": True}
    state = start(WORKER, 4, verify='[ "$BATCH_SLOT" -lt 8 ] || sleep 0.5', options=options).drive(jobs=8)
    assert conditions(state) == ["done"] * 4
    assert len(runs(tmp_path)) == 3
    assert not any("verified_with" in entry for entry in state["evidence"].values())
    assert [len(line.split()) - 1 for line in runs(tmp_path)] == [2, 3, 4]


def test_several_groups_are_verified_at_a_time_each_on_top_of_the_one_before_it(start, repository, tmp_path):
    """Each run waits until two have begun, so it fails when there is only one at a time."""
    both = f"for i in $(seq 300); do [ $(wc -l < {tmp_path}/runs) -lt 2 ] || exit 0; sleep 0.1; done; false"
    verify = f'[ "$BATCH_SLOT" -lt 8 ] || {{ {both}; }}'
    state = start(WORKER, 3, verify=verify, options={"verify_jobs": 2}).drive(jobs=8)
    assert conditions(state) == ["done"] * 3
    first, second = sorted(runs(tmp_path)[:2], key=len)
    assert len(second.split()) == len(first.split()) + 1


def test_the_slot_of_a_feature_that_waits_is_free_and_its_worktree_gone(start, repository, tmp_path):
    blocks = f'[ "$BATCH_SLOT" -lt 2 ] || until [ -e {tmp_path}/go ]; do sleep 0.05; done'
    worker = f'{READ}echo "$n" > "feature-$n.txt"; {COMMIT}; [ "$n" -lt 4 ] || touch {tmp_path}/seen-$n'
    unattended = start(worker, 5, verify=blocks)
    seen: dict[str, Any] = {}

    def look(unattended: UnattendedRun) -> None:
        until(lambda: (tmp_path / "seen-5").exists())

        def are_gone() -> bool:  # a worktree is removed after the state says that its feature waits
            state, folders = unattended.state(), os.listdir(f"{repository}.worktrees/batch-1")
            waiting = {name: entry for name, entry in state["run"]["running"].items() if entry["step"] == "merging"}
            left = [name for name in folders if any(name.startswith(f"{int(index) + 1}-") for index in waiting)]
            seen.update(waiting=waiting, left=left, queue=state["run"]["queue"])
            return not left

        until(are_gone)
        (tmp_path / "go").touch()

    state = unattended.drive(jobs=2, during=look)
    assert conditions(state) == ["done"] * 5
    assert seen["waiting"] and all(entry["worktree"] == "" for entry in seen["waiting"].values())
    assert seen["queue"]["groups"], "the group that is verified is in the state"
    assert seen["left"] == []


def test_a_commit_of_a_person_on_the_branch_is_kept_and_verified_with_what_follows(start, repository, tmp_path):
    moved = (
        f'[ "$BATCH_SLOT" -lt 8 ] || [ -e {tmp_path}/moved ] || {{ touch {tmp_path}/moved; '
        f"new=$(git -C {repository} commit-tree -p {BRANCH} -m mine $(git -C {repository} write-tree)) && "
        f"git -C {repository} read-tree --index-output={tmp_path}/index {BRANCH} && "
        f"git -C {repository} update-ref refs/heads/{BRANCH} $(git -C {repository} commit-tree -p {BRANCH} -m mine "
        f"{BRANCH}^{{tree}}); }}"
    )
    state = start(WORKER, 3, verify=moved).drive(jobs=8)
    assert conditions(state) == ["done"] * 3
    subjects = git(repository, "log", "--format=%s", BRANCH).splitlines()
    assert subjects.count("mine") == 1 and sorted(s for s in subjects if s.startswith("Add")) == [
        "Add 1",
        "Add 2",
        "Add 3",
    ]


def test_a_branch_that_is_gone_comes_back_from_the_state(start, repository):
    worker = (
        f'{READ}[ "$n" != 2 ] || git -C {repository} update-ref -d refs/heads/{BRANCH}; echo > feature-$n.txt; {COMMIT}'
    )
    unattended = start(worker, 3)
    state = unattended.drive()
    assert conditions(state) == ["done"] * 3
    assert len(merged_files(repository)) == 3
    assert any("was gone" in note for note in unattended.of("note"))


def test_a_branch_that_is_gone_between_two_runs_comes_back_unless_head_has_its_work(start, repository, tmp_path):
    worker = f'{READ}[ "$n" = 1 ] || [ -e {tmp_path}/go ] || {{ echo "fatal: No space left on device" >&2; exit 1; }}; '
    unattended = start(f"{worker}echo > feature-$n.txt; {COMMIT}", 2)
    assert conditions(unattended.drive()) == ["done", "pending"]
    (tmp_path / "go").touch()
    git(repository, "update-ref", "-d", f"refs/heads/{BRANCH}")
    Store(unattended.project).update(lambda state: {**state, "status": "in_progress", "pause": None})
    assert conditions(unattended.drive()) == ["done", "done"]
    assert merged_files(repository) == ["feature-1.txt", "feature-2.txt"]


@pytest.mark.parametrize("moved", [True, False], ids=["after the branch moved", "before"])
def test_a_driver_that_dies_while_it_merges_a_group_neither_loses_nor_repeats_one(
    start, repository, monkeypatch, moved
):
    class Dies(BaseException):
        pass

    real = merge_tips.fast_forward

    def dying(root: str, branch: str, head: str, commit: str) -> None:
        if len(git(repository, "rev-list", f"{head}..{commit}").split()) < 2:
            real(root, branch, head, commit)
            return
        if moved:
            real(root, branch, head, commit)
        raise Dies

    unattended = start(WORKER, 5, verify='[ "$BATCH_SLOT" -lt 8 ] || sleep 2')
    with monkeypatch.context() as patched:
        patched.setattr(merge_tips, "fast_forward", dying)
        with pytest.raises(Dies):
            unattended.drive(jobs=8)
    store = Store(unattended.project)
    assert [entry["step"] for entry in store.require()["run"]["running"].values()].count("merging") >= 2
    store.update(lambda state: {**state, "owner": {**state["owner"], "pid": 2**22 - 1, "pid_started": "gone:1"}})
    state = unattended.drive(jobs=8)
    assert conditions(state) == ["done"] * 5
    subjects = git(repository, "log", "--format=%s", f"HEAD..{BRANCH}").splitlines()
    assert sorted(subjects) == [f"Add {n}" for n in range(1, 6)]
    assert len(state["run"]["merges"]) == 5
    assert all(len(clients) == 1 for clients in state["run"]["clients"].values())
