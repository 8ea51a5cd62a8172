"""A whole run with commands as workers: real git, real processes, a clock that only moves on.

Each command is a few lines of sh that read the brief. tests/client/test_overnight.py does it with the real client.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest
from batch_implement.base import process_identity, timestamps
from batch_implement.base.project_paths import Project
from batch_implement.core import batch_state, transitions
from batch_implement.core.errors import RefusedError, StateError
from batch_implement.git import git_client, worktrees
from batch_implement.runner import acquire_batch, driver, local_executor, merge_queue, merge_tips
from batch_implement.runner import job as jobs
from batch_implement.store.store import Store
from batches import BATCHCTL, conditions, new_batch
from unattended import UnattendedRun

NUMBER = 'n=$(sed -n "s/^> feature \\([0-9]*\\)$/\\1/p" "$brief" | head -1)'
READ = f'brief=$(mktemp); cat > "$brief"; {NUMBER}; rm "$brief.x" 2>/dev/null; '
COMMIT = 'git add . && git commit -qm "Add $n"'
ONE_FILE = f'{READ} echo "$n" > "feature-$n.txt"; {COMMIT}'


def git(folder: Path | str, *words: str) -> str:
    return subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def unattended_run(repository: Path) -> Iterator[Callable[..., UnattendedRun]]:
    """Make runs: `unattended_run(worker, features, needs=..., verify=..., details=...)`."""
    made: list[UnattendedRun] = []

    def make(worker: str, features: int = 2, *, details: dict[str, Any] | None = None, **batch: Any) -> UnattendedRun:
        git_client.exclude_state_file(str(repository))
        state = new_batch(features, **batch)
        Store(Project(str(repository))).create({**state, "details": details or {}})
        made.append(UnattendedRun(repository, worker=worker))
        return made[-1]

    yield make
    for each in made:
        state = Store(each.project).read()
        if state is None:
            continue
        run = state["run"]
        assert not process_identity.is_owner_alive(state["owner"])
        for folder in [run["worktrees"] + "/merged", *(e["worktree"] for c in run["clients"].values() for e in c)]:
            assert not folder or process_identity.find_marked(folder) == []


def subjects(repository: Path, branch: str) -> list[str]:
    """The subjects of the batch's commits, oldest first."""
    return git(repository, "log", "--reverse", "--format=%s", f"HEAD..{branch}").splitlines()


def verified_in_their_turn(state: dict[str, Any], needs: dict[int, list[int]]) -> bool:
    """Whether every feature was merged after what it needs, and with a passing verify command."""
    order = [merge["feature_index"] for merge in state["run"]["merges"]]
    after = all(order.index(need) < order.index(index) for index, wanted in needs.items() for need in wanted)
    return after and all(state["evidence"][str(index)]["verify"]["exit_code"] == 0 for index in order)


# -- serial and side by side -------------------------------------------------------------------------------------------


def test_one_at_a_time_every_feature_is_merged_as_it_was_verified_and_the_users_tree_is_untouched(
    unattended_run, repository
):
    before = git(repository, "rev-parse", "HEAD"), git(repository, "status", "--porcelain")
    unattended = unattended_run(ONE_FILE, 3, needs={0: [2]}, verify="ls feature-*.txt")
    state = unattended.drive()
    assert state["status"] == "completed"
    assert subjects(repository, "batch/batch-1/merged") == ["Add 2", "Add 3", "Add 1"]
    assert [merge["rebased"] for merge in state["run"]["merges"]] == [False] * 3
    assert state["evidence"]["0"]["commit"] == git(repository, "rev-parse", "batch/batch-1/merged").strip()
    assert (git(repository, "rev-parse", "HEAD"), git(repository, "status", "--porcelain")) == before
    assert not os.path.exists(f"{repository}.worktrees")
    assert git(repository, "branch", "--list", "batch/*", "--format=%(refname:short)").split() == [
        "batch/batch-1/merged"
    ]
    assert unattended.notified == []


def test_in_parallel_all_are_merged_verified_again_on_the_result_and_after_what_they_need(unattended_run, repository):
    needs = {3: [0, 1], 4: [3]}
    state = unattended_run(ONE_FILE, 6, needs=needs, verify="test $(ls feature-*.txt | wc -l) -ge 1").drive(jobs=3)
    assert state["status"] == "completed"
    assert sorted(subjects(repository, "batch/batch-1/merged")) == [f"Add {n}" for n in range(1, 7)]
    assert verified_in_their_turn(state, needs)
    rebased = [merge for merge in state["run"]["merges"] if merge["rebased"]]
    assert rebased and all(merge["verify_seconds"] is not None for merge in rebased)


def test_features_that_say_they_touch_the_same_paths_never_run_together(unattended_run, tmp_path):
    seen = tmp_path / "seen"
    touching = {"0": {"touches": ["a"]}, "1": {"touches": ["a/b"]}}
    worker = f'{READ} echo "begin $n" >> {seen}; sleep 0.3; echo "end $n" >> {seen}; echo > "f-$n"; {COMMIT}'
    state = unattended_run(worker, 2, details=touching).drive(jobs=2)
    assert state["status"] == "completed"
    assert seen.read_text().split("\n")[:4] == ["begin 1", "end 1", "begin 2", "end 2"]


def test_clients_in_parallel_keep_to_the_cost_of_the_run_between_them(unattended_run, monkeypatch):
    """Each was given all that was left: four of them could cost four times the limit."""
    real, guard = local_executor.run_job, threading.Lock()
    under_way: dict[str, float] = {}
    most, shares, spent = [], [], [0.0]

    def dear(job: jobs.Job) -> jobs.Outcome:
        with guard:
            under_way[job.session_id] = job.limits["left_usd"]
            shares.append(job.limits["left_usd"])
            most.append(spent[0] + sum(under_way.values()))
        outcome = real(job)
        cost = 0.1
        if job.feature_index == 0 and not any(entry["outcome"] == "interrupted" for entry in seen()):
            cost = job.limits["left_usd"]
            outcome = outcome._replace(kind=jobs.INTERRUPTED, failure_class="budget", commit=None, evidence={})
        with guard:
            del under_way[job.session_id]
            spent[0] += cost
        return outcome._replace(spent={**outcome.spent, "cost_usd": cost})

    def seen() -> list[dict[str, Any]]:
        clients = Store(unattended.project).require()["run"]["clients"]
        return [entry for entries in clients.values() for entry in entries]

    monkeypatch.setattr(local_executor, "run_job", dear)
    unattended = unattended_run(ONE_FILE, 5)
    state = unattended.drive(jobs=3, budgets={"cost_usd": 1.2})
    assert conditions(state) == ["done"] * 5 and state["retry_attempts"] == {}
    assert shares[:3] == pytest.approx([0.4] * 3)
    assert max(most) <= 1.2 + 1e-9


# -- merging -----------------------------------------------------------------------------------------------------------


def test_of_two_that_conflict_the_second_is_sent_back_and_begins_with_its_work_applied(
    unattended_run, repository, tmp_path
):
    """It started from nothing: the same work was typed again."""
    briefs = tmp_path / "briefs"
    decide = f'{BATCHCTL} decide "Which order?" "by number, $n"'
    first = f'{decide}; echo "$n" >> list.txt; echo "$n" > "own-$n.txt"; sleep 0.2; {COMMIT}'
    again = (
        f"git status --porcelain > {tmp_path}/status; cp list.txt {tmp_path}; "
        'sed -i "/^[<=>]/d" list.txt; git commit -qam again'
    )
    worker = f'{READ} cat "$brief" >> {briefs}; if grep -q "Do not start anew" "$brief"; then {again}; else {first}; fi'
    unattended = unattended_run(worker, 2, verify="test -s list.txt")
    state = unattended.drive(jobs=2)
    assert state["status"] == "completed"
    merged = "batch/batch-1/merged"
    assert sorted(git(repository, "show", f"{merged}:list.txt").split()) == ["1", "2"]
    assert len(unattended.of("sent back")) == 1 and sum(state["run"]["sent_back"].values()) == 1
    assert "conflicts with what was merged meanwhile" in briefs.read_text()
    assert "> list.txt" in briefs.read_text() and "Uncommitted, from before" not in briefs.read_text()
    (index,) = map(int, state["run"]["sent_back"])
    assert briefs.read_text().count(f"> Which order? -> by number, {index + 1}\n") == 1
    assert len(state["decisions"]) == 2, "what the second attempt was told is not decided again"
    assert (tmp_path / "list.txt").read_text().count("<<<<<<<") == 1
    second = state["run"]["merges"][-1]["feature_index"] + 1
    assert (tmp_path / "status").read_text() == f"M  list.txt\nA  own-{second}.txt\n"
    assert git(repository, "show", f"{merged}:own-{second}.txt").strip() == str(second)


def test_conflict_markers_are_not_done_even_where_nothing_verifies(unattended_run, repository):
    worker = (
        f'{READ} if grep -q "Do not start anew" "$brief"; then git commit -qm again; '
        f'else echo "$n" >> list.txt; sleep 0.2; {COMMIT}; fi'
    )
    state = unattended_run(worker, 2, max_retries=0).drive(jobs=2)
    assert sorted(conditions(state)) == ["done", "failed"]
    (attempts,) = state["attempts"].values()
    assert "Conflict markers were committed in list.txt" in attempts[-1]["error_message"]
    assert "<<<<" not in git(repository, "show", "batch/batch-1/merged:list.txt")


def test_one_that_conflicts_twice_has_failed_what_needs_it_is_skipped_and_nothing_of_it_is_merged(
    unattended_run, repository
):
    """Feature 2 always goes back to where the batch began, so it conflicts however often it is tried."""
    begun = git(repository, "rev-parse", "HEAD").strip()
    first = "until git cat-file -e batch/batch-1/merged:same.txt 2> /dev/null; do sleep 0.1; done"
    worker = f'{READ} [ "$n" != 2 ] || {{ {first}; git reset -q --soft {begun}; }}; echo "$n" > same.txt; {COMMIT}'
    unattended = unattended_run(worker, 3, needs={2: [1]}, max_retries=3)
    state = unattended.drive(jobs=2)
    assert conditions(state) == ["done", "failed", "skipped"]
    assert git(repository, "show", "batch/batch-1/merged:same.txt") == "1\n"
    assert unattended.notified == ["failure"]


def test_what_passes_alone_but_not_on_top_of_the_others_is_sent_back_and_told_what_the_tests_said(
    unattended_run, tmp_path
):
    briefs = tmp_path / "briefs"
    worker = (
        f'{READ} cat "$brief" >> {briefs}; [ ! -e feature-1.txt ] && [ ! -e feature-2.txt ] || echo ok > both.txt; '
        f'echo > "feature-$n.txt"; sleep 0.2; {COMMIT}'
    )
    verify = "! [ -e feature-1.txt -a -e feature-2.txt ] || [ -e both.txt ] || { echo the two disagree; false; }"
    unattended = unattended_run(worker, 2, verify=verify)
    state = unattended.drive(jobs=2)
    assert state["status"] == "completed"
    assert len(unattended.of("sent back")) == 1
    assert "> the two disagree" in briefs.read_text()


def test_a_file_that_gitignore_hid_from_the_workers_commit_is_kept_when_its_worktree_goes(unattended_run, repository):
    (repository / ".gitignore").write_text("lib/\n")
    git(repository, "add", ".gitignore")
    git(repository, "commit", "-qm", "Ignore lib")
    worker = f'{READ} [ "$n" != 1 ] || {{ mkdir lib; echo "1 2" > lib/table.dat; }}; echo > "test-$n"; {COMMIT}'
    unattended = unattended_run(worker, 2)
    state = unattended.drive()
    assert state["status"] == "completed" and not os.path.exists(f"{repository}.worktrees")
    (ref,) = git(repository, "for-each-ref", "--format=%(refname)", "refs/batch").split()
    assert ref == "refs/batch/batch-1/1.1"
    assert git(repository, "show", f"{ref}:lib/table.dat") == "1 2\n"
    assert any(f"git show --stat {ref}" in note for note in unattended.of("note"))


def test_a_run_works_where_the_folder_of_the_state_is_a_submodule(unattended_run, repository):
    git(repository, "init", "-q", ".claude")
    git(repository / ".claude", "commit", "-q", "--allow-empty", "-m", "Add settings")
    git(repository, "submodule", "--quiet", "add", "./.claude")
    git(repository, "commit", "-qm", "Add .claude")
    unattended = unattended_run(ONE_FILE, 1)
    state = unattended.drive()
    assert conditions(state) == ["done"]
    changed = git(repository, "diff", "--name-only", "HEAD", "batch/batch-1/merged").split()
    assert changed == ["feature-1.txt"]


# -- failing -----------------------------------------------------------------------------------------------------------


def test_one_that_never_verifies_fails_with_its_tree_kept_what_needs_it_is_skipped_the_rest_completes(
    unattended_run, repository
):
    unattended = unattended_run(ONE_FILE, 4, needs={2: [1]}, verify="! [ -e feature-2.txt ]")
    state = unattended.drive(jobs=2)
    assert conditions(state) == ["done", "failed", "skipped", "done"]
    assert sorted(subjects(repository, "batch/batch-1/merged")) == ["Add 1", "Add 4"]
    last = state["run"]["clients"]["1"][-1]
    assert "The verify command" in last["message"] and os.path.isdir(last["worktree"])
    assert len(state["attempts"]["1"]) == 2, "the same error twice ends its attempts"
    assert any(kind == "failed" and ": given up on: " in text for kind, text in unattended.events)
    assert (Path(last["logs"]) / "stderr").exists()


def test_a_failed_attempt_is_told_to_the_next_which_may_succeed(unattended_run, repository, tmp_path):
    flag = tmp_path / "second"
    worker = f'{READ} [ -e {flag} ] || {{ touch {flag}; echo "no luck with the parser" >&2; exit 3; }}; ' + (
        f'grep -q "no luck with the parser" "$brief" || exit 4; echo > f; {COMMIT}'
    )
    unattended = unattended_run(worker, 1)
    state = unattended.drive()
    assert state["status"] == "completed"
    assert state["retry_attempts"] == {"0": 1}
    assert unattended.clock.slept, "a retry waits for its time"


def test_a_command_that_ends_well_but_commits_nothing_has_failed(unattended_run):
    state = unattended_run("cat > /dev/null", 1, max_retries=0).drive()
    assert conditions(state) == ["failed"]
    assert "no commit since the feature began" in state["failed_features"][0]["error_message"]


def test_a_client_that_takes_too_long_is_ended_with_all_that_it_started(unattended_run, tmp_path):
    pids = tmp_path / "pids"
    worker = f"cat > /dev/null; sleep 300 & echo $! >> {pids}; setsid sleep 300 & echo $! >> {pids}; sleep 300"
    state = unattended_run(worker, 1, max_retries=0).drive(budgets={"feature_time_s": 1})
    assert "Not done within 1 s" in state["failed_features"][0]["error_message"]
    assert not any(process_identity.is_running(int(pid), None) for pid in pids.read_text().split())


# -- waiting -----------------------------------------------------------------------------------------------------------


def test_a_worktree_with_what_cannot_be_kept_stays_and_the_next_attempt_has_another(
    unattended_run, repository, tmp_path
):
    """It paused the run, and each later one."""
    nest = "mkdir -p lib/inner && git init -q lib/inner && echo lib/ >> $(git rev-parse --git-path info/exclude)"
    unattended = unattended_run(
        f"[ -e {tmp_path}/tried ] || {{ touch {tmp_path}/tried; {nest}; exit 3; }}; {ONE_FILE}", 1
    )
    state = unattended.drive()
    assert conditions(state) == ["done"]
    [failed] = state["attempts"]["0"]
    assert failed["snapshot"] is None
    [folder] = Path(state["run"]["worktrees"]).iterdir()
    assert (folder / "lib" / "inner" / ".git").is_dir()
    assert any(
        f"Removing {folder} failed" in note and "is an ignored repository" in note for note in unattended.of("note")
    )


def test_a_usage_limit_waits_for_the_time_it_names_and_costs_no_attempt(unattended_run, tmp_path):
    flag = tmp_path / "second"
    reset = timestamps.parse_epoch_s(timestamps.now()) + 7200
    worker = f'{READ} [ -e {flag} ] || {{ touch {flag}; echo "Claude AI usage limit reached|{reset}"; exit 1; }}; ' + (
        f'echo > "f-$n"; {COMMIT}'
    )
    unattended = unattended_run(worker, 2)
    state = unattended.drive()
    assert state["status"] == "completed"
    assert state["retry_attempts"] == {}
    (wait,) = state["run"]["waits"]
    assert wait["failure_class"] == "limit" and timestamps.seconds_between(wait["since"], wait["until"]) >= 7190
    assert state["run"]["spent"]["waited_s"] >= 7190
    assert [client["outcome"] for client in state["run"]["clients"]["0"]] == ["interrupted", "completed"]


def test_a_limit_on_waiting_pauses_the_batch_instead(unattended_run):
    worker = 'cat > /dev/null; echo "API Error: 529 Overloaded" >&2; exit 1'
    state = unattended_run(worker, 1).drive(budgets={"wait_s": 600})
    assert state["status"] == "paused"
    assert "has waited 600 s in total" in state["pause"]["reason"]
    assert state["retry_attempts"] == {}


def test_what_needs_a_person_pauses_the_batch_and_says_what(unattended_run):
    unattended = unattended_run('cat > /dev/null; echo "fatal: write error: No space left on device" >&2; exit 1', 3)
    state = unattended.drive(jobs=2)
    assert state["status"] == "paused"
    assert "user action required (disk)" in state["pause"]["reason"] and "No space left" in state["pause"]["reason"]


def test_the_time_of_a_run_is_a_limit_after_which_nothing_is_begun(unattended_run, tmp_path):
    flag = tmp_path / "flag"
    overloaded = 'echo "API Error: 529 Overloaded" >&2; exit 1'
    worker = f"{READ} [ -e {flag} ] || {{ touch {flag}; {overloaded}; }}; echo > f-$n; {COMMIT}"
    state = unattended_run(worker, 2).drive(budgets={"time_s": 5})
    assert state["status"] == "paused" and "the run has taken 5 s" in state["pause"]["reason"]


# -- stopping and dying ------------------------------------------------------------------------------------------------


def once(unattended: UnattendedRun, name: Path) -> None:
    """Return once a file is there."""
    deadline = time.monotonic() + 60
    while not name.exists() and time.monotonic() < deadline:
        time.sleep(0.02)


def test_the_first_ctrl_c_lets_running_features_finish_and_be_merged(unattended_run, tmp_path):
    mark = tmp_path / "at-work"
    worker = f'{READ} touch {mark}; sleep 0.5; echo > "f-$n"; {COMMIT}'

    def press(unattended: UnattendedRun) -> None:
        once(unattended, mark)
        os.kill(os.getpid(), signal.SIGINT)

    unattended = unattended_run(worker, 3)
    state = unattended.drive(during=press)
    assert conditions(state) == ["done", "pending", "pending"]
    assert ["Press Ctrl-C again to stop now" in text for text in unattended.of("stopping")] == [True]
    assert state["run"]["ended_why"] == "stopped by the user"
    assert state["status"] == "in_progress"


def test_the_second_ctrl_c_stops_them_and_the_next_run_resumes_where_they_were(unattended_run, repository, tmp_path):
    mark = tmp_path / "at-work"
    worker = (
        f'{READ} if [ -e f-$n ]; then echo "goes on" > again-$n; {COMMIT}; exit; fi; '
        f'echo > "f-$n"; {COMMIT}; touch {mark}; sleep 300'
    )

    def press(unattended: UnattendedRun) -> None:
        once(unattended, mark)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    unattended = unattended_run(worker, 1)
    began = time.monotonic()
    state = unattended.drive(during=press)
    assert time.monotonic() - began < 60
    assert conditions(state) == ["pending"] and state["retry_attempts"] == {}
    state = unattended.drive()
    assert state["status"] == "completed"
    assert subjects(repository, "batch/batch-1/merged") == ["Add 1", "Add 1"]
    assert state["evidence"]["0"]["commits"] == git(
        repository, "rev-list", "--reverse", "HEAD..batch/batch-1/merged"
    ).split()  # fmt: skip


def test_an_attempt_whose_process_is_killed_is_taken_up_again_as_the_same_one(unattended_run, repository, tmp_path):
    mark = tmp_path / "at-work"
    worker = (
        f"{READ} [ -e {mark} ] || {{ echo $PPID > {mark}.part; mv {mark}.part {mark}; sleep 300; }}; echo > f; {COMMIT}"
    )

    def kill(unattended: UnattendedRun) -> None:
        once(unattended, mark)
        os.kill(int(mark.read_text()), signal.SIGKILL)

    unattended = unattended_run(worker, 1)
    state = unattended.drive(during=kill)
    assert state["status"] == "completed"
    assert [client["failure_class"] for client in state["run"]["clients"]["0"]] == ["worker_died", ""]
    assert state["retry_attempts"] == {}


def test_a_machine_that_goes_down_again_and_again_counts_no_attempt(unattended_run, tmp_path):
    mark = tmp_path / "at-work"
    unattended = unattended_run(f"{READ} echo $PPID > {mark}.part; mv {mark}.part {mark}; sleep 300", 1, max_retries=0)

    def go_down(unattended: UnattendedRun) -> None:
        once(unattended, mark)
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(int(mark.read_text()), signal.SIGKILL)

    for _ in range(4):
        mark.unlink(missing_ok=True)
        state = unattended.drive(during=go_down)
        assert (conditions(state), state["retry_attempts"]) == (["pending"], {})


def test_what_breaks_without_end_is_a_failed_attempt_after_three_times(unattended_run):
    state = unattended_run("cat > /dev/null; kill -9 $$", 1, max_retries=0).drive()
    assert conditions(state) == ["failed"]
    assert len(state["run"]["clients"]["0"]) == 3


DRIVER = """
import sys
sys.path[:0] = sys.argv[1:3]
from unattended import UnattendedRun
from pathlib import Path
UnattendedRun(Path(sys.argv[3]), worker=sys.argv[4]).drive(jobs=2)
"""


def in_another_process(repository: Path, worker: str) -> subprocess.Popen[bytes]:
    """A driver that can be killed."""
    tests = str(Path(__file__).resolve().parents[2])
    lib = str(Path(__file__).resolve().parents[3] / "lib")
    return subprocess.Popen([sys.executable, "-c", DRIVER, lib, tests, str(repository), worker])


def test_a_driver_that_is_killed_takes_its_clients_along_and_the_next_run_resumes(unattended_run, repository, tmp_path):
    mark = tmp_path / "at-work"
    worker = f"{READ} echo $$ >> {mark}.$n; [ $(wc -l < {mark}.$n) -gt 1 ] || sleep 300; echo > f-$n; {COMMIT}"
    unattended = unattended_run(worker, 2)
    driver = in_another_process(repository, worker)
    once(unattended, Path(f"{mark}.1"))
    once(unattended, Path(f"{mark}.2"))
    driver.kill()
    driver.wait()
    pids = [int(Path(f"{mark}.{number}").read_text().split()[0]) for number in (1, 2)]
    deadline = time.monotonic() + 30
    while any(process_identity.is_running(pid, None) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(process_identity.is_running(pid, None) for pid in pids)
    state = unattended.drive(jobs=2)
    assert state["status"] == "completed" and state["retry_attempts"] == {}
    assert sorted(subjects(repository, "batch/batch-1/merged")) == ["Add 1", "Add 2"]


@pytest.mark.parametrize("moved", [True, False], ids=["after the branch moved", "before"])
def test_a_driver_that_died_in_the_middle_of_a_merge_neither_loses_nor_repeats_it(unattended_run, repository, moved):
    unattended = unattended_run(ONE_FILE, 1)

    class Dies(BaseException):
        pass

    real = merge_tips.fast_forward

    def dying(*arguments: Any) -> None:
        if moved:
            real(*arguments)
        raise Dies

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(merge_tips, "fast_forward", dying)
        with pytest.raises(Dies):
            unattended.drive()
    left = unattended.state()
    assert left["run"]["running"]["0"]["step"] == "merging"
    store = Store(unattended.project)
    store.update(lambda state: {**state, "owner": {**state["owner"], "pid": 2**22 - 1, "pid_started": "gone:1"}})
    state = unattended.drive()
    assert state["status"] == "completed"
    assert subjects(repository, "batch/batch-1/merged") == ["Add 1"]
    assert len(state["run"]["clients"]["0"]) == 1


@pytest.mark.parametrize("where", ["_remove_worktree", "_end"])
def test_what_a_killed_driver_had_no_time_to_remove_is_removed_by_the_next_run(unattended_run, repository, where):
    unattended = unattended_run(f"{READ} date +%N >> f-$n; {COMMIT}", 2)

    class Dies(BaseException):
        pass

    def die(*_: Any) -> None:
        raise Dies

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(driver.Driver, where, die)
        with pytest.raises(Dies):
            unattended.drive()
    store = Store(unattended.project)
    store.update(lambda state: {**state, "owner": {**state["owner"], "pid": 2**22 - 1, "pid_started": "gone:1"}})
    if store.require()["status"] == "completed":
        store.update(lambda state: transitions.retry(state, [1]))
    unattended.drive()
    listed = git(repository, "worktree", "list", "--porcelain")
    assert listed.count("worktree ") == 1, listed
    branches = git(repository, "for-each-ref", "--format=%(refname:short)", "refs/heads/batch").split()
    assert branches == ["batch/batch-1/merged"]


def test_a_worktree_that_no_state_knows_is_removed_and_what_only_it_has_is_kept(unattended_run, repository):
    unattended = unattended_run(ONE_FILE, 1)
    top = Path(f"{repository}.worktrees/batch-1/1-an-older-text.7")
    git(repository, "worktree", "add", "-q", "-b", "batch/batch-1/1-an-older-text.7", str(top))
    (top / "unique.txt").write_text("unique")
    assert unattended.drive()["status"] == "completed"
    assert not top.exists()
    assert git(repository, "show", "refs/batch/batch-1/1.7:unique.txt") == "unique"
    assert any("refs/batch/batch-1/1.7" in text for text in unattended.of("note"))


# -- errors of git, the disk and the system ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), StateError("`git rebase` hung.", "git-trouble")]
)
def test_a_merge_that_the_system_refuses_is_tried_again(unattended_run, repository, monkeypatch, error):
    """It ended the run, with no end in the state."""
    real, errors = merge_tips.fast_forward, [error, error]

    def refuse(*arguments: Any, **options: Any) -> None:
        if errors:
            raise errors.pop()
        real(*arguments, **options)

    monkeypatch.setattr(merge_tips, "fast_forward", refuse)
    monkeypatch.setattr(merge_queue, "DELAYS_S", (0.0, 0.0, 0.0))
    unattended = unattended_run(ONE_FILE, 2)
    state = unattended.drive()
    assert state["status"] == "completed" and errors == []
    assert len(unattended.of("note")) == 2 and str(error) in unattended.of("note")[0]
    assert subjects(repository, "batch/batch-1/merged") == ["Add 1", "Add 2"]


def test_a_merge_that_is_refused_again_and_again_pauses_and_the_next_run_merges(
    unattended_run, repository, tmp_path, monkeypatch
):
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    unattended = unattended_run(f"{ONE_FILE}; echo $n >> {tmp_path}/tries", 3)
    with monkeypatch.context() as patched:
        patched.setattr(merge_tips, "fast_forward", refuse)
        patched.setattr(merge_queue, "DELAYS_S", (0.0, 0.0, 0.0))
        state = unattended.drive()
    assert state["status"] == "paused" and state["run"]["ended_at"]
    assert {entry["step"] for entry in state["run"]["running"].values()} == {"merging"}
    assert "merging feature 1 failed: [Errno 28] No space left" in state["pause"]["reason"]
    assert state["retry_attempts"] == {} and state["failed_features"] == []
    Store(unattended.project).update(transitions.unpause)
    assert unattended.drive()["status"] == "completed"
    assert (tmp_path / "tries").read_text().split() == ["1", "2", "3"]
    assert subjects(repository, "batch/batch-1/merged") == ["Add 1", "Add 2", "Add 3"]


@pytest.mark.parametrize(
    "error", [StateError("`git rev-parse` hung.", "git-trouble"), OSError(5, "I/O"), KeyError("x")]
)
def test_an_error_that_ends_a_run_leaves_no_process_and_no_lease_and_counts_what_was_spent(
    unattended_run, tmp_path, monkeypatch, error
):
    """The run was left without an end, and its outcomes were lost."""
    real, dispatched = jobs.create_job, []

    def create(*arguments: Any) -> jobs.Job:
        if dispatched:
            once(unattended, tmp_path / "begun")
            raise error
        dispatched.append(1)
        return real(*arguments)

    monkeypatch.setattr(jobs, "create_job", create)
    worker = f"cat > /dev/null; sleep 300 & echo $! > {tmp_path}/part; mv {tmp_path}/part {tmp_path}/begun; wait"
    unattended = unattended_run(worker, 2)
    with pytest.raises(type(error)):
        unattended.drive(jobs=2)
    assert not process_identity.is_running(int((tmp_path / "begun").read_text()), None)
    state = unattended.state()
    assert state["run"]["ended_at"] and state["run"]["running"] == {}
    assert not process_identity.is_owner_alive(state["owner"])
    assert str(error) in state["run"]["ended_why"]
    assert [client["outcome"] for client in state["run"]["clients"]["0"]] == ["interrupted"]


def test_what_a_run_only_tidies_up_cannot_end_it(unattended_run, monkeypatch):
    def refuse(*_: Any, **__: Any) -> None:
        raise StateError("`git worktree` did not answer.", "git-trouble")

    unattended = unattended_run(ONE_FILE, 2)
    monkeypatch.setattr(worktrees, "finish_branch", refuse)
    monkeypatch.setattr(worktrees, "remove", refuse)
    assert unattended.drive()["status"] == "completed"
    assert any("did not answer" in note for note in unattended.of("note"))


# -- whose it is -------------------------------------------------------------------------------------------------------


def test_a_second_run_is_refused_while_the_first_lives_and_told_whose_it_is(unattended_run, repository):
    unattended = unattended_run(ONE_FILE, 1)
    asked = {"jobs": 1, "worktrees": f"{repository}.worktrees", "options": {"worker": ONE_FILE}, "budgets": {}}
    acquire_batch.acquire_run(Store(unattended.project), timestamps.now(), **asked)
    store = Store(unattended.project)
    other = process_identity.new_owner("another", os.getppid(), timestamps.now())
    store.update(lambda state: {**state, "owner": {**other, "driven": True}})
    with pytest.raises(RefusedError, match=f"by `batchctl run`: process {os.getppid()} "):
        acquire_batch.acquire_run(Store(unattended.project), timestamps.now(), **asked)
    store.update(lambda state: {**state, "owner": None, "run": {**state["run"], "running": {}}})


def test_a_wait_that_a_dead_run_was_at_is_counted_and_does_not_hold_the_next_one(unattended_run, repository):
    unattended = unattended_run(ONE_FILE, 1)
    asked = {"jobs": 1, "worktrees": f"{repository}.worktrees", "options": {"worker": ONE_FILE}, "budgets": {}}
    begun = timestamps.add_seconds(timestamps.now(), -100)
    acquire_batch.acquire_run(Store(unattended.project), begun, **asked)
    waiting = {
        "since": begun,
        "until": timestamps.add_seconds(begun, 9000),
        "reason": "usage limit",
        "failure_class": "limit",
    }
    Store(unattended.project).update(
        lambda state: {**state, "owner": None, "run": {**state["run"], "waiting": waiting}}
    )
    state = unattended.drive()
    assert state["status"] == "completed"
    assert [wait["reason"] for wait in state["run"]["waits"]] == ["usage limit"]
    assert 100 <= state["run"]["spent"]["waited_s"] < 200


def test_a_branch_that_has_diverged_from_head_is_refused_with_the_command_that_merges_them(unattended_run, repository):
    unattended = unattended_run(ONE_FILE, 2)
    unattended.drive()
    Store(unattended.project).update(
        lambda state: batch_state.with_derived_fields({**state, "completed_features": [0], "evidence": {}})
    )
    (repository / "own.txt").write_text("mine")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "Mine")
    with pytest.raises(RefusedError, match=r"have diverged.*git merge batch/batch-1/merged"):
        unattended.drive()
    git(repository, "merge", "-q", "--no-edit", "batch/batch-1/merged")
    assert unattended.drive()["status"] == "completed"


def test_a_batch_that_somebody_aborted_under_it_ends_the_run_and_every_worker(unattended_run, tmp_path):
    mark = tmp_path / "at-work"

    def replace(unattended: UnattendedRun) -> None:
        once(unattended, mark)
        Store(unattended.project).archive("aborted")

    unattended = unattended_run(f"cat > /dev/null; echo $$ > {mark}.part; mv {mark}.part {mark}; sleep 300", 1)
    with pytest.raises(RefusedError):
        unattended.drive(during=replace)
    assert not process_identity.is_running(int(mark.read_text()), None)


# -- names -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Add a login page", "add-a-login-page"),
        ('  `rm -rf /` & "quotes" ../..', "rm-rf-quotes"),
        ("日本語", "feature"),
        ("--option", "option"),
        ("x" * 100, "x" * 40),
        ("", "feature"),
        ("a.lock", "a-lock"),
    ],
)
def test_a_text_becomes_a_name_that_git_and_the_shell_take(text, name):
    assert worktrees.make_slug(text) == name


def test_a_folder_that_is_something_else_is_not_touched(repository, tmp_path):
    place = tmp_path / "trees" / "1-x"
    place.mkdir(parents=True)
    (place / "letter").write_text("mine")
    with pytest.raises(RefusedError, match="already exists and is not a worktree"):
        worktrees.add(str(repository), str(place), "batch/b/1-x", "HEAD")
    worktrees.remove(str(repository), str(place))
    assert (place / "letter").read_text() == "mine"
