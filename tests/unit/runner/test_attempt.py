"""One attempt, on real git, with commands as its client; what stands in for Claude Code prints recorded streams.

tests/unit/runner/test_driver.py has whole runs, tests/client/test_overnight.py the real client.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any, Callable

import pytest
from batch_implement.base import process_identity, project_paths, subprocesses, timestamps
from batch_implement.base.project_paths import Project
from batch_implement.core import batch_policy, batch_state
from batch_implement.git import git_client, worktrees
from batch_implement.runner import claude_process, local_executor, logs
from batch_implement.runner import job as jobs
from batch_implement.runner.claude_stream import ClientStream
from batch_implement.runner.job import Job, Outcome
from batch_implement.store import serialization
from batch_implement.store.store import Store
from batches import NOW, commit, git, new_batch
from unattended import UnattendedRun

LIB = os.path.join(project_paths.plugin_root(), "lib")
STREAMS = Path(__file__).with_name("streams")
WORK = "cat > /dev/null; echo > work.txt; git add . && git commit -qm Work"
SESSION = "00000000-0000-4000-8000-00000000000"


@pytest.fixture
def job_for(repository: Path, tmp_path: Path) -> Iterator[Callable[..., Job]]:
    """Makes jobs for the same attempt: `job_for(command, verify=..., text=...)`. Afterwards nothing runs for it."""
    top = str(tmp_path.resolve() / "trees" / "batch-1")
    made: list[Job] = []
    base = git(repository, "rev-parse", "HEAD")

    def make(command: str | None, *, text: str = "feature 1", number: int = 1, **fields: Any) -> Job:
        limits = {"time_s": fields.pop("time_s", 100), "turns": None, "cost_usd": None, "left_usd": None}
        limits.update(fields.pop("limits", {}))
        caller = {"path": None, "model": None, "permission_mode": None, "allow": [], "settings": None}
        caller.update(fields.pop("client", {}))
        policy = batch_policy.create_policy(**fields.pop("policy", {}))
        left = {"max_retries": 0, "max_retries_total": 0, "unattended": True, "budgets": {}}
        job = Job(
            batch_id="batch-1",
            feature_index=0,
            attempt=1,
            text=text,
            details={},
            needs=[],
            earlier=[],
            policy={**policy, **left},
            repository=str(repository),
            remote=False,
            base=base,
            branch=worktrees.get_attempt_branch("batch-1", 0, text, 1),
            worktree=worktrees.get_attempt_folder(top, 0, text, 1),
            session_id=f"{SESSION}{number}",
            command=command,
            client=caller,
            limits=limits,
        )._replace(**fields)
        made.append(job)
        return job

    yield make
    for job in made:
        assert process_identity.find_marked(job.worktree) == []


@pytest.fixture
def stand_in(tmp_path: Path) -> Callable[[str], str]:
    """Makes programs that stand in for Claude Code: `stand_in("shell commands")`; the path."""

    def make(commands: str) -> str:
        path = tmp_path / "claude"
        path.write_text(f"#!/bin/sh\nstreams={STREAMS}\n{commands}\n")
        path.chmod(0o755)
        return str(path)

    return make


def once(path: Path) -> str:
    """What is in a file, once it has a line."""
    deadline = time.monotonic() + 60
    while not (path.exists() and path.read_text().endswith("\n")):
        assert time.monotonic() < deadline, f"{path} did not come"
        time.sleep(0.02)
    return path.read_text()


def beside(job: Job, during: Callable[[], object]) -> Outcome:
    """The outcome of a job while `during` is done to it."""
    with futures.ThreadPoolExecutor(1) as executor:
        future = executor.submit(local_executor.run_job, job)
        try:
            during()
        except BaseException:
            local_executor.stop_all()
            raise
        return future.result(120)


def pids(path: Path) -> list[int]:
    return [int(word) for word in path.read_text().split()]


# -- success -----------------------------------------------------------------------------------------------------------


def test_a_command_that_commits_and_verifies_has_completed_the_feature(job_for, repository, tmp_path):
    job = job_for(WORK, policy={"verify": "ls work.txt"})
    outcome = local_executor.run_job(job)
    assert (outcome.kind, outcome.message) == (jobs.COMPLETED, "")
    assert outcome.commit == git(repository, "rev-parse", job.branch)
    assert outcome.evidence["commits"] == [outcome.commit] and outcome.evidence["verify"]["exit_code"] == 0
    outcome = logs.save_logs(outcome, str(tmp_path / "logs"))
    assert Path(outcome.evidence["verify"]["log"]) == tmp_path / "logs" / "output" and outcome.log_texts == {}
    assert (tmp_path / "logs" / "output").read_text() == "work.txt\n"
    assert "feature 1" in (tmp_path / "logs" / "brief").read_text()
    assert outcome.spent["seconds"] > 0 and outcome.place == process_identity.get_host_name()


def test_an_outcome_and_a_job_travel_as_json(job_for):
    job = job_for(WORK, text="\ud83d half a pair")
    assert Job(**json.loads(json.dumps(job._asdict()))) == job
    outcome = local_executor.run_job(job)
    assert outcome.kind == jobs.COMPLETED and Outcome(**json.loads(json.dumps(outcome._asdict()))) == outcome


def test_the_batch_of_one_has_the_feature_its_policy_and_no_state_of_another(job_for):
    details = {"id": "F-7", "policy": {"verify": "false"}, "depends_on": ["x"]}
    ended = {"attempt": 1, "error_message": "it broke", "failure_class": "feature", "timestamp": NOW}
    job = job_for(
        "cat > brief.txt; git add . && git commit -qm Work", attempt=2, earlier=[ended], details=details,
        needs=[{"text": "the ground", "commit": "c0ffee" * 6 + "abcd"}],
    )  # fmt: skip
    outcome = local_executor.run_job(job)
    state = Store(Project(job.worktree)).require()
    assert outcome.kind == jobs.COMPLETED
    assert (state["batch_id"], state["features"], state["workflow_mode"]) == ("batch-1.1.2", ["feature 1"], "direct")
    assert state["policy"]["max_retries"] == 0 and state["status"] == "completed"
    assert set(state["details"]["0"]) == {"id", "builds_on"}, "its policy is the job's, what it needs is not here"
    brief = Path(job.worktree, "brief.txt").read_text()
    assert "it broke" in brief and "the ground" in brief and "attempt 2" in brief
    assert serialization.find_problems(state, None) == []


def test_a_state_that_somebody_has_committed_is_not_taken_for_the_batch_of_one(job_for, repository):
    """It was adopted: the client got the first feature of that batch."""
    state = batch_state.new_state("theirs", ["quite another"], NOW, policy=batch_policy.create_policy())
    (repository / ".claude").mkdir()
    (repository / ".claude" / "batch_state.json").write_bytes(serialization.serialize({**state, "revision": 1}))
    git(repository, "add", "-f", ".claude")
    git(repository, "commit", "-qm", "Commit a state")
    job = job_for(
        "cat > brief.txt; git add brief.txt && git commit -qm Work", base=git(repository, "rev-parse", "HEAD")
    )
    outcome = local_executor.run_job(job)
    assert outcome.kind == jobs.COMPLETED, outcome.message
    assert "> feature 1" in Path(job.worktree, "brief.txt").read_text()


# -- failing -----------------------------------------------------------------------------------------------------------


def test_a_command_that_fails_is_a_failed_attempt_with_its_words_and_its_leftovers_in_a_snapshot(job_for, repository):
    job = job_for("cat > /dev/null; echo half > half.txt; echo no luck >&2; exit 3")
    outcome = local_executor.run_job(job)
    assert outcome.kind == jobs.FAILED and "exit status 3" in outcome.message and "no luck" in outcome.message
    assert outcome.snapshot == "refs/batch/batch-1/1.1" and git(repository, "stash", "list") == ""
    assert git(repository, "show", f"{outcome.snapshot}:half.txt").strip() == "half"
    assert outcome.changed and "no luck" in outcome.message


def test_what_a_failed_attempt_leaves_inside_a_submodule_is_kept_and_named(job_for, repository, tmp_path):
    origin = tmp_path / "origin"
    git(tmp_path, "init", "-q", str(origin))
    commit(origin, sub="s")
    git(repository, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(origin), "sub")
    git(repository, "commit", "-qm", "Add a submodule")
    init = "cat > /dev/null; git -c protocol.file.allow=always submodule --quiet update --init"
    clean = job_for(f"{init}; exit 3", text="clean", base=git(repository, "rev-parse", "HEAD"))
    assert local_executor.run_job(clean).snapshot is None
    job = job_for(f"{init}; echo half > sub/half.txt; exit 3", base=git(repository, "rev-parse", "HEAD"), attempt=2)
    outcome = local_executor.run_job(job)
    assert outcome.snapshot == "refs/batch/batch-1/1.2"
    worktrees.remove(str(repository), job.worktree)
    assert git(repository, "show", f"{outcome.snapshot}-in-1:half.txt") == "half"


def test_a_command_that_changes_nothing_is_said_to(job_for):
    outcome = local_executor.run_job(job_for("cat > /dev/null; exit 3"))
    assert outcome.kind == jobs.FAILED and not outcome.changed and outcome.snapshot is None
    outcome = local_executor.run_job(job_for("cat > /dev/null", text="another"))
    assert outcome.kind == jobs.FAILED and "no commit" in outcome.message and not outcome.changed


def test_a_command_that_is_not_there_fails_the_attempt_and_a_client_that_is_not_there_needs_a_person(job_for, tmp_path):
    assert local_executor.run_job(job_for("nonesuch")).kind == jobs.FAILED
    outcome = local_executor.run_job(job_for(None, text="other", client={"path": str(tmp_path / "nonesuch")}))
    assert (outcome.kind, outcome.failure_class) == (jobs.NEEDS_USER, "setup")
    assert "nonesuch" in outcome.message


def test_what_is_in_the_way_of_the_worktree_needs_the_user_and_a_lock_of_another_process_is_waited_for(
    job_for, repository
):
    job = job_for(WORK)
    Path(job.worktree).mkdir(parents=True)
    Path(job.worktree, "file").write_text("theirs")
    outcome = local_executor.run_job(job)
    assert (outcome.kind, outcome.failure_class) == (
        jobs.NEEDS_USER,
        "setup",
    ) and "already exists and is not" in outcome.message
    job = job_for(WORK, text="another")
    Path(repository, ".git", "refs", "heads", f"{job.branch}.lock").parent.mkdir(parents=True)
    Path(repository, ".git", "refs", "heads", f"{job.branch}.lock").write_text("")
    outcome = local_executor.run_job(job)
    assert (outcome.kind, outcome.failure_class) == (jobs.INTERRUPTED, "busy"), outcome.message


def test_a_progress_file_and_a_log_that_cannot_be_written_do_not_fail_the_attempt(job_for):
    """A client that made a folder of that name ended its own attempt."""
    blocked = (
        'logs=$(echo "$(git rev-parse --git-dir)"/*/logs/run); mkdir "$logs/progress.json.tmp"; rm "$logs"/*/stderr'
    )
    outcome = local_executor.run_job(job_for(f"{blocked}; sleep 0.5; {WORK}"))
    assert (outcome.kind, outcome.message) == (jobs.COMPLETED, "")


def test_a_folder_for_temporary_files_that_cannot_be_used_does_not_prevent_an_attempt(job_for, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    assert local_executor.run_job(job_for(WORK)).kind == jobs.COMPLETED


def test_logs_that_cannot_be_written_take_nothing_from_what_was_done(job_for, tmp_path):
    (tmp_path / "file").write_text("")
    outcome = local_executor.run_job(job_for(WORK, policy={"verify": "true"}))
    saved = logs.save_logs(outcome, str(tmp_path / "file" / "logs"))
    assert saved.kind == jobs.COMPLETED and os.path.exists(saved.evidence["verify"]["log"])


# -- nothing is left ---------------------------------------------------------------------------------------------------

HIDERS = {
    "children": "sleep 300 & echo $! >> {pids}; sleep 300",
    "sessions of their own": "setsid sh -c 'echo $$ >> {pids}; exec sleep 300' & sleep 300",
    "daemons": "(setsid sh -c 'echo $$ >> {pids}; exec sleep 300' & ) ; sleep 300",
    "deaf ones": "trap '' TERM INT HUP; echo $$ >> {pids}; while :; do sleep 0.2; done",
    "ones without an environment": "env -i sh -c 'echo $$ >> {pids}; exec sleep 300'",
    "one that put itself in the place of the command": "echo $$ >> {pids}; exec env -i sleep 300",
}


@pytest.mark.some(2)
@pytest.mark.parametrize("way", HIDERS)
def test_at_its_time_limit_a_client_ends_with_whatever_it_started(job_for, tmp_path, way):
    pid_file = tmp_path / "pids"
    outcome = local_executor.run_job(job_for(f"cat > /dev/null; {HIDERS[way].format(pids=pid_file)}", time_s=1))
    assert (outcome.kind, outcome.failure_class) == (jobs.FAILED, "time") and "Not done within 1 s" in outcome.message
    assert pids(pid_file) and not any(process_identity.is_running(pid, None) for pid in pids(pid_file))


def test_what_a_client_leaves_running_at_its_own_end_is_ended_too(job_for, tmp_path):
    pid_file = tmp_path / "pids"
    outcome = local_executor.run_job(
        job_for(f"{WORK}; setsid sleep 300 > /dev/null 2>&1 & echo $! > {pid_file}; sleep 0.2")
    )
    assert outcome.kind == jobs.COMPLETED, outcome.message
    assert not any(process_identity.is_running(pid, None) for pid in pids(pid_file))


def test_ctrl_c_is_not_ignored_by_what_a_client_starts(job_for, tmp_path):
    """It was: programs, and the tests of a project, then never saw SIGINT."""
    seen = tmp_path / "seen"
    local_executor.run_job(job_for(f"cat > /dev/null; grep SigIgn /proc/self/status > {seen}; exit 1"))
    ignored = int(seen.read_text().split()[1], 16) if seen.exists() and seen.read_text() else 0
    assert not ignored & (1 << (signal.SIGINT - 1)) and not ignored & (1 << (signal.SIGTERM - 1))


def test_stopping_ends_the_attempt_which_comes_back_as_interrupted(job_for, tmp_path):
    pid_file = tmp_path / "pids"
    job = job_for(f"cat > /dev/null; echo x > half.txt; sleep 300 & echo $! > {pid_file}; wait")

    def stop() -> None:
        once(pid_file)
        local_executor.stop_all()

    outcome = beside(job, stop)
    assert (outcome.kind, outcome.failure_class) == (jobs.INTERRUPTED, "stopped")
    assert not any(process_identity.is_running(pid, None) for pid in pids(pid_file))
    assert Path(job.worktree, "half.txt").exists(), "what was begun stays"


def test_a_worker_that_only_just_begins_when_its_run_is_stopped_is_ended_too(repository, tmp_path, monkeypatch):
    """The run waited for it, up to two hours: the attempt began after the attempts had been ended."""
    git_client.exclude_state_file(str(repository))
    Store(Project(str(repository))).create(new_batch(1))
    unattended_run = UnattendedRun(repository, worker="cat > /dev/null; exec sleep 300")
    real, begun = local_executor.run_job, threading.Event()

    def late(job: Job) -> Outcome:
        begun.set()
        time.sleep(1.5)
        return real(job)

    def stop(unattended: UnattendedRun) -> None:
        assert begun.wait(60) and unattended.driver
        unattended.driver.interrupt(now=True)

    monkeypatch.setattr(local_executor, "run_job", late)
    began = time.monotonic()
    state = unattended_run.drive(during=stop)
    assert time.monotonic() - began < 120
    assert state["run"]["clients"]["0"][0]["failure_class"] == "stopped" and state["retry_attempts"] == {}


PARENT = """
import json, sys
sys.path.insert(0, sys.argv[1])
from batch_implement.runner import local_executor
from batch_implement.runner.job import Job
local_executor.run_job(Job(**json.loads(sys.stdin.readline())))
"""


TWO_PIDS = "cat > /dev/null; echo $PPID > {0}.part; sleep 300 & echo $! >> {0}.part; mv {0}.part {0}; wait"


def in_another_process(job: Job) -> subprocess.Popen[bytes]:
    """A process that works on the job, to be killed."""
    driver = subprocess.Popen([sys.executable, "-c", PARENT, LIB], stdin=subprocess.PIPE)
    assert driver.stdin
    driver.stdin.write(json.dumps(job._asdict()).encode() + b"\n")
    driver.stdin.close()
    return driver


def test_when_the_driver_is_killed_the_attempt_ends_with_all_that_it_started(job_for, tmp_path):
    pid_file = tmp_path / "pids"
    job = job_for(TWO_PIDS.format(pid_file))
    driver = in_another_process(job)
    once(pid_file)
    driver.kill()
    driver.wait()
    deadline = time.monotonic() + 60
    while any(process_identity.is_running(pid, None) for pid in pids(pid_file)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(process_identity.is_running(pid, None) for pid in pids(pid_file))
    assert local_executor.run_job(job_for(WORK, number=2)).kind == jobs.COMPLETED


def test_an_attempt_that_is_killed_is_interrupted_and_takes_its_client_along(job_for, tmp_path):
    pid_file = tmp_path / "pids"
    job = job_for(TWO_PIDS.format(pid_file))

    def kill() -> None:
        once(pid_file)
        os.kill(pids(pid_file)[0], signal.SIGKILL)

    outcome = beside(job, kill)
    assert (outcome.kind, outcome.failure_class) == (jobs.INTERRUPTED, "worker_died")
    assert not any(process_identity.is_running(pid, None) for pid in pids(pid_file))


def test_an_attempt_that_outlives_its_driver_is_ended_before_the_next_one_begins(job_for, tmp_path):
    """It ended the processes of the next attempt, which has the same worktree, as if they were its client's."""
    pid_file = tmp_path / "pids"
    driver = in_another_process(job_for(TWO_PIDS.format(pid_file)))
    once(pid_file)
    outliving = pids(pid_file)[0]
    os.kill(outliving, signal.SIGSTOP)
    driver.kill()
    driver.wait()
    assert local_executor.run_job(job_for(WORK, number=2)).kind == jobs.COMPLETED
    assert not process_identity.is_running(outliving, None)


def test_the_process_of_an_attempt_ends_well(job_for, monkeypatch):
    """It aborted each time, with a core file: Python does not bear a thread that reads standard input at its end."""
    codes: list[int] = []
    real = subprocess.Popen.wait

    def wait(self: subprocess.Popen[bytes], timeout: float | None = None) -> int:
        codes.append(real(self, timeout))
        return codes[-1]

    monkeypatch.setattr(subprocess.Popen, "wait", wait)
    assert local_executor.run_job(job_for(WORK)).kind == jobs.COMPLETED
    assert codes[-1] == 0


# -- going on ----------------------------------------------------------------------------------------------------------


def test_the_same_attempt_resumes_and_its_brief_lists_existing_work(job_for, repository):
    first = local_executor.run_job(job_for(f"{WORK}; echo more > more.txt; kill -9 $$"))
    assert (first.kind, first.failure_class) == (jobs.INTERRUPTED, "crash")
    commit(repository, others="x")
    job = job_for(
        "cat > brief.txt; git add . && git commit -qm Rest", number=2, base=git(repository, "rev-parse", "HEAD")
    )
    second = local_executor.run_job(job)
    assert second.kind == jobs.COMPLETED and len(second.evidence["commits"]) == 2
    brief = Path(job.worktree, "brief.txt").read_text()
    assert "1 commit of this feature since " in brief and "more.txt" in brief


def test_an_attempt_that_was_done_before_its_driver_heard_of_it_is_only_reported(job_for, tmp_path):
    ran = tmp_path / "ran"
    first = local_executor.run_job(job_for(f"echo x >> {ran}; {WORK}"))
    second = local_executor.run_job(job_for(f"echo x >> {ran}; {WORK}", number=2))
    assert (second.kind, second.commit, second.evidence["commits"]) == (jobs.COMPLETED, first.commit, [first.commit])
    assert ran.read_text() == "x\n"


def test_what_a_dead_run_left_running_in_the_worktree_is_ended_before_anything_starts_there(job_for, tmp_path):
    pid_file = tmp_path / "pid"
    job = job_for(f"cat > /dev/null; kill -0 $(cat {pid_file}) && exit 1; echo > f; git add . && git commit -qm Work")
    left = subprocess.Popen(
        ["sleep", "300"], env={**os.environ, process_identity.WORKTREE_VARIABLE: job.worktree}, start_new_session=True
    )
    pid_file.write_text(f"{left.pid}\n")
    threading.Thread(target=left.wait, daemon=True).start()
    outcome = local_executor.run_job(job)
    assert outcome.kind == jobs.COMPLETED, outcome.message


def test_one_whose_state_is_lost_resumes_with_the_commits_on_its_branch(job_for):
    """They counted as somebody else's: nothing new to be done was left, and `batchctl done` found no commit."""
    job = job_for(f"{WORK}; kill -9 $$")
    local_executor.run_job(job)
    worktrees.remove(job.repository, job.worktree)
    outcome = local_executor.run_job(job_for("cat > /dev/null", number=2))
    assert outcome.kind == jobs.COMPLETED, outcome.message
    assert len(outcome.evidence["commits"]) == 1


# -- Claude Code -------------------------------------------------------------------------------------------------------


def test_the_command_line_has_the_limits_the_rules_and_the_steps_and_never_the_brief(job_for):
    settings = {"model": "some-model", "permission_mode": "plan", "allow": ["Bash(make:*)"], "settings": "/x.json"}
    job = job_for(None, client=settings, limits={"turns": 7, "cost_usd": 2.5, "left_usd": 1.25}, text="SECRET")
    line = claude_process.command_line(job, project_paths.plugin_root())

    def of(option: str) -> str:
        return line[line.index(option) + 1]

    assert line[0] == "claude" and "-p" in line and "SECRET" not in " ".join(line)
    assert (of("--session-id"), of("--model"), of("--permission-mode")) == (job.session_id, "some-model", "plan")
    assert (of("--max-turns"), of("--max-budget-usd"), of("--settings")) == ("7", "1.25", "/x.json")
    assert "batchctl done" in of("--append-system-prompt") and "---" not in of("--append-system-prompt")[:10]
    allowed = line[line.index("--allowedTools") + 1 :]
    assert allowed == [*claude_process.TOOLS, "Bash(make:*)"], "it takes all that follows, so nothing may"
    job = job._replace(policy={**job.policy, "verify": "make test"})
    allowed = claude_process.command_line(job, project_paths.plugin_root())[-2:]
    assert allowed == ["Bash(make test:*)", "Bash(make:*)"]
    plain = claude_process.command_line(job_for(None), project_paths.plugin_root())
    shared = "--exclude-dynamic-system-prompt-sections"
    assert not {"--max-turns", "--max-budget-usd", "--settings", "--model", shared} & set(plain)
    for version, is_shared in (([2, 1, 330], True), ([2, 1, 329], False), ([2, 2, 0], True), (None, False)):
        job = job_for(None, client={"version": version})
        assert (shared in claude_process.command_line(job, project_paths.plugin_root())) is is_shared


def test_a_client_inherits_a_persons_settings_but_nothing_of_another_client_batch_or_repository():
    theirs = {
        "PATH": "/bin", "HOME": "/h", "ANTHROPIC_API_KEY": "k", "CLAUDE_CONFIG_DIR": "/c",
        "CLAUDE_CODE_USE_BEDROCK": "1", "GIT_SSH_COMMAND": "ssh -i x", "GIT_AUTHOR_NAME": "A",
        "GIT_CONFIG_GLOBAL": "/g",
    }  # fmt: skip
    others = {
        "CLAUDECODE": "1", "CLAUDE_CODE_SESSION_ID": "s", "CLAUDE_PID": "1", "CLAUDE_PROJECT_DIR": "/p",
        "CLAUDE_ENV_FILE": "/e", "CLAUDE_CODE_ENTRYPOINT": "cli", "CLAUDE_PLUGIN_ROOT": "/r",
        "CLAUDE_PLUGIN_DATA": "/d", "BATCH_IMPLEMENT_ROOT": "/p", "BATCH_IMPLEMENT_DISABLED": "1", "GIT_DIR": "/p/.git",
        "GIT_WORK_TREE": "/p", "GIT_INDEX_FILE": "/i", process_identity.WORKTREE_VARIABLE: "/other",
    }  # fmt: skip
    assert claude_process.client_environment({**theirs, **others}, "/tree") == {
        **theirs,
        process_identity.WORKTREE_VARIABLE: "/tree",
    }


SAYS = {  # recorded stream, exit status -> kind, class, a word of the message
    ("limit", 1): (jobs.INTERRUPTED, "limit", "usage limit reached"),
    ("max_turns", 1): (jobs.FAILED, "turns", "within 5 turns"),
    ("max_budget", 1): (jobs.FAILED, "cost", "within $2.00"),
    ("done", 0): (jobs.FAILED, "no_verdict", "Feature 1 is in."),
    ("killed", 137): (jobs.INTERRUPTED, "crash", "137"),
}


@pytest.mark.parametrize(("stream", "status"), SAYS)
def test_what_a_client_says_at_its_end_decides_when_its_feature_is_still_open(job_for, stand_in, stream, status):
    reset = timestamps.add_seconds(timestamps.now(), 7200)
    it_says = f"sed 's/1900000000/{timestamps.parse_epoch_s(reset)}/' $streams/{stream}.jsonl"
    path = stand_in(f"cat > /dev/null; {it_says}; exit {status}")
    outcome = local_executor.run_job(job_for(None, client={"path": path}, limits={"turns": 5, "cost_usd": 2.0}))
    kind, failure_class, words = SAYS[stream, status]
    assert (outcome.kind, outcome.failure_class) == (kind, failure_class) and words in outcome.message
    assert outcome.retry_after == (reset if stream == "limit" else None)
    assert outcome.spent["turns"] > 0
    assert (outcome.spent["cost_usd"] > 0) == (stream not in ("limit", "killed"))


def test_a_share_of_the_runs_cost_that_is_used_up_is_no_fault_of_the_feature(job_for, stand_in):
    path = stand_in("cat > /dev/null; sed 's/0\\.0042/0.62/' $streams/max_budget.jsonl; exit 1")
    outcome = local_executor.run_job(job_for(None, client={"path": path}, limits={"cost_usd": 2.0, "left_usd": 0.5}))
    assert (outcome.kind, outcome.failure_class) == (jobs.INTERRUPTED, "budget") and "$0.50" in outcome.message
    own = job_for(None, client={"path": path}, limits={"cost_usd": 0.25, "left_usd": 0.5}, text="another")
    assert local_executor.run_job(own).failure_class == "cost"


def test_a_client_that_does_not_say_what_it_cost_does_not_begin_again_and_again(job_for, stand_in):
    result = '{"type": "result", "subtype": "error_max_budget_usd", "is_error": true}'
    path = stand_in(f"cat > /dev/null; echo '{result}'; exit 1")
    outcome = local_executor.run_job(job_for(None, client={"path": path}, limits={"left_usd": 0.5}))
    kind = (outcome.kind, outcome.failure_class)
    assert kind == (jobs.NEEDS_USER, "budget") and "$0.50" in outcome.message


def test_what_permissions_refused_comes_home_with_the_outcome_and_into_the_record(job_for, stand_in):
    denials = [{"tool_name": "Bash", "tool_input": {"command": f"git add x && make test N={n}"}} for n in (1, 2)]
    result = json.dumps({"type": "result", "subtype": "success", "result": "No.", "permission_denials": denials})
    path = stand_in(f"cat > /dev/null; echo '{result}'")
    job = job_for(None, client={"path": path})
    outcome = local_executor.run_job(job)
    assert outcome.refusals == {"Bash(make test:*)": 2}
    assert jobs.client_record(job, outcome)["refusals"] == {"Bash(make test:*)": 2}


ASKED = (
    "cat > /dev/null; trap 'cat $streams/interrupted.jsonl; exit 0' INT; cat $streams/killed.jsonl; echo $$ > {pids}; "
    "sleep 300 & while :; do wait; done"
)


def test_a_client_that_has_to_end_is_asked_first_so_that_it_says_what_it_cost(job_for, stand_in, tmp_path):
    """One that was ended for its time had cost nothing, and no limit on the cost of a run held."""
    path = stand_in(ASKED.format(pids=tmp_path / "pids"))
    outcome = local_executor.run_job(job_for(None, client={"path": path}, time_s=4))
    assert (outcome.kind, outcome.failure_class) == (jobs.FAILED, "time")
    assert outcome.spent["cost_usd"] == pytest.approx(0.0622) and outcome.spent["output_tokens"] == 510


def test_a_client_inside_a_script_of_the_persons_is_asked_as_well(job_for, stand_in, tmp_path):
    own = stand_in(ASKED.format(pids=tmp_path / "pids"))
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\n{own} <&0\nexit $?\n")
    script.chmod(0o755)

    def stop() -> None:
        once(tmp_path / "pids")
        local_executor.stop_all()

    outcome = beside(job_for(None, client={"path": str(script)}), stop)
    assert outcome.failure_class == "stopped" and outcome.spent["output_tokens"] == 510


def test_what_a_client_cost_whose_driver_was_killed_is_reported_by_the_next_and_only_once(job_for, stand_in, tmp_path):
    pid_file = tmp_path / "pids"
    job = job_for(None, client={"path": stand_in(ASKED.format(pids=pid_file))})
    driver = in_another_process(job)
    once(pid_file)
    driver.kill()
    driver.wait()
    deadline = time.monotonic() + 60
    while process_identity.find_marked(job.worktree) and time.monotonic() < deadline:
        time.sleep(0.05)
    path = stand_in("cat > /dev/null; cat $streams/limit.jsonl; exit 1")
    second = local_executor.run_job(job_for(None, client={"path": path}, number=2))
    assert second.spent["cost_usd"] == pytest.approx(0.0622) and second.spent["output_tokens"] == 510
    third = local_executor.run_job(job_for(None, client={"path": path}, number=3))
    assert third.spent["cost_usd"] == 0 and third.spent["output_tokens"] == 0


@pytest.mark.prove
def test_a_client_that_is_asked_to_end_and_does_not_is_ended_all_the_same(job_for, stand_in, tmp_path):
    path = stand_in(f"trap '' INT TERM; cat > /dev/null; echo $$ > {tmp_path}/pids; while :; do sleep 0.2; done")
    outcome = local_executor.run_job(job_for(None, client={"path": path}, time_s=1))
    assert outcome.failure_class == "time" and not process_identity.is_running(pids(tmp_path / "pids")[0], None)


# -- what it prints ----------------------------------------------------------------------------------------------------


@pytest.fixture
def run_client(tmp_path: Path) -> Callable[..., subprocesses.Result]:
    """Runs a shell command as a client; its logs are in tmp_path / "logs"."""

    def run(command: str, stream: ClientStream, **options: Any) -> subprocesses.Result:
        defaults: dict[str, Any] = {
            "folder": str(tmp_path),
            "logs": str(tmp_path / "logs"),
            "brief": "the brief\n",
            "environ": claude_process.client_environment(os.environ, str(tmp_path)),
            "time_s": 60,
            "stopped": threading.Event(),
            "on_progress": lambda stream: None,
        }
        return claude_process.run_client(["/bin/sh", "-c", command], stream, **{**defaults, **options})

    return run


def test_the_brief_is_standard_input_and_is_kept_beside_what_was_printed(run_client, tmp_path):
    ended = run_client("cat; echo oops >&2; exit 3", ClientStream(), brief="the \udc80 brief\n")
    assert (ended.returncode, ended.timed_out) == (3, False)
    assert (tmp_path / "logs" / "stream.jsonl").read_text() == "the ? brief\n"
    assert (tmp_path / "logs" / "stderr").read_text() == "oops\n"


def test_of_an_endless_output_a_bounded_part_is_kept_and_each_result(run_client, tmp_path, monkeypatch):
    monkeypatch.setattr(claude_process, "MAX_STREAM_BYTES", 2000)
    monkeypatch.setattr(claude_process, "MAX_LINE_BYTES", 500)
    result = '{"type":"result","num_turns":4}'
    long = "y" * 500 + '{"type":"result","num_turns":9}'
    says = f"yes abcdefghi | head -c 20000; echo '{result}'; echo '{long}'"
    stream = ClientStream()
    run_client(f"cat >/dev/null; {says}; yes | head -c 9000 >&2; sleep 1", stream)
    kept = (tmp_path / "logs" / "stream.jsonl").read_text()
    assert len(kept) < 3200 and result in kept and stream.result["num_turns"] == 4
    assert (tmp_path / "logs" / "stderr").stat().st_size < 9000


def test_a_full_disk_does_not_leave_a_client_standing_still(run_client, monkeypatch):
    """Nobody read what it printed any more, so it waited for its time limit."""

    def refuse(self, file, stream):
        begin(self, file, stream)
        file.close()
        self.file = full

    begin = claude_process.StreamReader.__init__
    monkeypatch.setattr(claude_process.StreamReader, "__init__", refuse)
    stream = ClientStream()
    with open("/dev/full", "wb", buffering=0) as full:
        ended = run_client("""cat >/dev/null; yes | head -c 150000; echo '{"type":"result","num_turns":4}'""", stream)
    assert ended.returncode == 0 and stream.result["num_turns"] == 4


def test_how_far_a_client_is_can_be_read_while_it_works(job_for, stand_in, tmp_path):
    path = stand_in(f"cat > /dev/null; cat $streams/killed.jsonl; echo x > {tmp_path}/there; exec sleep 300")
    job = job_for(None, client={"path": path})

    def look() -> None:
        once(tmp_path / "there")
        shown = Path(logs.logs_folder(Project(job.worktree)), "progress.json")
        deadline = time.monotonic() + 60
        while not (shown.exists() and json.loads(shown.read_text())["turns"]) and time.monotonic() < deadline:
            time.sleep(0.05)
        progress.update(json.loads(shown.read_text()))
        local_executor.stop_all()

    progress: dict[str, Any] = {}
    beside(job, look)
    assert (progress["turns"], progress["tool"]) == (3, "Bash: touch at-work; sleep 60")
    assert progress["session_id"] == job.session_id and progress["updated_at"].endswith("Z")


def test_the_state_file_is_never_among_what_a_client_may_commit(job_for):
    job = job_for(WORK)
    local_executor.run_job(job)
    assert git_client.list_changes(job.worktree) == ([], [])
    assert ".claude" not in git(job.worktree, "ls-tree", "-r", "--name-only", "HEAD")


# -- kills from outside ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["kill -9 $$", "kill -15 $$", "exit 137", "exit 143", "kill -2 $$; sleep 5"])
def test_a_command_that_was_killed_is_no_failed_attempt(job_for, repository, end):
    outcome = local_executor.run_job(job_for(f"cat > /dev/null; echo half > half.txt; {end}"))
    assert (outcome.kind, outcome.failure_class) == (jobs.INTERRUPTED, "crash")
    assert end != "kill -9 $$" or "The worker command was killed by signal 9 (SIGKILL)." in outcome.message
    assert Store(Project(job_for(WORK).worktree)).require()["active"], "the next client goes on here"


@pytest.mark.parametrize("end", ["kill -9 $$", "exit 143"])
def test_a_client_that_was_killed_after_it_said_something_is_no_failed_attempt(job_for, stand_in, end):
    path = stand_in(f"cat > /dev/null; sed 's/false/true/g' $streams/done.jsonl; {end}")
    outcome = local_executor.run_job(job_for(None, client={"path": path}))
    assert (outcome.kind, outcome.failure_class) == (jobs.INTERRUPTED, "crash"), outcome.message


def test_a_verify_command_that_was_killed_runs_again_and_one_that_always_is_has_failed(job_for, tmp_path):
    once_only = f"[ -e {tmp_path}/killed ] || {{ touch {tmp_path}/killed; kill -9 $$; }}"
    assert local_executor.run_job(job_for(WORK, policy={"verify": once_only})).kind == jobs.COMPLETED
    always = f"echo >> {tmp_path}/runs; kill -9 $$"
    outcome = local_executor.run_job(job_for(WORK, text="another", policy={"verify": always}))
    assert outcome.kind == jobs.FAILED and "137" in outcome.message
    assert (tmp_path / "runs").read_text() == "\n" * 3


def test_done_that_was_killed_runs_again(job_for, tmp_path):
    waits = f"echo > {tmp_path}/begun; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done"
    job = job_for(WORK, policy={"verify": waits})

    def kill_done():
        once(tmp_path / "begun")
        killed = [pid for pid in process_identity.find_marked(job.worktree) if _is_done(pid)]
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        (tmp_path / "go").touch()
        assert killed

    outcome = beside(job, kill_done)
    assert outcome.kind == jobs.COMPLETED, outcome.message


def _is_done(pid: int) -> bool:
    listed = subprocess.run(["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return "batchctl.py done" in listed


def test_a_git_that_was_killed_is_no_failed_attempt_and_needs_no_user(job_for, tmp_path, monkeypatch):
    folder = tmp_path / "bin"
    folder.mkdir()
    real = subprocess.run(["which", "git"], capture_output=True, text=True, check=True).stdout.strip()
    (folder / "git").write_text(f'#!/bin/sh\ncase "$*" in *"worktree add"*) kill -9 $$;; esac\nexec {real} "$@"\n')
    (folder / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    outcome = local_executor.run_job(job_for(WORK))
    assert (outcome.kind, outcome.failure_class) == (jobs.INTERRUPTED, "crash"), outcome.message
    monkeypatch.undo()
    assert local_executor.run_job(job_for(WORK)).kind == jobs.COMPLETED
