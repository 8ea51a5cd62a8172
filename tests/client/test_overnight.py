"""`batchctl run` with the real client: each worker is a batch of one, with hooks, guard and evidence as ever."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Callable

import pytest
from batch_implement.base import process_identity, timestamps
from batch_implement.base.project_paths import Project
from batch_implement.core import prompts
from batch_implement.git import git_client
from batch_implement.store.store import Store
from batches import conditions, new_batch
from client import Client
from scripted_model import WINDOW_FULL, Request, Role, Script, ScriptedModel, Turn, call, fail, say
from unattended import UnattendedRun

import scripts
from scripts import alone, batchctl, git, number_alone, one_file

Models = Callable[..., ScriptedModel]


@pytest.fixture
def unattended_run(project: Path, scripted: Models, client_for: Callable[..., Client]) -> Callable[..., UnattendedRun]:
    """Makes a run over a scripted model: `unattended_run(role, features, needs=..., verify=...)`."""

    def make(role: Role, features: int = 2, **batch: Any) -> UnattendedRun:
        git_client.exclude_state_file(str(project))
        Store(Project(str(project))).create(new_batch(features, **batch))
        model = scripted(coordinator=role)
        client = client_for(model)
        unattended = UnattendedRun(project, client.environment(), client=str(client.binary))
        unattended.model = model
        return unattended

    return make


def merged(unattended: UnattendedRun) -> list[str]:
    """The subjects of the batch's commits, oldest first."""
    return git(
        Path(unattended.project.root), "log", "--reverse", "--format=%s", "HEAD..batch/batch-1/merged"
    ).splitlines()


def requests_of(unattended: UnattendedRun) -> list[Request]:
    """The requests of the clients' main threads."""
    return unattended.model.of("coordinator")


def test_a_client_gets_the_brief_as_a_plain_prompt_and_its_batch_of_one_is_done_merged_and_counted(
    unattended_run, project
):
    unattended = unattended_run(alone(), 2, needs={0: [1]}, verify="ls feature-*.txt")
    state = unattended.drive()
    assert conditions(state) == ["done", "done"]
    assert merged(unattended) == ["Add feature-2.txt", "Add feature-1.txt"]
    first = requests_of(unattended)[0]
    assert "Feature 2 of 2, attempt 1" in first.text() and "<command-name>" not in first.text()
    assert "You implement one feature of a batch" in first.system_text()
    second = next(r for r in requests_of(unattended) if "> feature 1" in r.text())
    assert "It builds on another feature, which is done (commit " in second.text() and "> feature 2" in second.text()
    one, other = (state["run"]["clients"][name][0] for name in "01")
    assert one["session_id"] != other["session_id"]
    assert {r.session for r in requests_of(unattended)} == {one["session_id"], other["session_id"]}
    spent = state["run"]["spent"]
    assert spent["turns"] == one["turns"] + other["turns"] > 0
    assert spent["cost_usd"] == pytest.approx(one["cost_usd"] + other["cost_usd"]) and spent["cost_usd"] > 0
    assert spent["input_tokens"] > 0 and spent["output_tokens"] > 0
    assert state["evidence"]["0"]["verify"]["exit_code"] == 0
    assert Path(state["evidence"]["0"]["verify"]["log"]).read_text().split() == ["feature-1.txt", "feature-2.txt"]


@pytest.mark.prove
def test_what_a_model_does_to_go_round_the_evidence_is_denied_in_its_work_tree_too(unattended_run):
    tried: list[str] = []

    def sly(request: Request) -> Script:
        for command in ("batchctl run --resume", "batchctl skip 1", "echo '{}' > .claude/batch_state.json"):
            request = yield call("Bash", command=command)
            tried.append(request.last_text())
        yield from alone()(request)

    state = unattended_run(sly, 1).drive()
    assert conditions(state) == ["done"]
    assert "is for the user, not for the model" in tried[0] and "is for the user" in tried[1]
    assert "Only batchctl writes the batch's state" in tried[2]


def test_a_file_that_git_ignores_is_asked_for_in_its_work_tree_too(unattended_run, project):
    (project / ".gitignore").write_text("lib/\n", encoding="utf-8")
    git(project, "add", ".gitignore")
    git(project, "commit", "-qm", "Ignore lib")
    answers: list[str] = []

    def hidden(request: Request) -> Script:
        yield call("Write", file_path="lib/table.json", content="[1]\n")
        yield call("Bash", command="echo 1 >feature-1.txt && git add feature-1.txt && git commit -qm 'Add it'")
        request = yield batchctl("done")
        answers.append(request.last_text())
        yield call("Bash", command="git add -f lib && git commit -q --amend --no-edit")
        yield batchctl("done")
        yield say("It is in.")

    unattended = unattended_run(hidden, 1)
    assert conditions(unattended.drive()) == ["done"]
    assert "no commit has it: lib/table.json." in answers[0]
    assert git(project, "show", "batch/batch-1/merged:lib/table.json") == "[1]\n"


def test_a_clean_in_a_work_tree_and_in_verify_ends_no_attempt(unattended_run, tmp_path):
    (tmp_path / "clean.sh").write_text("git clean -ffdxq", encoding="utf-8")

    def tidy(request: Request) -> Script:
        yield call("Bash", command=f"sh {tmp_path}/clean.sh")
        yield from alone()(request)

    state = unattended_run(tidy, 2, verify="git clean -ffdxq").drive()
    assert conditions(state) == ["done", "done"] and state["retry_attempts"] == {}


@pytest.mark.prove
def test_in_accept_edits_mode_a_client_may_edit_commit_verify_and_call_batchctl_and_nothing_else(
    unattended_run, tmp_path
):
    refused: list[bool] = []

    def work(request: Request) -> Script:
        request = yield call("Bash", command=f"touch {tmp_path}/escaped")
        refused.append(request.error)
        request = yield call("Bash", command=f"{verify} && echo verified")
        refused.append(request.error)
        yield from alone()(request)

    verify = "python3 -m compileall -q . && test -d ."
    unattended = unattended_run(work, 1, verify=verify)
    unattended.options["permission_mode"] = "acceptEdits"
    assert conditions(unattended.drive()) == ["done"]
    assert refused == [True, False] and not (tmp_path / "escaped").exists()


def test_a_model_that_stops_early_is_sent_on_by_the_hooks_of_its_work_tree(unattended_run):
    def stops(request: Request) -> Script:
        request = yield say("I think that is all.")
        assert "Feature 1 of 1 is still open" in request.last_text()
        yield from alone()(request)

    state = unattended_run(stops, 1).drive()
    assert conditions(state) == ["done"] and state["retry_attempts"] == {}


@pytest.mark.prove
def test_a_usage_limit_in_the_middle_is_waited_for_and_the_same_attempt_goes_on_from_its_commit(unattended_run):
    reset = timestamps.parse_epoch_s(timestamps.now()) + 7200
    gone: list[str] = []

    def limited(request: Request) -> Script:
        number = number_alone(request)
        if number == 1 and not gone:
            gone.append(request.session)
            for turn in one_file(number):
                request = yield turn
            yield fail(429, "rate_limit_error", f"Claude AI usage limit reached|{reset}")
            return
        if number == 1:
            assert "1 commit of this feature since" in request.text()
            yield batchctl("done")
            yield say("Done.")
            return
        yield from alone()(request)

    unattended = unattended_run(limited, 2)
    state = unattended.drive()
    assert conditions(state) == ["done", "done"] and state["retry_attempts"] == {}
    assert [client["outcome"] for client in state["run"]["clients"]["0"]] == ["interrupted", "completed"]
    (wait,) = state["run"]["waits"]
    assert wait["failure_class"] == "limit" and timestamps.seconds_between(wait["since"], wait["until"]) >= 7000
    assert merged(unattended) == ["Add feature-1.txt", "Add feature-2.txt"]


def test_a_client_that_is_killed_is_followed_by_another_in_the_same_attempt(unattended_run):
    killed: list[int] = []

    def mortal(request: Request) -> Script:
        if not killed:
            for turn in one_file(1):
                request = yield turn
            request = yield call("Bash", command="echo $CLAUDE_PID")
            killed.append(int(request.tool_results()[-1].text))
            os.kill(killed[0], signal.SIGKILL)
            yield say("Nobody hears this.")
            return
        assert "1 commit of this feature since" in request.text()
        yield batchctl("done")
        yield say("Done.")

    unattended = unattended_run(mortal, 1)
    state = unattended.drive()
    assert conditions(state) == ["done"] and state["retry_attempts"] == {}
    assert [client["failure_class"] for client in state["run"]["clients"]["0"]] == ["crash", ""]
    assert merged(unattended) == ["Add feature-1.txt"]
    assert not process_identity.is_running(killed[0], None)


@pytest.mark.prove
def test_the_turns_of_a_client_are_a_limit_of_its_attempt(unattended_run):
    def dawdles(request: Request) -> Script:
        while True:
            yield call("Bash", command="git status")

    state = unattended_run(dawdles, 1, max_retries=0).drive(budgets={"feature_turns": 3})
    assert conditions(state) == ["failed"]
    assert state["failed_features"][0]["failure_class"] == "turns"
    assert "within 3 turns" in state["failed_features"][0]["error_message"]


@pytest.mark.prove
def test_the_cost_of_all_clients_is_a_limit_that_pauses_the_batch(unattended_run):
    unattended = unattended_run(alone(), 3)
    state = unattended.drive(budgets={"cost_usd": 0.03})
    assert state["status"] == "paused" and "a limit is reached: the cost" in state["pause"]["reason"]
    assert state["retry_attempts"] == {}, "what the whole run may cost is no feature's fault"
    assert 0 < len(state["completed_features"]) < 3
    spent = state["run"]["spent"]["cost_usd"]
    state = unattended.drive(budgets={"cost_usd": 1.0})
    assert conditions(state) == ["done"] * 3
    assert state["run"]["spent"]["cost_usd"] > spent, "a new run does not set back what was spent"


@pytest.mark.prove
def test_a_key_that_is_refused_pauses_the_batch_and_says_so(unattended_run):
    def refused(request: Request) -> Script:
        while True:
            yield fail(401, "authentication_error", "invalid x-api-key")

    unattended = unattended_run(refused, 2)
    state = unattended.drive()
    assert state["status"] == "paused" and "user action required (auth)" in state["pause"]["reason"]
    assert state["retry_attempts"] == {} and unattended.notified == []


@pytest.mark.prove
def test_a_worker_whose_window_is_compacted_is_reminded_and_goes_on(unattended_run):
    def grows(request: Request) -> Script:
        for turn in one_file(1):
            request = yield turn
        request = yield call("Bash", command="git log").with_usage(WINDOW_FULL)
        assert prompts.REMINDER_MARK in request.text()
        yield batchctl("done")
        yield say("Done.")

    unattended = unattended_run(grows, 1)
    assert conditions(unattended.drive()) == ["done"]
    assert len(unattended.model.summaries) == 1


@pytest.mark.prove
def test_what_a_run_began_goes_on_in_the_client_once_it_is_merged_and_the_other_way_round(
    unattended_run, project, scripted, client_for
):
    unattended = unattended_run(alone(), 3)
    state = unattended.drive(budgets={"cost_usd": 0.025})
    assert conditions(state) == ["done", "pending", "pending"] and state["retry_attempts"] == {}
    model = scripted(coordinator=scripts.coordinator, worker=scripts.worker())
    client = client_for(model)
    refused = client.run("/batch-implement --resume")
    assert "git merge batch/batch-1/merged" in refused.text and scripts.turns(model) == []
    git(project, "merge", "-q", "--ff-only", "batch/batch-1/merged")
    running = client.start("/batch-implement --resume", mode="bypassPermissions")
    running.wait_until(lambda _: 1 in unattended.state()["completed_features"])
    running.kill()
    running.end()
    state = unattended.drive()
    assert conditions(state) == ["done"] * 3
    assert set(git(project, "ls-tree", "--name-only", "batch/batch-1/merged").split()) >= {
        "feature-1.txt", "feature-2.txt", "feature-3.txt",
    }  # fmt: skip


# -- the whole of it ---------------------------------------------------------------------------------------------------

NEEDS = {2: [0], 3: [0, 1], 5: [4], 7: [3, 5], 9: [8], 11: [10], 13: [2, 7], 15: [14], 17: [13, 15], 19: [17, 18]}


@pytest.mark.prove
@pytest.mark.parametrize("jobs", [1, 4], ids=["one at a time", "four side by side"])
def test_twenty_features_are_all_merged_verified_and_after_what_they_need(unattended_run, jobs):
    unattended = unattended_run(alone(), 20, needs=NEEDS, verify="ls feature-*.txt")
    state = unattended.drive(jobs=jobs)
    assert conditions(state) == ["done"] * 20
    assert sorted(merged(unattended)) == sorted(f"Add feature-{number}.txt" for number in range(1, 21))
    order = [merge["feature_index"] for merge in state["run"]["merges"]]
    assert all(order.index(need) < order.index(index) for index, needs in NEEDS.items() for need in needs)
    assert all(state["evidence"][str(index)]["verify"]["exit_code"] == 0 for index in range(20))


CONFLICTING = (8, 9)
NEVER = 11


class Trouble:
    """A model for a run in which much goes wrong: each thing once.

    Feature 3 meets a usage limit, the client of feature 5 is killed, 8 and 9 write the same line of a file, 11 leaves
    a file that the verify command refuses.
    """

    def __init__(self) -> None:
        self.met: set[str] = set()
        self.seen: list[int] = []

    def once(self, what: str) -> bool:
        """Whether this is the first time."""
        first = what not in self.met
        self.met.add(what)
        return first

    def role(self, request: Request) -> Script:
        """What the model of one client says."""
        number = number_alone(request)
        self.seen.append(number)
        if number == 3 and self.once("limit"):
            yield fail(
                429,
                "rate_limit_error",
                f"Claude AI usage limit reached|{timestamps.parse_epoch_s(timestamps.now()) + 5}",
            )
            return
        for turn in self.steps(number, request):
            request = yield turn
        if number == 5 and self.once("kill"):
            request = yield call("Bash", command="echo $CLAUDE_PID")
            os.kill(int(request.tool_results()[-1].text), signal.SIGKILL)
            yield say("Nobody hears this.")
            return
        request = yield batchctl("done")
        if number == NEVER:
            assert "The verify command" in request.last_text()
            yield batchctl("fail", "--reason", "'the tests do not pass'")
        yield say("That is all.")

    def steps(self, number: int, request: Request) -> Iterable[Turn]:
        """What is done for a feature; not again what lies there already."""
        if "1 commit of this feature since" in request.text():
            return []
        if number in CONFLICTING:
            change = f"echo line {number} >> shared.txt && git add shared.txt && git commit -qm 'Add line {number}'"
            return [call("Bash", command=change)]
        return one_file(number)


@pytest.mark.prove
def test_a_run_in_which_everything_goes_wrong_ends_with_every_feature_done_once_or_said_why(
    project, scripted, client_for
):
    """Twenty features, four at a time, through `batchctl run`, which is killed in the middle and started again."""
    trouble = Trouble()
    client = client_for(scripted(coordinator=trouble.role))
    needs = {**NEEDS, 11: [], 12: [10]}
    lines = [
        f"feature {number}"
        + (f" (after: {', '.join(str(n + 1) for n in needs[number - 1])})" if needs.get(number - 1) else "")
        for number in range(1, 21)
    ]
    scripts.list_features(project, *lines)
    run = [str(scripts.REPOSITORY / "bin" / "batchctl"), "run"]
    options = ["--client", str(client.binary), "--permission-mode", "bypassPermissions", "--jobs", "4"]
    verify = ["--verify", f"! [ -e feature-{NEVER}.txt ]"]

    def start(*words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*run, *words], cwd=project, env=client.environment(), text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    first = start("features.txt", *verify, *options)
    state_file = project / ".claude" / "batch_state.json"
    deadline = time.monotonic() + 300

    def is_halfway() -> bool:  # killed before its limit is recorded, feature 3 would be started again and wait for none
        state = scripts.state_of(project)
        return len(state["completed_features"]) >= 6 and bool(state["run"]["waiting"] or state["run"]["waits"])

    while not (state_file.exists() and is_halfway()):
        assert first.poll() is None and time.monotonic() < deadline, first.communicate()[0]
        time.sleep(0.1)
    first.kill()
    first.communicate()
    second = start("--resume")
    said, _ = second.communicate(timeout=900)
    state = scripts.state_of(project)
    assert second.returncode == 1, said
    failed, skipped = NEVER - 1, 12
    assert [index for index in range(20) if index not in state["completed_features"]] == [failed, skipped], said
    assert "the tests do not pass" in state["failed_features"][0]["error_message"]
    assert state["skipped_features"][0]["reason"] == f"blocked by {failed}"
    branch = state["run"]["branch"]
    subjects = git(project, "log", "--format=%s", f"HEAD..{branch}").splitlines()
    expected = [
        f"Add line {n}" if n in CONFLICTING else f"Add feature-{n}.txt"
        for n in range(1, 21)
        if n - 1 not in (failed, skipped)
    ]
    assert sorted(subjects) == sorted(expected), "each exactly once, counted in git"
    assert sorted(git(project, "show", f"{branch}:shared.txt").splitlines()) == ["line 8", "line 9"]
    order = [merge["feature_index"] for merge in state["run"]["merges"]]
    assert all(order.index(need) < order.index(i) for i, wanted in needs.items() for need in wanted if i in order)
    assert {"limit", "kill"} <= trouble.met
    assert set(state["retry_attempts"]) <= {str(failed), *(str(n - 1) for n in CONFLICTING)}
    assert any(wait["failure_class"] == "limit" for wait in state["run"]["waits"])


def test_ctrl_c_twice_leaves_no_client_and_the_next_run_takes_the_feature_up(project, scripted, client_for):
    begun: list[str] = []

    def waits(request: Request) -> Script:
        for turn in one_file(1) if "1 commit of this" not in request.text() else []:
            request = yield turn
        if not begun:
            begun.append(request.session)
            yield call("Bash", command="sleep 300")
        yield batchctl("done")
        yield say("Done.")

    client = client_for(scripted(coordinator=waits))
    scripts.list_features(project, "feature 1")
    run = [str(scripts.REPOSITORY / "bin" / "batchctl"), "run"]
    options = ["--client", str(client.binary), "--permission-mode", "bypassPermissions"]
    typed = subprocess.Popen(
        [*run, "features.txt", *options], cwd=project, env=client.environment(), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not begun and time.monotonic() < deadline:
        assert typed.poll() is None, typed.communicate()[0]
        time.sleep(0.05)
    folder = scripts.state_of(project)["run"]["running"]["0"]["worktree"]
    assert process_identity.find_marked(folder)
    typed.send_signal(signal.SIGINT)
    time.sleep(0.2)
    typed.send_signal(signal.SIGINT)
    said, _ = typed.communicate(timeout=60)
    assert typed.returncode == 1 and "batchctl run --resume" in said
    assert process_identity.find_marked(folder) == []
    again = subprocess.run(
        [*run, "--resume"],
        cwd=project,
        env=client.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert again.returncode == 0, again.stdout + again.stderr
    state = scripts.state_of(project)
    assert state["retry_attempts"] == {}
    assert git(project, "log", "--format=%s", f"HEAD..{state['run']['branch']}").splitlines() == ["Add feature-1.txt"]
