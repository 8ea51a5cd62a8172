"""`batchctl run` as a person types it, in a real process, with commands as workers."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable

import pytest
from batch_implement.base import process_identity
from batch_implement.base.project_paths import Project
from batch_implement.store.store import Store
from batches import BATCHCTL, conditions, run_program
from gh_stand_in import StandIn

WORKER = """
brief=$(mktemp); cat > "$brief"; n=$(sed -n 's/^> feature \\([0-9]*\\).*/\\1/p' "$brief" | head -1); rm "$brief"
. ./steps; git add . && git commit -qm "Add $n"
"""


class User:
    """Somebody at a terminal in the repository, with a worker that does what `steps` says for each feature."""

    def __init__(self, repository: Path, tmp_path: Path) -> None:
        self.repository, self.worker = repository, tmp_path / "worker.sh"
        self.worker.write_text(WORKER)
        self.git("commit", "-q", "--allow-empty", "-m", "Begin")

    def lists(self, *features: str, steps: str = 'echo "$n" > "f-$n"') -> None:
        """Commit a list of features and what the worker does for each."""
        (self.repository / "features.txt").write_text("".join(f"{text}\n" for text in features))
        (self.repository / "steps").write_text(steps + "\n")
        self.git("add", ".")
        self.git("commit", "-qm", "List")

    def git(self, *words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(self.repository), *words], check=True, capture_output=True, text=True
        ).stdout

    def starts(self, *words: str) -> subprocess.Popen[str]:
        """Type `batchctl run WORDS`, and do something else meanwhile."""
        return subprocess.Popen(
            [BATCHCTL, "run", *words, "--worker", f"sh {self.worker}"], cwd=self.repository, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def types(self, *words: str) -> tuple[int, str, str]:
        """Type `batchctl run WORDS` and wait for its end: status, output, errors."""
        typed = self.starts(*words)
        out, errors = typed.communicate(timeout=240)
        return typed.returncode, out, errors

    def state(self) -> dict[str, Any]:
        return Store(Project(str(self.repository))).require()

    def has(self, name: str) -> bool:
        """Whether the batch's branch has a file of this name."""
        return name in self.git("ls-tree", "--name-only", self.state()["run"]["branch"]).split()


@pytest.fixture
def user(repository: Path, tmp_path: Path) -> User:
    return User(repository, tmp_path)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_dry_run_shows_the_order_and_what_would_stop_it_and_starts_nothing(user, tmp_path):
    user.lists("feature 1 (after: 2)", "feature 2", steps=f"touch {tmp_path}/started")
    status, out, errors = user.types("features.txt", "--dry-run", "--verify", "true", "--max-cost", "5", "--jobs", "2")
    assert (status, errors) == (0, "") or "max-cost" in errors
    assert out.index("feature 2") < out.index("feature 1  (needs 2)")
    assert "Nothing was written or started." in out
    assert not (tmp_path / "started").exists()
    assert not (user.repository / ".claude").exists() and user.git("branch", "--list", "batch/*") == ""


def test_a_dry_run_of_what_could_not_start_ends_with_1_and_says_why_once(user, tmp_path):
    user.lists("feature 1")
    elsewhere = tmp_path / "no-repository"
    elsewhere.mkdir()
    (elsewhere / "list.txt").write_text("feature 1\n")
    typed = subprocess.run(
        [BATCHCTL, "run", "list.txt", "--dry-run"], cwd=elsewhere, capture_output=True, text=True, timeout=240
    )
    assert (typed.returncode, typed.stdout.count("is not a git repository")) == (1, 1), typed.stdout
    assert "Nothing was written or started." in typed.stdout and not (elsewhere / ".claude").exists()
    subprocess.run([BATCHCTL, "create", "features.txt"], cwd=user.repository, check=True, capture_output=True)
    status, out, _ = user.types("features.txt", "--dry-run")
    assert (status, out.count("is not finished here")) == (1, 1), out
    assert user.types("features.txt", "--dry-run", "--replace")[0] == 0


def test_a_run_that_would_be_stopped_is_refused_with_every_remedy_and_writes_nothing(user):
    user.lists("feature 1")
    (user.repository / "features.txt").write_text("feature 1\nfeature 2\n")
    status, _, errors = user.types("features.txt", "--verify", "false")
    assert status == 1
    assert "nothing was started" in errors and "features.txt" in errors
    assert not (user.repository / ".claude").exists()


def test_a_run_to_its_end_says_how_to_take_it_over_and_where_the_report_is(user):
    user.lists("feature 1", "feature 2 (after: 1)")
    status, out, errors = user.types("features.txt", "--verify", "ls f*", "--max-time", "1h")
    assert (status, errors) == (0, "")
    assert "  warning      limits: " in out
    assert "2 of 2 done, 0 failed, 0 skipped; all features processed." in out
    assert f"git merge {user.state()['run']['branch']}" in out
    report = Path(next(line for line in out.splitlines() if line.startswith("Report: ")).split(": ")[1])
    assert "2 of 2 features done" in report.read_text()
    assert user.has("f-1") and user.has("f-2")
    assert user.git("status", "--porcelain") == ""


def test_a_run_with_a_feature_that_needed_no_change_says_so_and_ends_with_5(user):
    steps = f'[ "$n" != 1 ] || {{ {BATCHCTL} done --no-change "it is there"; exit; }}; echo > two'
    user.lists("feature 1", "feature 2", steps=steps)
    status, out, _ = user.types("features.txt")
    assert status == 5 and "2 of 2 done (1 without a change)" in out
    report = run_program(BATCHCTL, "report", cwd=user.repository).stdout
    assert report.startswith("# 2 of 2 features done (1 without a change)")


def test_with_merge_the_persons_branch_is_fast_forwarded_when_it_can_be(user):
    user.lists("feature 1")
    status, out, _ = user.types("features.txt", "--merge")
    assert status == 0 and "is at batch/" in out and "git merge" not in out and "git log" not in out
    assert (user.repository / "f-1").exists()


def test_with_merge_and_changes_in_the_tree_nothing_is_touched_and_the_way_is_said(user, tmp_path):
    user.lists("feature 1", steps=f"echo mine > {user.repository}/features.txt; echo > f-1")
    status, out, _ = user.types("features.txt", "--merge")
    assert status == 0 and "uncommitted changes" in out and "` merges it." in out
    assert (user.repository / "features.txt").read_text() == "mine\n"


def test_a_failure_ends_with_1_tells_the_person_and_how_to_go_on(user, tmp_path):
    user.lists("feature 1", "feature 2", steps=f'[ "$n" != 1 ] || [ -e {tmp_path}/well ] || exit 3; echo > "f-$n"')
    seen = tmp_path / "seen"
    notify = f'echo "$BATCH_EVENT $BATCH_STATUS" >> {seen}; test -s "$BATCH_REPORT" && echo report >> {seen}'
    status, out, _ = user.types("features.txt", "--notify", notify, "--max-retries", "0")
    assert status == 1
    assert "batchctl retry" in out and "batchctl run --resume" in out
    assert seen.read_text().split("\n")[:4] == ["failure in_progress", "report", "end completed", "report"]
    (tmp_path / "well").touch()
    subprocess.run([BATCHCTL, "retry"], cwd=user.repository, check=True, capture_output=True)
    assert user.types("--resume")[0] == 0
    assert conditions(user.state()) == ["done", "done"]


def test_ctrl_c_twice_leaves_no_process_and_no_lock_and_resume_goes_on(user, tmp_path):
    user.lists(
        "feature 1", steps=f"if [ ! -e {tmp_path}/go ]; then echo $$ > {tmp_path}/pid; sleep 300; fi; echo > f-1"
    )
    typed = user.starts("features.txt")
    until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip() != "")
    typed.send_signal(signal.SIGINT)
    time.sleep(0.2)
    typed.send_signal(signal.SIGINT)
    out, _ = typed.communicate(timeout=60)
    assert typed.returncode == 1 and "batchctl run --resume" in out
    state = user.state()
    assert not process_identity.is_running(int((tmp_path / "pid").read_text()), None)
    assert not process_identity.is_owner_alive(state["owner"]) and state["run"]["running"] == {}
    (tmp_path / "go").touch()
    assert user.types("--resume")[0] == 0
    assert user.has("f-1")


def test_a_driver_killed_with_9_is_followed_by_resume_which_does_each_feature_once(user, tmp_path):
    steps = f'echo "$n" >> {tmp_path}/tries; [ -e {tmp_path}/go ] || [ "$n" = 1 ] || sleep 300; echo > "f-$n"'
    user.lists("feature 1", "feature 2", "feature 3", steps=steps)
    typed = user.starts("features.txt")
    until(lambda: (tmp_path / "tries").exists() and "2" in (tmp_path / "tries").read_text())
    typed.kill()
    typed.communicate()
    (tmp_path / "go").touch()
    status, _, errors = user.types("--resume", "--jobs", "2")
    assert (status, errors) == (0, "")
    assert (tmp_path / "tries").read_text().split().count("1") == 1
    subjects = user.git("log", "--format=%s", f"HEAD..{user.state()['run']['branch']}").split("\n")
    assert sorted(subjects) == ["", "Add 1", "Add 2", "Add 3"]


@pytest.mark.prove
def test_a_run_can_be_watched_stopped_by_pause_and_refuses_a_second_one(user, tmp_path):
    steps = f'touch {tmp_path}/begun; while [ ! -e {tmp_path}/go ]; do sleep 0.1; done; echo > "f-$n"'
    user.lists("feature 1", "feature 2", steps=steps)
    typed = user.starts("features.txt")
    until(lambda: (tmp_path / "begun").exists())
    status, _, errors = user.types("--resume")
    assert status == 1 and f"by `batchctl run`: process {typed.pid}" in errors
    shown = subprocess.run([BATCHCTL, "status"], cwd=user.repository, check=True, capture_output=True, text=True)
    assert "Running in `batchctl run`: 1." in shown.stdout
    paused = [BATCHCTL, "pause", "--reason", "too late for today"]
    subprocess.run(paused, cwd=user.repository, check=True, capture_output=True)
    (tmp_path / "go").touch()
    out, _ = typed.communicate(timeout=60)
    assert typed.returncode == 1 and "the batch is paused" in out
    assert "  paused       too late for today\n" in out and "\nPaused: too late for today\n" in out
    assert conditions(user.state()) == ["done", "pending"]
    assert user.types("--resume")[0] == 0


def test_whatever_ends_a_run_is_reported_with_the_next_step(user, tmp_path):
    """No report, no notification, and no end in the state."""
    user.lists("feature 1", "feature 2", steps='[ "$n" = 1 ] || while :; do sleep 0.1; done; echo > f-1')
    hidden = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); from batch_implement.runner import job\n"
        "real, made = job.create_job, []\n"
        "def create(*arguments):\n    made.append(1)\n    return real(*arguments) if len(made) < 2 else 1 / 0\n"
        "job.create_job = create\n"
        "from batch_implement.cli.batchctl import main; sys.exit(main(sys.argv[1:]))"
    )
    notify = f'echo "$BATCH_EVENT"; test -s "$BATCH_REPORT" && echo "$BATCH_EVENT" > {tmp_path}/seen'
    line = ["run", "features.txt", "--worker", f"sh {user.worker}", "--notify", notify]
    ended = subprocess.run(
        [sys.executable, "-c", hidden, str(Path(BATCHCTL).parents[1] / "lib"), *line], cwd=user.repository,
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert ended.returncode == 1 and "Traceback" not in ended.stderr
    message = next(row for row in ended.stderr.splitlines() if "division by zero" in row)
    assert message.endswith("`batchctl run --resume` resumes the run.")
    assert (tmp_path / "seen").read_text() == "failure\n"
    state = user.state()
    assert state["run"]["ended_at"] and not process_identity.is_owner_alive(state["owner"])
    assert "division by zero" in state["run"]["ended_why"]


@pytest.mark.parametrize("output", [">&-", "> /dev/full", "| true"])
def test_a_closed_or_full_standard_output_does_not_fail_a_run(user, output):
    user.lists("feature 1")
    ended = subprocess.run(
        f"{BATCHCTL} run features.txt --worker 'sh {user.worker}' {output}", shell=True, cwd=user.repository,
        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert "Traceback" not in ended.stderr and "Exception ignored" not in ended.stderr
    assert conditions(user.state()) == ["done"] and user.state()["run"]["ended_at"]


def test_json_is_one_object_on_standard_output_and_the_lines_go_beside_it(user):
    user.lists("feature 1")
    status, out, errors = user.types("features.txt", "--json")
    data = json.loads(out)
    assert (status, data["status"], data["counts"]["done"]) == (0, "completed", 1)
    assert "merged" in errors


def test_a_pull_request_is_opened_for_what_was_merged_only_when_it_is_asked_for(user, tmp_path, monkeypatch):
    remote = tmp_path / "acme" / "widgets.git"
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(remote)], check=True)
    github = StandIn(tmp_path / "github.json")
    github.change(git=str(remote))
    github.on_path(monkeypatch)
    user.git("remote", "add", "origin", str(remote))
    user.lists("feature 1")
    user.git("push", "-q", "origin", "main")
    status, out, errors = user.types("features.txt", "--pr")
    assert status == 0, errors
    branch = user.state()["run"]["branch"]
    assert user.git("ls-remote", "origin", branch).split()[0] == user.git("rev-parse", branch).strip()
    assert user.state()["run"]["pull_request"]["success"] is True
    assert "Pull request for the batch: https" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["features.txt", "--resume"], "Leave out one of them"),
        (["features.txt", "--max-time", "soon"], "is not a duration"),
        (["features.txt", "--jobs", "0"], "from 1 to 64"),
        (["features.txt", "--pr", "--pr-per-feature"], "not allowed with"),
        (["--resume"], "There is no batch"),
        ([], "The features"),
    ],
)
def test_what_is_typed_wrongly_is_said_in_one_message(user, words, message):
    user.lists("feature 1")
    status, _, errors = user.types(*words)
    assert status in (1, 2) and (message in errors or "features file is missing" in errors)
    assert "Traceback" not in errors


def test_the_setup_command_of_the_list_is_kept_and_a_resume_can_replace_it(user, tmp_path):
    (user.repository / "features.yaml").write_text(
        "defaults: {setup: test -e ../../../ready, verify: 'true', keep: [/cache/]}\nfeatures: [feature 1, feature 2]\n"
    )
    user.lists("unused")
    status, _, errors = user.types("features.yaml")
    assert status == 1 and "setup: The setup command `test -e ../../../ready` failed with exit status 1" in errors
    (tmp_path / "ready").touch()
    (user.repository / "steps").write_text(f'echo "$n" >> "f-$n"; rm -f {tmp_path}/ready\n')
    user.git("commit", "-qam", "Steps")
    status, out, _ = user.types("features.yaml")
    assert status == 1 and "Paused:" in out and "The setup command" in out
    assert user.state()["policy"]["setup"] == "test -e ../../../ready" and not user.state()["attempts"]
    status, out, errors = user.types("--resume", "--setup", f"touch {tmp_path}/ready")
    assert (status, conditions(user.state())) == (0, ["done", "done"]), out + errors
    assert not user.state()["attempts"]
    assert (user.state()["policy"]["setup"], user.state()["policy"]["keep"]) == (f"touch {tmp_path}/ready", ["/cache/"])
