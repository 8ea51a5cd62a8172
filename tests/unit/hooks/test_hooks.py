"""The hooks, an event at a time: what each answers, what it leaves in the state, and that none ever stops the work."""

from __future__ import annotations

import fcntl
import io
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from batch_implement.base.project_paths import Project
from batch_implement.commands import batch_commands
from batch_implement.core import batch_state, lease, prompts, transitions
from batch_implement.hooks import compaction, dispatch, error_reporting
from batch_implement.report import log_format
from batch_implement.store import audit_log
from batch_implement.store.store import Store
from batches import GUARD, NOW, all_completed, commit, git, new_batch, owner, run_program, started, state_on_disk

EVENTS = {
    "UserPromptExpansion": "", "UserPromptSubmit": "", "SessionStart": "", "SessionEnd": "", "PreCompact": "",
    "Stop": "", "SubagentStart": "", "SubagentStop": "", "StopFailure": "", "PreToolUse": "Write",
    "PostToolUse": "Skill", "PostToolUseFailure": "Skill",
}  # fmt: skip
WORKER = {"agent_id": "a-1", "agent_type": "batch-implement:worker"}
SKILL = {"skill": "batch-implement:auto-implement"}


@pytest.fixture
def hook(repository, monkeypatch, capsys):
    """Return a function that fires an event in session `s-1` and returns its output, None for nothing."""

    def fire(event, tool="", *, raw=None, session="s-1", pid=None, **payload):
        fields = {"session_id": session, "hook_event_name": event, "cwd": str(repository), **payload}
        data = json.dumps(fields).encode() if raw is None else raw
        monkeypatch.chdir(repository)
        monkeypatch.setenv("CLAUDE_PROJECT_DIR", str(repository))
        monkeypatch.setenv("CLAUDE_CODE_SESSION_ID", session)
        monkeypatch.setenv("CLAUDE_PID", str(pid or os.getpid()))
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        capsys.readouterr()
        dispatch.main(event, tool)
        out, err = capsys.readouterr()
        assert err == ""
        return (json.loads(out) if out.startswith("{") else out.strip()) if out else None

    return fire


@pytest.fixture
def begin(store, repository):
    """Return a function that creates a batch owned by session `s-1`, whose turn `p` works on it."""

    def make(features=3, *steps, **how):
        store.create(new_batch(features, owner=owner("s-1"), **how))
        state = store.update(lambda state: lease.record_prompt(state, "p"))
        for step in steps:
            state = store.update(step)
        return state

    return make


def start(state):
    return transitions.start(state, NOW, None)


def pause(state):
    return transitions.pause(state, NOW, "lunch")


def compacted(context):
    return lambda state: lease.record_compaction(state, NOW, context, 5)


def added(answer):
    """Return the context that an output adds."""
    return answer["hookSpecificOutput"]["additionalContext"]


def denied(answer):
    """Return why an output denies a tool call, or None."""
    special = (answer or {}).get("hookSpecificOutput", {})
    return special.get("permissionDecisionReason") if special.get("permissionDecision") == "deny" else None


# -- a hook in trouble of its own --------------------------------------------------------------------------------------

GARBAGE = {
    "empty": b"",
    "not JSON": b"{not json",
    "not an object": b"[1, 2]",
    "not UTF-8": b"\xff\xfe\x00",
    "deep": b"[" * 200_000,
    "huge": b'{"x": "' + b"y" * 30_000_000,
}


@pytest.mark.parametrize("raw", GARBAGE.values(), ids=GARBAGE)
@pytest.mark.parametrize("event", ["Stop", "PreToolUse", "SubagentStop", "UserPromptSubmit", "UserPromptExpansion"])
def test_an_invalid_payload_does_not_stop_the_work_and_is_reported_once(hook, begin, event, raw):
    state = begin(3, start)
    answer = hook(event, EVENTS[event], raw=raw)
    assert set(answer) == {"systemMessage"}
    assert f"the {event} hook failed; your work continues" in answer["systemMessage"]
    assert "batchctl doctor" in answer["systemMessage"]
    assert hook(event, EVENTS[event], raw=raw) is None
    assert Store(Project(state["state_file"].partition("/.claude/")[0])).read() == state


@pytest.mark.parametrize("event", EVENTS)
def test_every_event_accepts_an_empty_payload_and_wrong_types(hook, begin, event):
    begin(3, start)
    odd = {"tool_input": [1], "tool_response": 7, "background_tasks": {"a": 1}, "agent_id": ["x"], "prompt": None}
    for fields in (
        {},
        odd,
        {"tool_input": {"command": 1, "file_path": [], "skill": {}}, "source": 0, "command_args": 1},
    ):
        assert "hook failed" not in str(hook(event, EVENTS[event], **fields))


@pytest.mark.parametrize("event", EVENTS)
def test_every_event_without_a_batch_prints_nothing_and_creates_nothing(hook, repository, event):
    assert hook(event, EVENTS[event]) is None
    assert not (repository / ".git/batch-implement").exists()
    assert not (repository / ".claude").exists()


def test_each_error_is_in_the_audit_log_with_its_traceback(hook, begin, store, monkeypatch):
    begin(3)

    def broken(*arguments, **options):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(prompts, "next_step", broken)
    message = hook("Stop", prompt_id="p")["systemMessage"]
    assert "ZeroDivisionError: a bug. This is a bug of batch-implement" in message and "batchctl doctor" not in message
    assert hook("Stop", prompt_id="p") is None
    entries = [entry for entry in audit_log.read_entries(store.project.private) if entry["event"] == "hook error"]
    assert [entry["hook"] for entry in entries] == ["Stop", "Stop"]
    assert "test_hooks.py" in entries[0]["trace"]
    assert log_format.format_entries(entries)[0].endswith("Stop hook failed: ZeroDivisionError: a bug")


@pytest.mark.parametrize(
    ("event", "tool", "fields"),
    [
        ("Stop", "", {"prompt_id": "p"}),
        ("StopFailure", "", {"error": "rate limit"}),
        ("SessionEnd", "", {}),
        (
            "SubagentStop",
            "",
            {"agent_id": "r", "agent_type": "batch-implement:reviewer", "last_assistant_message": "VERDICT: good"},
        ),
        ("SubagentStart", "", {"agent_id": "r", "agent_type": "batch-implement:reviewer"}),
        ("UserPromptSubmit", "", {"prompt": "hello", "prompt_id": "q"}),
        ("PreCompact", "", {}),
        ("PreToolUse", "Skill", {"tool_input": SKILL, "prompt_id": "q"}),
        ("PostToolUse", "Skill", {"tool_input": SKILL, "tool_response": {"result": "bye"}}),
        ("PostToolUse", "Bash", {"tool_input": {"command": "git push"}, "tool_response": {"stderr": "a..b  m -> m"}}),
    ],
)
def test_a_hook_of_one_client_changed_the_batch_that_another_had_taken_meanwhile(
    hook, begin, store, monkeypatch, event, tool, fields
):
    begin(3, start)
    update, taken = Store.update_with_result, []

    def late(self, change):
        monkeypatch.setattr(Store, "update_with_result", update)
        taken.append(store.update(lambda state: lease.acquire(state, owner("s-2"), "p")))
        return update(self, change)

    monkeypatch.setattr(Store, "update_with_result", late)
    hook(event, tool, **fields)
    assert taken == [store.read()]


def test_each_kind_of_error_is_reported_once(repository):
    project = Project(str(repository))
    os.makedirs(project.private)
    answers = [error_reporting.report_error(event, project, error) for event, error in [
        ("Stop", ValueError("x")), ("Stop", ValueError("y")), ("Stop", KeyError("x")), ("SessionEnd", ValueError("x")),
    ]]  # fmt: skip
    assert [bool(answer) for answer in answers] == [True, False, True, True]


def test_an_io_error_of_a_typed_command_does_not_claim_that_nothing_changed(hook, repository, monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device", "somewhere")

    monkeypatch.setattr(batch_commands, "create_batch", full)
    answer = hook("UserPromptExpansion", command_name="batch-implement:auto-implement", command_args="one")
    assert answer["reason"] == (
        "I/O error: [Errno 28] No space left on device: 'somewhere'. Check `batchctl status` before you run the "
        "command again.\nMore: /batchctl help disk-trouble"
    )


def test_an_error_is_reported_without_a_private_folder_too():
    assert "x" in error_reporting.report_error("Stop", None, ValueError("x"))["systemMessage"]


# -- the guard, from outside -------------------------------------------------------------------------------------------


def guarded(repository, event, *more, stdin="{}", **env):
    """Run hooks/run in the repository."""
    return run_program(GUARD, event, *more, cwd=repository, stdin=stdin, CLAUDE_PROJECT_DIR=str(repository), **env)


@pytest.fixture
def data(tmp_path):
    """A data folder of the plugin."""
    return str(tmp_path / "data folder")


@pytest.mark.parametrize("raw", [b"", b"{not json", b'{"x": "' + b"y" * 3_000_000], ids=["empty", "no JSON", "large"])
def test_through_hooks_run_an_invalid_payload_exits_with_0_and_is_reported_once(begin, repository, data, raw):
    begin(3)
    env = {"CLAUDE_PLUGIN_DATA": data, "CLAUDE_CODE_SESSION_ID": "s-1", "CLAUDE_PID": str(os.getpid())}
    first, second = (guarded(repository, "Stop", stdin=raw, **env) for _ in range(2))
    assert (first.returncode, first.stderr, second.returncode, second.stderr) == (0, "", 0, "")
    assert "hook failed" in json.loads(first.stdout)["systemMessage"]
    assert second.stdout == ""


def test_through_hooks_run_a_stop_is_continued_and_the_interpreter_remembered(begin, repository, data):
    begin(3)
    env = {"CLAUDE_PLUGIN_DATA": data, "CLAUDE_CODE_SESSION_ID": "s-1", "CLAUDE_PID": str(os.getpid())}
    for _ in range(2):
        answer = guarded(repository, "Stop", stdin='{"prompt_id": "p"}', **env)
        assert json.loads(answer.stdout)["decision"] == "block"
    remembered = Path(data, "python").read_text().strip()
    assert os.access(remembered, os.X_OK)
    assert run_program(remembered, "-c", "print('python')", cwd=repository).stdout == "python\n"


@pytest.mark.parametrize("event", EVENTS)
def test_nothing_is_done_when_the_plugin_is_disabled(begin, repository, event):
    state = begin(3, start)
    env = {"BATCH_IMPLEMENT_DISABLED": "1", "CLAUDE_CODE_SESSION_ID": "s-1", "CLAUDE_PID": str(os.getpid())}
    fields = {"prompt_id": "p", "command_name": "batch-implement:batchctl", "command_args": "status"}
    answer = guarded(repository, event, EVENTS[event], stdin=json.dumps(fields), **env)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")
    assert state_on_disk(repository) == state


@pytest.fixture
def no_python(tmp_path):
    """A PATH with what hooks/run may need, and a python3 that leaves a mark when it is started."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "cat", "rm", "mkdir"):
        (folder / name).symlink_to(f"/bin/{name}")
    mark = tmp_path / "started"
    spy = folder / "python3"
    spy.write_text(f"#!/bin/sh\n: >'{mark}'\nexit 1\n")
    spy.chmod(0o755)
    return {"PATH": str(folder), "mark": mark, "spy": spy}


@pytest.mark.parametrize("event", sorted(set(EVENTS) - {"UserPromptExpansion"}))
@pytest.mark.parametrize("batch", ["none", "over"])
def test_without_a_live_batch_no_python_is_started(repository, store, no_python, event, batch):
    if batch == "over":
        store.create(new_batch(1))
        store.update(all_completed)
    answer = guarded(repository, event, EVENTS[event], PATH=no_python["PATH"])
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")
    assert not no_python["mark"].exists()


def test_a_tool_that_only_reads_starts_python_only_when_a_reminder_is_owed(begin, store, repository, no_python):
    begin(3)
    guarded(repository, "PostToolUse", PATH=no_python["PATH"])
    assert not no_python["mark"].exists()
    store.update(compacted("main"))
    guarded(repository, "PostToolUse", PATH=no_python["PATH"])
    assert no_python["mark"].exists()


def test_a_missing_python_is_reported_once(begin, repository, no_python, data):
    begin(3)
    os.makedirs(data)
    first, second = (guarded(repository, "Stop", PATH=no_python["PATH"], CLAUDE_PLUGIN_DATA=data) for _ in range(2))
    assert "no Python 3.9 or newer was found" in json.loads(first.stdout)["systemMessage"]
    assert (first.returncode, second.returncode, second.stdout) == (0, 0, "")


def test_a_remembered_interpreter_that_is_gone_is_searched_again(begin, repository, data):
    begin(3)
    os.makedirs(data)
    Path(data, "python").write_text("/gone/python\n")
    env = {"CLAUDE_PLUGIN_DATA": data, "CLAUDE_CODE_SESSION_ID": "s-1", "CLAUDE_PID": str(os.getpid())}
    assert "block" in guarded(repository, "Stop", stdin='{"prompt_id": "p"}', **env).stdout
    assert Path(data, "python").read_text() != "/gone/python\n"


def test_remembering_needs_a_writable_folder(tmp_path, monkeypatch):
    error_reporting.remember_interpreter("relative")
    (tmp_path / "file").write_text("")
    error_reporting.remember_interpreter(str(tmp_path / "file/below"))
    error_reporting.remember_interpreter(str(tmp_path / "data"))
    assert (tmp_path / "data/python").read_text() == os.path.realpath(sys.executable) + "\n"
    assert os.listdir(tmp_path / "data") == ["python"]


# -- Stop --------------------------------------------------------------------------------------------------------------


def test_a_coordinator_that_stops_with_features_left_continues_with_the_next_step(hook, begin, store):
    begin(3)
    answer = hook("Stop", prompt_id="p", last_assistant_message="One is done.")
    assert answer == {"decision": "block", "reason": prompts.next_step(store.read())}


def test_three_stops_without_progress_pause_the_batch_and_tell_the_user(hook, begin, store):
    begin(3)
    for _ in range(3):
        assert hook("Stop", prompt_id="p")["decision"] == "block"
    answer = hook("Stop", prompt_id="p")
    assert "The batch is paused: it stopped 3 times in a row without progress" in answer["systemMessage"]
    assert (store.read()["status"], store.read()["owner"]["pid"]) == ("paused", None)
    assert hook("Stop", prompt_id="p") is None


def test_progress_between_stops_starts_the_count_again(hook, begin, store):
    begin(9)
    for _ in range(5):
        assert hook("Stop", prompt_id="p")["decision"] == "block"
        store.update(start)
        store.update(lambda state: transitions.complete(state, NOW, {"verify": None}))


@pytest.mark.parametrize(
    "fields",
    [
        {"session": "s-2"},
        {"pid": 1},
        {"last_assistant_message": "API Error: 529 Overloaded"},
        {"last_assistant_message": "Prompt is too long · the request"},
        {"background_tasks": [{"id": "t", "type": "subagent", "status": "running"}]},
    ],
    ids=["another session", "another process", "an API error", "a full window", "a running subagent"],
)
def test_a_stop_is_not_blocked(hook, begin, fields):
    begin(3)
    assert hook("Stop", **{"prompt_id": "p", **fields}) is None


def test_an_ended_background_task_does_not_allow_a_stop(hook, begin):
    begin(3)
    tasks = [{"id": "t", "type": "subagent", "status": "completed"}]
    assert hook("Stop", prompt_id="p", background_tasks=tasks)["decision"] == "block"


def test_with_a_running_shell_a_stop_is_blocked_once_and_the_batch_continues(hook, begin, store):
    begin(3)
    tasks = [{"id": "t", "type": "shell", "status": "running"}]
    assert hook("Stop", prompt_id="p", background_tasks=tasks)["decision"] == "block"
    assert hook("Stop", prompt_id="p", background_tasks=tasks) is None
    assert store.read()["status"] == "in_progress"


def test_a_turn_that_the_user_started_may_end_in_a_question(hook, begin):
    begin(3)
    hook("UserPromptSubmit", prompt="What does feature 2 mean?", prompt_id="q")
    answer = hook("Stop", prompt_id="q", last_assistant_message="It means X. Shall I go on?")
    assert set(answer) == {"systemMessage"}
    assert "The batch waits for your answer, then resumes." in answer["systemMessage"]
    hook("UserPromptSubmit", prompt="Yes.", prompt_id="r")
    assert hook("Stop", prompt_id="r", last_assistant_message="All right.")["decision"] == "block"


def test_after_each_answer_to_the_user_the_batch_resumes_and_is_not_paused_for_it(hook, begin, store):
    begin(3)
    for number in range(6):
        hook("UserPromptSubmit", prompt="How far are you?", prompt_id=f"q{number}")
        answer = hook("Stop", prompt_id=f"q{number}", last_assistant_message="Half way.")
        assert answer == {"decision": "block", "reason": prompts.next_step(store.read())}
    assert store.read()["status"] == "in_progress"


@pytest.mark.parametrize(
    "prompt", ["/batch-implement --resume", "/batchctl status", " /batch-implement:batchctl next\nx"]
)
def test_plugin_commands_are_not_a_prompt_of_the_users_own(hook, begin, store, prompt):
    begin(3)
    hook("UserPromptSubmit", prompt=prompt, prompt_id="p")
    assert hook("Stop", prompt_id="p")["decision"] == "block"


def test_a_notification_of_the_client_continues_what_went_on_before(hook, begin):
    notification = "<task-notification>\n<task-id>t</task-id>"
    begin(3)
    hook("UserPromptSubmit", prompt=notification, prompt_id="n")
    assert hook("Stop", prompt_id="n")["decision"] == "block"
    hook("UserPromptSubmit", prompt="What does feature 2 mean?", prompt_id="q")
    hook("UserPromptSubmit", prompt=notification, prompt_id="m")
    assert "decision" not in hook("Stop", prompt_id="m", last_assistant_message="Well?")


def test_in_a_session_that_batchctl_run_started_every_prompt_is_work(hook, begin, store):
    begin(3)
    store.update(lambda state: {**state, "owner": {**state["owner"], "driven": True}})
    hook("UserPromptSubmit", prompt="Implement feature 1.", prompt_id="q")
    assert hook("Stop", prompt_id="q")["decision"] == "block"


def test_a_finished_batch_allows_the_stop_and_ends_the_lease(hook, begin, store):
    begin(1, all_completed)
    assert hook("Stop", prompt_id="p") is None
    assert store.read()["owner"]["pid"] is None


def test_the_end_of_a_worker_leaves_the_lease_of_a_finished_batch_to_its_coordinator(hook, begin, store):
    begin(1, all_completed)
    assert hook("SubagentStop", **WORKER) is None
    assert store.read()["owner"]["pid"] == os.getpid()


def test_a_stop_records_the_size_of_the_context_window(hook, begin, store, tmp_path):
    begin(3)
    usage = {"type": "assistant", "message": {"usage": {"input_tokens": 4321}}}
    (tmp_path / "t.jsonl").write_text(json.dumps(usage) + "\n")
    hook("Stop", prompt_id="p", transcript_path=str(tmp_path / "t.jsonl"))
    assert store.read()["context_token_estimate"] == 4321


# -- SubagentStop, StopFailure, SessionEnd -----------------------------------------------------------------------------


def test_a_worker_that_stops_with_its_feature_open_is_sent_back_once(hook, begin):
    begin(3, start)
    answer = hook("SubagentStop", last_assistant_message="Done.", **WORKER)
    assert answer["decision"] == "block"
    assert "Feature 1 of 3 is still open." in answer["reason"]
    assert "`batchctl fail --reason TEXT`" in answer["reason"]
    assert hook("SubagentStop", stop_hook_active=True, **WORKER) is None


@pytest.mark.parametrize("event", ["Stop", "SubagentStop"])
@pytest.mark.parametrize("end", ["Shall I go on?", "**Which one?**", "\u3069\u3061\u3089\uff1f\n", 'So: "a or b?"'])
def test_a_stop_with_a_question_is_answered_with_take_the_default(hook, begin, event, end):
    begin(3, start, mode="direct" if event == "Stop" else "auto-implement")
    fields = WORKER if event == "SubagentStop" else {"prompt_id": "p"}
    reason = hook(event, last_assistant_message=end, **fields)["reason"]
    assert "take the sensible default" in reason and "Feature 1 of 3 is still open" in reason
    assert "default" not in hook(event, last_assistant_message="Is it? Yes.", **fields)["reason"]


def test_a_coordinator_that_asks_is_sent_on_to_the_next_worker(hook, begin):
    begin(3)
    reason = hook("Stop", prompt_id="p", last_assistant_message="Go on?")["reason"]
    assert reason.startswith("Nobody answers: go on without asking. ") and "Call the Skill tool" in reason
    assert "decide" not in reason


@pytest.mark.parametrize("event", ["Stop", "SubagentStop"])
def test_a_stop_while_the_verify_command_runs_is_answered_with_done_again(hook, begin, store, event):
    state = begin(3, start, verify="make test", mode="direct" if event == "Stop" else "auto-implement")
    fields = WORKER if event == "SubagentStop" else {"prompt_id": "p"}
    folder = Path(store.project.private, "logs/verify", state["batch_id"], "0-1-c0ffee")
    folder.mkdir(parents=True)
    with open(folder / "lock", "w") as lock:
        assert "requires: " in hook(event, last_assistant_message="Waiting.", **fields)["reason"]  # nobody holds it
        fcntl.flock(lock, fcntl.LOCK_EX)
        store.update(lambda state: {**state, "continuation": {"prompt": "p"}})
        reason = hook(event, last_assistant_message="Waiting.", **fields)["reason"]
    assert "run `batchctl done` again" in reason and "requires: " not in reason


@pytest.mark.parametrize("fields", [WORKER, {}], ids=["worker", "direct"])
def test_phases_follow_from_what_the_worker_does(hook, begin, store, fields):
    begin(3, start, mode="auto-implement" if fields else "direct")

    def phase_after(event, tool, agent=None, **tool_input):
        hook(event, tool, tool_input=tool_input, **(fields if agent is None else agent))
        return store.read()["active"]["phase"]

    assert phase_after("PostToolUse", "Bash", command="make test") == "understand"  # before anything is written
    assert phase_after("PreToolUse", "Write", {"agent_id": "r", "agent_type": "Explore"}, file_path="a") == "understand"
    assert phase_after("PreToolUse", "Write", file_path="a.py") == "implement"
    assert phase_after("PostToolUseFailure", "Bash", command="git commit -m x") == "implement"
    assert phase_after("PostToolUseFailure", "Bash", command="make test") == "test"
    assert phase_after("PreToolUse", "Write", file_path="a.py") == "test"  # no phase begins again
    assert phase_after("PostToolUse", "Bash", command="cd x && git -C . commit -m 'all of it'") == "commit"
    assert phase_after("PreToolUse", "Bash", command="batchctl done --wait 5") == "verify"
    revision = store.read()["revision"]
    assert phase_after("PostToolUse", "Bash", command="git commit --amend") == "verify"
    assert store.read()["revision"] == revision
    assert [entry["phase"] for entry in audit_log.read_entries(store.project.private) if entry["event"] == "phase"] == [
        "implement", "test", "commit", "verify",
    ]  # fmt: skip


def test_a_pause_after_stops_keeps_the_models_last_words_and_its_question(hook, begin, store):
    begin(3)
    words = "I looked at it.\n" * 100 + "Which of the two\x1b[31m accounts?"
    for _ in range(lease.MAX_CONTINUATIONS):
        assert hook("Stop", prompt_id="p", last_assistant_message=words)["decision"] == "block"
    shown = hook("Stop", prompt_id="p", last_assistant_message=words)["systemMessage"]
    reason = store.read()["pause"]["reason"]
    assert reason.startswith("it stopped 3 times in a row without progress; its last words: ")
    assert reason.endswith("accounts?") and len(reason) < 1100
    assert "accounts? Answer what it asks, if anything, then run `/batch-implement --resume`." in shown
    assert "\x1b" not in shown


def test_the_log_of_a_refused_tool_call_names_the_open_feature(hook, begin, store):
    begin(3, start)
    call = {"tool_input": {"command": "batchctl skip 1"}}
    assert denied(hook("PreToolUse", "Bash", **call))
    [entry] = [entry for entry in audit_log.read_entries(store.project.private) if entry["event"] == "denied"]
    assert entry["feature"] == 1


def test_only_a_worker_reads_a_workers_next_step(hook, begin, store):
    begin(3, start)
    agent = {"subagent_type": "batch-implement:worker"}
    assert "Skill" in denied(hook("PreToolUse", "Agent", tool_input=agent))
    assert denied(hook("PreToolUse", "Agent", tool_input=agent, **WORKER)).endswith("Do the open feature yourself.")


def test_a_worker_that_waits_for_another_agent_is_told_to_run_it_in_the_foreground(hook, begin):
    begin(3, start)
    itself = {"id": WORKER["agent_id"], "type": "subagent", "status": "running"}
    assert "wakes you" not in hook("SubagentStop", background_tasks=[itself], **WORKER)["reason"]
    tasks = [itself, {**itself, "id": "a-2"}]
    assert "Nothing wakes you" in hook("SubagentStop", background_tasks=tasks, **WORKER)["reason"]


@pytest.mark.parametrize(
    ("steps", "fields"),
    [
        ([], {}),
        ([start], {"agent_type": "general-purpose"}),
        ([start], {"agent_type": ""}),
        ([start], {"session": "s-2"}),
        ([start], {"last_assistant_message": "API Error: 500"}),
        ([start, pause], {}),
    ],
    ids=["its feature closed", "another agent", "the summariser", "another session", "an API error", "a pause"],
)
def test_an_agent_is_not_sent_back(hook, begin, steps, fields):
    begin(3, *steps)
    assert hook("SubagentStop", **{**WORKER, **fields}) is None


def test_a_usage_limit_pauses_the_batch_without_counting_an_attempt(hook, begin, store):
    begin(3, start)
    hook("StopFailure", error="rate_limit", last_assistant_message="You've hit your limit · resets 5pm")
    state = store.read()
    assert (state["status"], state["retry_attempts"], batch_state.active_index(state)) == ("paused", {}, 0)
    assert "(limit): You've hit your limit · resets 5pm" in state["pause"]["reason"]


def test_a_failure_inside_a_worker_pauses_nothing(hook, begin, store):
    begin(3, start)
    hook("StopFailure", error="server_error", last_assistant_message="API Error: 529", **WORKER)
    assert store.read()["status"] == "in_progress"


def test_the_end_of_the_session_ends_its_lease_and_no_others(hook, begin, store):
    begin(3)
    hook("SessionEnd", session="s-2")
    assert store.read()["owner"]["pid"] == os.getpid()
    hook("SessionEnd", reason="other")
    assert (store.read()["owner"]["pid"], store.read()["owner"]["session_id"]) == (None, "s-1")


# -- PreToolUse --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "{root}/.claude/batch_state.json",
        ".claude/batch_state.json",
        "{root}/./.claude/../.claude/batch_state.json",
        "{root}/.claude/batch_state.json.tmp",
        "{root}/.git/batch-implement/sidecar",
        ".git/batch-implement/current.json",
        "{root}/link.json",
        "{root}/linked/batch_state.json",
        "{root}/.git/batch-implement",
        "{root}/hard.json",
    ],
)
@pytest.mark.parametrize("name", ["file_path", "notebook_path"])
def test_writing_the_state_is_denied_under_every_path_with_the_commands_to_use(hook, begin, repository, path, name):
    begin(3)
    (repository / "link.json").symlink_to(".claude/batch_state.json")
    (repository / "linked").symlink_to(".claude")
    if "hard" in path:
        os.link(repository / ".claude/batch_state.json", repository / "hard.json")
    reason = denied(hook("PreToolUse", "Write", tool_input={name: path.format(root=repository)}, **WORKER))
    assert "belongs to the batch" in reason
    assert "`batchctl done`" in reason


@pytest.mark.parametrize(
    "path", ["src/x.py", "{root}/.claude/settings.json", "/tmp/batch_state.json", "batch_state.json"]
)
def test_writing_other_files_is_allowed(hook, begin, repository, path):
    begin(3, start)
    assert hook("PreToolUse", "Write", tool_input={"file_path": path.format(root=repository)}) is None


def test_an_unattended_coordinator_edits_nothing_before_a_feature_is_open(hook, begin, store):
    begin(3, unattended=True)
    reason = denied(hook("PreToolUse", "Write", tool_input={"file_path": "src/x.py"}))
    assert reason.startswith("No feature is open")
    store.update(start)
    assert hook("PreToolUse", "Write", tool_input={"file_path": "src/x.py"}) is None
    store.update(pause)


def test_during_a_pause_edits_are_allowed(hook, begin):
    begin(3, pause, unattended=True)
    assert hook("PreToolUse", "Write", tool_input={"file_path": "src/x.py"}) is None


def test_questions_are_denied_only_in_an_unattended_run(hook, begin, store):
    begin(3)
    assert hook("PreToolUse", "AskUserQuestion", tool_input={}) is None
    store.update(lambda state: {**state, "policy": {**state["policy"], "unattended": True}})
    assert "`batchctl decide QUESTION ANSWER`" in denied(hook("PreToolUse", "AskUserQuestion", tool_input={}))
    assert hook("PreToolUse", "AskUserQuestion", tool_input={}, session="s-2") is None


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("batchctl abort", "is for the user, not for the model"),
        ("git commit -am x && batchctl pause --reason y", "is for the user, not for the model"),
        ("echo '{}' > .claude/batch_state.json", "would change the batch's own files"),
        ("rm -rf .git/batch-implement", "would change the batch's own files"),
    ],
)
def test_a_user_command_is_denied_to_the_model_and_audited(hook, begin, store, command, message):
    begin(3)
    reason = denied(hook("PreToolUse", "Bash", tool_input={"command": command}))
    assert message in reason and reason.startswith("Nothing of this command line ran. ")
    assert [entry["tool"] for entry in audit_log.read_entries(store.project.private) if entry["event"] == "denied"] == [
        "Bash"
    ]


def test_where_nobody_is_there_a_user_command_is_answered_with_fail(hook, begin, store):
    begin(3)
    for unattended, way_out in ((False, "stop and say why"), (True, "say why with `batchctl fail --reason TEXT`")):
        store.update(lambda state, is_on=unattended: {**state, "policy": {**state["policy"], "unattended": is_on}})
        assert way_out in denied(hook("PreToolUse", "Bash", tool_input={"command": "batchctl abort"}))


def test_a_mass_edit_that_enters_git_is_denied_with_commands_that_are_not(hook, begin):
    begin(3)
    for command in ("grep -rl getUser . | xargs sed -i s/getUser/fetchUser/g", "find . -type f -delete"):
        reason = denied(hook("PreToolUse", "Bash", tool_input={"command": command}))
        assert "would corrupt the index" in reason
        assert len(reason) < 500
        shown = re.findall(r"`([^`]* \.\.\.)`", reason)
        assert [words.split()[0] for words in shown] == ["git", "find", "find"]
        for form in shown:
            filled = form.replace("WORD", "getUser").replace("-i ...", "-i s/a/b/").replace("...", "-exec rm -rf {} +")
            assert hook("PreToolUse", "Bash", tool_input={"command": filled}) is None


@pytest.mark.parametrize("command", ["make test", "batchctl done", "cat .claude/batch_state.json", "git commit -am x"])
def test_other_commands_are_not_denied(hook, begin, command):
    begin(3)
    assert hook("PreToolUse", "Bash", tool_input={"command": command}) is None


def test_the_worker_skill_is_allowed_in_the_session_that_owns_the_batch(hook, begin, store):
    begin(3)
    answer = hook("PreToolUse", "Skill", tool_input=SKILL, prompt_id="after a notice")
    assert answer["hookSpecificOutput"]["permissionDecision"] == "allow"
    assert lease.is_batch_turn(store.read(), "after a notice")


@pytest.mark.parametrize(
    "fields",
    [
        {"tool_input": {"skill": "other"}},
        {"tool_input": {**SKILL, "args": "x"}},
        {"tool_input": SKILL, "session": "s-2"},
        {"tool_input": SKILL, "agent_id": "a"},
    ],
    ids=["another skill", "with arguments", "another session", "another agent"],
)
def test_no_other_skill_call_is_allowed(hook, begin, fields):
    begin(3)
    assert hook("PreToolUse", "Skill", **fields) is None


# -- after a tool call -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "tool"),
    [
        ("PostToolUse", "Bash"),
        ("PostToolUseFailure", "Write"),
        ("PreToolUse", "Bash"),
        ("PreToolUse", "AskUserQuestion"),  # not its own doing, but that of a process that an earlier call left running
        ("PostToolUse", "Skill"),
    ],
)
def test_a_change_of_the_state_by_a_tool_call_is_undone_and_reported(hook, begin, repository, event, tool):
    state = begin(3)
    (repository / ".claude/batch_state.json").write_text("{}")
    text = added(hook(event, tool, tool_input={"command": "x"}))
    assert "was put back" in text
    assert "Only batchctl writes the batch's state" in text
    assert state_on_disk(repository) == state


@pytest.mark.parametrize("event", ["PostToolUse", "PostToolUseFailure"])
def test_a_change_by_a_tool_call_of_another_session_is_undone_too(hook, begin, repository, event):
    state = begin(3)
    assert hook("PreToolUse", "Bash", session="s-2", tool_input={"command": "x"}) is None
    (repository / ".claude/batch_state.json").write_text("{}")
    assert "was put back" in added(hook(event, "Bash", session="s-2", tool_input={"command": "x"}))
    assert state_on_disk(repository) == state


def test_an_edit_from_before_a_tool_call_is_a_users_where_no_client_owns_the_batch(hook, store, repository):
    store.create(new_batch(3))
    state = {**state_on_disk(repository), "workflow_reminder": "Mind the gap."}
    (repository / ".claude/batch_state.json").write_text(json.dumps(state))
    assert hook("PreToolUse", "Bash", session="s-2", tool_input={"command": "x"}) is None
    assert hook("PostToolUse", "Bash", session="s-2", tool_input={"command": "x"}) is None
    assert state_on_disk(repository) == {**state, "revision": 2, "updated_at": state_on_disk(repository)["updated_at"]}


def test_an_edit_that_is_there_before_a_call_of_another_session_is_left_to_the_owner(hook, begin, repository):
    begin(3)
    (repository / ".claude/batch_state.json").write_text("{}")
    assert hook("PreToolUse", "Bash", session="s-2", tool_input={"command": "x"}) is None
    assert hook("PostToolUse", "", session="s-2") is None
    assert state_on_disk(repository) == {}


def test_a_damaged_sidecar_is_repaired_by_the_next_call(hook, begin, repository):
    begin(3)
    (repository / ".git/batch-implement/sidecar").write_text("live\ngarbage")
    hook("PostToolUse", "Bash", tool_input={"command": "x"})
    assert (repository / ".git/batch-implement/sidecar").read_text().startswith("live\nnew ")


def returned(result, **more):
    return {"tool_input": SKILL, "tool_response": {"success": True, "result": result, **more}}


def test_after_a_worker_the_outcome_and_the_next_step_are_reported(hook, begin, store):
    begin(3, start, lambda state: transitions.complete(state, NOW, {"verify": None}))
    answer = hook("PostToolUse", "Skill", **returned("Feature 1 is in."))
    assert added(answer) == f"Feature 1 is done. {prompts.next_step(store.read())}"
    assert answer["systemMessage"] == f"Feature 1 is done. {prompts.progress_summary(store.read())}."


def test_the_last_words_of_a_worker_that_reported_are_no_failure(hook, begin, store):
    begin(3, start, lambda state: transitions.complete(state, NOW, {"verify": None}))
    state = store.read()
    hook("PostToolUse", "Skill", **returned("Invalid API key · Fix external API key"))
    assert store.read() == state


def test_a_worker_that_reported_a_failure_leaves_its_feature_for_a_retry(hook, begin):
    begin(3, start, lambda state: transitions.fail(state, NOW, "no idea", "feature"))
    text = added(hook("PostToolUse", "Skill", **returned("It failed.")))
    assert text.startswith("Feature 1 failed (attempt 1) and will be retried.")


def test_a_worker_that_exits_without_reporting_costs_an_attempt_only_the_second_time(hook, begin, store, repository):
    begin(3, start)
    assert "Feature 1 is still open" in added(hook("PostToolUse", "Skill", **returned("I am tired.")))
    (repository / "left.txt").write_text("x")
    text = added(hook("PostToolUse", "Skill", **returned("I am tired.")))
    state = store.read()
    assert "without reporting done or failed. Feature 1 is pending now" in text
    assert state["retry_attempts"] == {"0": 1}
    assert state["attempts"]["0"][0]["snapshot"] == "refs/batch/batch-1/1.1"
    assert git(repository, "stash", "list") == "" and not (repository / "left.txt").exists()


def test_an_api_error_inside_a_worker_costs_no_attempt(hook, begin, store):
    begin(3, start)
    for _ in range(3):
        hook("PostToolUse", "Skill", **returned("API Error: 529 Overloaded"))
    assert (store.read()["retry_attempts"], batch_state.active_index(store.read())) == ({}, 0)


def test_an_error_that_needs_the_user_pauses_the_batch(hook, begin, store):
    begin(3, start)
    assert "is paused" in added(hook("PostToolUse", "Skill", **returned("Invalid API key · Fix external API key")))
    assert "(auth)" in store.read()["pause"]["reason"]


def test_a_worker_that_cannot_start_is_tried_three_times_then_the_batch_is_paused(hook, begin, store):
    begin(3)
    for _ in range(3):
        assert "is next" in added(hook("PostToolUseFailure", "Skill", tool_input=SKILL, error="batchctl: not found"))
    assert "is paused" in added(hook("PostToolUseFailure", "Skill", tool_input=SKILL, error="batchctl: not found"))
    assert "could not be started: batchctl: not found" in store.read()["pause"]["reason"]


@pytest.mark.parametrize(
    "fields",
    [
        returned("x", background=True),
        {"tool_input": {"skill": "other"}},
        {**returned("x"), "agent_id": "a"},
        {**returned("x"), "session": "s-2"},
        {**returned("x"), "pid": 1},
    ],
    ids=["in the background", "another skill", "another agent", "another session", "another client"],
)
def test_the_end_of_other_calls_prints_and_changes_nothing(hook, begin, fields, store):
    state = begin(3, start)
    assert hook("PostToolUse", "Skill", **fields) is None
    assert store.read() == state


def test_a_push_is_recorded_for_the_open_feature_else_for_the_last_closed_one(hook, begin, store):
    begin(3, start)
    fields = {"tool_input": {"command": "git push origin main"}, "tool_response": {"stdout": "ok"}}
    assert hook("PostToolUse", "Bash", **fields) is None
    store.update(lambda state: transitions.complete(state, NOW, {"verify": None}))
    hook("PostToolUse", "Bash", tool_input={"command": "gh pr create"}, tool_response={"stdout": "https://x/pull/9\n"})
    hook("PostToolUseFailure", "Bash", tool_input={"command": "git push"}, error="rejected")
    operations = store.read()["git_operations"]["0"]
    assert operations["pr"]["number"] == 9
    assert (operations["push"]["success"], operations["push"]["error"]) == (False, "rejected")


def test_a_command_that_publishes_nothing_writes_nothing(hook, begin, store):
    begin(3)
    revision = store.read()["revision"]
    hook("PostToolUse", "Bash", tool_input={"command": "echo push"}, tool_response={})
    assert store.read()["revision"] == revision


# -- compaction and the start of a session -----------------------------------------------------------------------------


@pytest.mark.parametrize(("window", "context"), [({}, "main"), (WORKER, "a-1")], ids=["coordinator", "worker"])
def test_a_compaction_is_recorded_and_the_reminder_comes_in_the_form_for_its_reader(
    hook, begin, store, window, context
):
    begin(3, start)
    kept = hook("PreCompact", trigger="auto", **window)
    assert kept == prompts.summary_instructions(store.read(), worker=context != "main")
    assert batch_state.contexts_to_remind(store.read()) == [context]
    answer = hook("SessionStart", source="compact", **window)
    assert added(answer) == prompts.reminder(store.read(), worker=context != "main")


@pytest.mark.parametrize("fields", [{"session": "s-2"}, {"agent_id": "x", "agent_type": "Explore"}])
def test_a_context_window_without_the_batch_gets_no_reminder(hook, begin, store, fields):
    begin(3, start)
    assert hook("PreCompact", **fields) is None
    assert hook("SessionStart", source="compact", **fields) is None
    assert store.read()["auto_clear_count"] == 0


@pytest.mark.parametrize("window", [{}, WORKER], ids=["coordinator", "worker"])
def test_a_compaction_after_the_end_of_the_batch_needs_no_reminder(hook, begin, store, window):
    state = begin(1, all_completed)
    assert hook("PreCompact", trigger="auto", **window) is None
    assert hook("SessionStart", source="compact", **window) is None
    assert store.read() == state


@pytest.mark.parametrize(("event", "tool"), [("PostToolUse", "Bash"), ("PostToolUse", ""), ("UserPromptSubmit", "")])
def test_a_lost_reminder_is_delivered_once_with_the_next_event(hook, begin, store, event, tool):
    begin(3, start, compacted("main"))
    assert added(hook(event, tool, prompt="/batchctl status")).startswith(prompts.REMINDER_MARK)
    assert hook(event, tool, prompt="/batchctl status") is None
    assert batch_state.contexts_to_remind(store.read()) == []


def test_a_reminder_that_arrived_is_not_repeated(hook, begin, store, tmp_path):
    begin(3, start, compacted("a-1"))
    own = tmp_path / "t/subagents/agent-a-1.jsonl"
    own.parent.mkdir(parents=True)
    arrived = {"attachment": {"type": "hook_additional_context", "content": [prompts.REMINDER_MARK]}}
    own.write_text(json.dumps(arrived) + "\n")
    assert hook("PostToolUse", "Bash", transcript_path=str(tmp_path / "t.jsonl"), **WORKER) is None
    assert batch_state.contexts_to_remind(store.read()) == []


def test_a_transcript_that_is_written_late_is_waited_for(hook, begin, store, tmp_path):
    begin(3, start, compacted("main"))
    path = tmp_path / "t.jsonl"
    path.write_text("{}\n")
    arrived = {"attachment": {"type": "hook_additional_context", "content": [prompts.REMINDER_MARK]}}
    call = {"type": "assistant", "message": {"content": [{"type": "tool_use", "id": "toolu_1"}]}}
    late = threading.Timer(0.3, path.write_text, [f"{json.dumps(arrived)}\n{json.dumps(call)}\n"])
    late.start()
    assert hook("PostToolUse", "Bash", transcript_path=str(path), tool_use_id="toolu_1") is None
    late.join()
    assert batch_state.contexts_to_remind(store.read()) == []


def test_a_transcript_that_never_gets_that_far_counts_as_without_the_reminder(
    hook, begin, store, tmp_path, monkeypatch
):
    monkeypatch.setattr(compaction, "TRANSCRIPT_LAG_S", 0.1)
    begin(3, start, compacted("main"))
    path = tmp_path / "t.jsonl"
    path.write_text("{}\n")
    text = added(hook("PostToolUse", "Bash", transcript_path=str(path), tool_use_id="toolu_1"))
    assert text.startswith(prompts.REMINDER_MARK)


def test_a_reminder_for_another_context_window_stays_due(hook, begin, store):
    begin(3, start, compacted("a-1"))
    assert hook("PostToolUse", "Bash") is None
    assert batch_state.contexts_to_remind(store.read()) == ["a-1"]


@pytest.mark.parametrize("source", ["startup", "clear", "resume", "fork"])
def test_a_session_that_finds_an_unfinished_batch_without_an_owner_says_so_in_one_line(hook, begin, store, source):
    begin(3, lease.release)
    text = added(hook("SessionStart", source=source, session="s-2"))
    assert "unfinished batch: batch-1 (in_progress)" in text
    assert "`/batch-implement --resume`" in text
    assert len(text.splitlines()) == 1
    assert store.read()["owner"]["pid"] is None


def test_an_agent_of_such_a_session_is_told_nothing(hook, begin):
    begin(3, lease.release)
    assert hook("SessionStart", source="startup", session="s-2", **WORKER) is None


def test_a_session_of_batchctl_run_takes_its_batch_without_a_word(hook, begin, store):
    begin(3, lease.release)
    store.update(lambda state: {**state, "owner": {**state["owner"], "driven": True}})
    assert hook("SessionStart", source="startup") is None
    assert (store.read()["owner"]["pid"], store.read()["owner"]["driven"]) == (os.getpid(), True)


def test_the_lease_of_a_finished_batch_ends_when_its_client_has_gone(hook, begin, store):
    gone = subprocess.Popen(["sleep", "60"])
    begin(1, all_completed)
    store.update(lambda state: lease.acquire(state, owner("s-1", gone.pid)))
    assert hook("SessionStart", source="startup", session="s-2") is None
    assert store.read()["owner"]["pid"] == gone.pid
    gone.kill()
    gone.wait()
    assert hook("SessionStart", source="startup", session="s-2") is None
    assert store.read()["owner"]["pid"] is None


def test_while_the_owner_is_alive_another_session_is_told_nothing(hook, begin):
    begin(3)
    assert hook("SessionStart", source="startup", session="s-2", pid=1) is None


def test_a_resumed_conversation_takes_back_the_lease_it_had(hook, begin, store):
    begin(3, start, lease.release)
    text = added(hook("SessionStart", source="resume"))
    assert text == prompts.reminder(store.read(), worker=False)
    assert store.read()["owner"]["pid"] == os.getpid()


def test_a_resumed_conversation_leaves_the_lease_to_a_client_that_was_faster(hook, begin, store, monkeypatch):
    begin(3, start, lease.release)
    update, other = Store.update_with_result, owner("s-1", os.getppid())

    def late(self, change):
        monkeypatch.setattr(Store, "update_with_result", update)
        store.update(lambda state: lease.acquire(state, other))
        return update(self, change)

    monkeypatch.setattr(Store, "update_with_result", late)
    assert hook("SessionStart", source="resume") is None
    assert store.read()["owner"] == other


def test_a_paused_batch_is_not_resumed_by_itself(hook, begin, store):
    begin(3, pause, lease.release)
    assert "(paused)" in added(hook("SessionStart", source="resume"))
    assert store.read()["owner"]["pid"] is None


# -- a person's commands -----------------------------------------------------------------------------------------------


def typed(hook, command, arguments="", **fields):
    return hook(
        "UserPromptExpansion",
        command_name=f"batch-implement:{command}",
        command_args=arguments,
        prompt_id="p",
        **fields,
    )


def test_a_features_file_starts_a_batch_that_this_session_holds(hook, store, repository):
    (repository / "f.txt").write_text("one\ntwo\n")
    text = added(typed(hook, "batch-implement", "f.txt --verify 'make test'"))
    state = store.read()
    assert text == prompts.coordinator_brief(state)
    assert (state["features"], state["policy"]["verify"]) == (["one", "two"], "make test")
    assert (state["owner"]["session_id"], state["owner"]["pid"]) == ("s-1", os.getpid())
    assert hook("Stop", prompt_id="p")["decision"] == "block"


def test_what_a_list_says_beyond_its_features_is_shown_to_the_user_alone(hook, repository):
    (repository / "todo.md").write_text("# Plan\n- [ ] one\n- [x] two\n")
    answer = typed(hook, "batch-implement", "todo.md")
    assert answer["systemMessage"].startswith("1 line left out: `--dry-run` shows it.\n")
    assert "left out" not in added(answer)


@pytest.mark.parametrize(
    "arguments",
    [
        "", "gone.txt", "$(touch pwned)", "`touch pwned`", "f.txt --nonsense", "'unclosed", "-", "f.txt --resume", ".",
        "--resume", "--resume other", "f.txt --verify ''", "f.txt; touch pwned", "f.txt\ntouch pwned", "\0", "--help",
    ],
)  # fmt: skip
def test_what_cannot_start_a_batch_costs_no_model_turn(hook, repository, arguments):
    (repository / "f.txt").write_text("one\n")
    answer = typed(hook, "batch-implement", arguments)
    assert answer["decision"] == "block"
    assert answer["reason"]
    assert not (repository / ".claude").exists()
    assert not (repository / "pwned").exists()


@pytest.mark.parametrize(
    "arguments", ["status", "", "next", "--help", "resume --help", "retry -h", "validate", "nonsense"]
)
def test_what_only_informs_costs_no_model_turn_and_changes_nothing(hook, begin, store, arguments):
    state = begin(3, lease.release)
    answer = typed(hook, "batchctl", arguments)
    assert answer["decision"] == "block"
    assert answer["reason"].strip()
    assert store.read() == state


def test_what_sets_work_going_takes_the_batch_over(hook, begin, store):
    begin(3, lambda state: transitions.skip(state, NOW, 1, "no"), lease.release)
    text = added(typed(hook, "batchctl", "retry 2"))
    assert "Pending again: feature 2." in text
    assert prompts.coordinator_brief(store.read()) in text
    assert store.read()["owner"]["session_id"] == "s-1"


def test_the_repair_of_a_damaged_state_is_shown_to_the_user_by_every_command(hook, begin, store, repository):
    begin(3, start, lease.release)
    shown = {
        "--resume": lambda answer: (answer["systemMessage"], added(answer)),
        "--resume other": lambda answer: (answer["reason"],),
        "f.txt --dry-run": lambda answer: (answer["reason"],),
        "": lambda answer: (answer["systemMessage"],),
    }
    (repository / "f.txt").write_text("one\n")
    for arguments, read in shown.items():
        (repository / ".claude/batch_state.json").write_text("{")
        for text in read(typed(hook, "batch-implement" if arguments else "auto-implement", arguments)):
            assert "was put back" in text, arguments


def test_a_second_client_is_told_who_has_the_batch_and_what_it_can_do(hook, begin, store):
    state = begin(3)
    for arguments in ("--resume", "f.txt --replace"):
        (Path(state["state_file"]).parents[1] / "f.txt").write_text("one\n")
        answer = typed(hook, "batch-implement", arguments, session="s-2", pid=1)
        assert "session s-1" in answer["reason"]
        assert "batchctl pause" in answer["reason"]
    assert store.read() == state


def test_a_text_alone_becomes_a_batch_of_one(hook, store):
    assert typed(hook, "auto-implement", "Add a $(touch pwned) login") is None
    assert store.read()["features"] == ["Add a $(touch pwned) login"]


def test_during_a_batch_only_its_open_feature_is_worked_on(hook, begin):
    begin(3, start)
    assert typed(hook, "auto-implement", "feature 1") is None
    assert typed(hook, "auto-implement") is None
    assert "is not its open feature" in typed(hook, "auto-implement", "something else")["reason"]


def test_nobody_elses_command_is_answered(hook):
    assert hook("UserPromptExpansion", command_name="other:batchctl", command_args="abort") is None
    assert typed(hook, "unknown") is None


def test_what_the_person_typed_never_ends_up_in_a_commit(hook, repository):
    (repository / "f.txt").write_text("one\n")
    commit(repository)
    typed(hook, "batch-implement", "f.txt")
    git(repository, "add", "-A")
    assert git(repository, "status", "--porcelain") == ""
    assert started(state_on_disk(repository))["active"]["feature_index"] == 0
