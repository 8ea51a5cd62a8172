"""The harness itself, through the real client, with a throw-away plugin."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Callable

import pytest
from client import Client, Overdue, Terminal
from scripted_model import WINDOW_FULL, Request, Script, ScriptedModel, call, calls, fail, hiccup, say

Models = Callable[..., ScriptedModel]
Clients = Callable[..., Client]
Terminals = Callable[..., Terminal]


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A plugin `tiny`: a forked command `job`, its agent `worker`, an agent `reviewer`, a hook at SessionStart."""
    files = {
        ".claude-plugin/plugin.json": json.dumps({"name": "tiny", "version": "0.0.1", "description": "Tiny."}),
        "commands/job.md": (
            "---\nname: job\ndescription: Does one job.\ncontext: fork\nbackground: false\nagent: tiny:worker\n---\n"
            "Do the job: $ARGUMENTS\n"
        ),
        "agents/worker.md": "---\nname: worker\ndescription: Works.\n---\nYou do one job and then stop.\n",
        "agents/reviewer.md": "---\nname: reviewer\ndescription: Reviews.\n---\nYou look at one diff.\n",
        "hooks/hooks.json": json.dumps(
            {
                "hooks": {
                    "SessionStart": [
                        {"hooks": [{"type": "command", "command": "printf", "args": ['{"systemMessage": "hooked"}']}]}
                    ]
                }
            }
        ),
    }
    for name, text in files.items():
        path = tmp_path / "tiny" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path / "tiny"


def test_a_text_turn_ends_the_run_with_that_text(scripted: Models, client_for: Clients, tiny: Path) -> None:
    def coordinator(request: Request) -> Script:
        assert "good morning" in request.last_text()
        yield say("good evening")

    model = scripted(coordinator=coordinator, plugin_dir=tiny)
    result = client_for(model, plugin_dir=tiny).run("good morning")
    assert (result.exit_code, result.text) == (0, "good evening")
    assert model.of("coordinator")[0].session == result.session
    [hook] = result.hooks("SessionStart")
    assert hook.answer() == {"systemMessage": "hooked"}


def test_a_tool_call_is_run_and_its_result_comes_back(
    scripted: Models, client_for: Clients, tiny: Path, project: Path
) -> None:
    def coordinator(request: Request) -> Script:
        request = yield call("Bash", command="pwd", description="Where am I").with_text("Let me look.")
        [result] = request.tool_results()
        assert not request.error
        request = yield calls(("Bash", {"command": "echo one"}), ("Bash", {"command": "exit 3"}))
        assert [r.error for r in request.tool_results()] == [False, True]
        assert request.error and "Exit code 3" in request.last_text()
        yield say(result.text)

    model = scripted(coordinator=coordinator, plugin_dir=tiny)
    result = client_for(model, plugin_dir=tiny).run("go", mode="bypassPermissions")
    assert result.text == str(project)


def test_an_error_turn_ends_the_run_and_its_retries_get_the_same_error(
    scripted: Models, client_for: Clients, tiny: Path
) -> None:
    def coordinator(request: Request) -> Script:
        request = yield fail(529, "overloaded_error", "Overloaded")
        assert "again" in request.last_text()
        yield say("up again")

    model = scripted(coordinator=coordinator, plugin_dir=tiny)
    client = client_for(model, plugin_dir=tiny)
    result = client.run("go")
    assert result.exit_code == 1
    assert result.final["is_error"] and result.final["api_error_status"] == 529
    assert len(model.of("coordinator")) == 2  # One try, one retry.
    assert client.run("again", extra_args=["--resume", result.session]).text == "up again"


def test_a_hiccup_is_over_at_the_next_try(scripted: Models, client_for: Clients, tiny: Path) -> None:
    def coordinator(request: Request) -> Script:
        yield hiccup(500, "api_error", "Internal server error")
        yield say("up again")

    model = scripted(coordinator=coordinator, plugin_dir=tiny)
    assert client_for(model, plugin_dir=tiny).run("go").text == "up again"


def test_the_same_script_goes_on_after_a_compaction(scripted: Models, client_for: Clients, tiny: Path) -> None:
    def coordinator(request: Request) -> Script:
        request = yield call("Bash", command="echo first").with_usage(WINDOW_FULL)
        assert "The conversation so far." in request.text()
        request = yield call("Bash", command="echo second")
        assert "second" in request.last_text()
        yield say("both done")

    model = scripted(coordinator=coordinator, plugin_dir=tiny)
    result = client_for(model, plugin_dir=tiny).run("go", mode="bypassPermissions")
    assert result.text == "both done"
    assert len(model.summaries) == 1
    assert len(model.conversations("coordinator")) == 1


def test_a_fork_is_a_worker_and_an_agent_run_is_what_its_prompt_says(
    scripted: Models, client_for: Clients, tiny: Path
) -> None:
    def coordinator(request: Request) -> Script:
        request = yield call("Skill", skill="job", args="sweep")
        assert "swept" in request.last_text()
        request = yield call("Skill", skill="job", args="mop")
        assert "mopped" in request.last_text()
        review = {"description": "Review", "prompt": "Review it.", "run_in_background": False}
        request = yield call("Agent", subagent_type="tiny:reviewer", **review)
        assert "looks fine" in request.last_text()
        request = yield call("Agent", subagent_type="general-purpose", **review)
        assert "somebody else" in request.last_text()
        yield say("all done")

    def worker(request: Request) -> Script:
        job = "sweep" if "Do the job: sweep" in request.text() else "mop"
        request = yield call("Bash", command=f"echo {job}").with_usage(WINDOW_FULL if job == "mop" else 1_000)
        yield say({"sweep": "swept", "mop": "mopped"}[job])

    model = scripted(
        coordinator=coordinator,
        worker=worker,
        reviewer=lambda request: iter_once("looks fine"),
        other=lambda request: iter_once("somebody else"),
        plugin_dir=tiny,
    )
    result = client_for(model, plugin_dir=tiny).run("go", mode="bypassPermissions")
    assert result.text == "all done"
    assert [len(model.conversations(r)) for r in ("coordinator", "worker", "reviewer", "other")] == [1, 2, 1, 1]
    assert len(model.of("worker")) == 4
    assert len(model.summaries) == 1
    assert not model.unexpected


def iter_once(text: str) -> Script:
    """A script of one text."""
    yield say(text)


def test_two_sessions_are_two_conversations(scripted: Models, client_for: Clients, tiny: Path) -> None:
    model = scripted(coordinator=lambda request: iter_once("hello"), plugin_dir=tiny)
    client = client_for(model, plugin_dir=tiny)
    assert [client.run("one").text, client.run("two").text] == ["hello", "hello"]
    assert len(model.conversations("coordinator")) == 2


def test_what_a_script_raises_comes_out_at_the_end(client_for: Clients, tiny: Path) -> None:
    def coordinator(request: Request) -> Script:
        assert "something else" in request.last_text(), "the real reason"
        yield say("never said")

    raises = pytest.raises(AssertionError, match="the real reason")
    with raises, ScriptedModel({"coordinator": coordinator}, plugin_dir=tiny) as model:
        result = client_for(model, plugin_dir=tiny).run("go")
        assert "raised AssertionError" in result.text


def test_a_conversation_nobody_expected_is_kept(scripted: Models, client_for: Clients, tiny: Path) -> None:
    model = scripted(plugin_dir=tiny)
    assert client_for(model, plugin_dir=tiny).run("go").text == "unexpected conversation"
    assert len(model.unexpected) == 1


def test_a_request_without_stream_gets_a_whole_message(scripted: Models) -> None:
    model = scripted(coordinator=lambda request: iter_once("hello"))
    body = {"model": "any", "messages": [{"role": "user", "content": "hi"}], "tools": [{"name": "Bash"}]}
    request = urllib.request.Request(f"{model.url}/v1/messages", json.dumps(body).encode(), method="POST")
    with urllib.request.urlopen(request, timeout=10) as answer:
        message = json.load(answer)
    assert message["content"] == [{"type": "text", "text": "hello"}]
    assert message["stop_reason"] == "end_turn"


def test_a_client_can_be_killed_in_the_middle(scripted: Models, client_for: Clients, tiny: Path, project: Path) -> None:
    def coordinator(request: Request) -> Script:
        yield call("Bash", command="touch here; sleep 30")

    model = scripted(coordinator=coordinator, plugin_dir=tiny)
    running = client_for(model, plugin_dir=tiny).start("go", mode="bypassPermissions")
    running.wait_until(lambda run: (project / "here").exists())
    assert running.kill().exit_code == -9


def test_the_client_sees_nothing_of_the_outer_environment(
    scripted: Models, client_for: Clients, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def coordinator(request: Request) -> Script:
        request = yield call("Bash", command="env; git var GIT_AUTHOR_IDENT")
        yield say(request.last_text())

    monkeypatch.setenv("CLAUDE_CODE_STRANGER", "outer")
    monkeypatch.setenv("ANTHROPIC_STRANGER", "outer")
    model = scripted(coordinator=coordinator, plugin_dir=tiny)
    client = client_for(model, plugin_dir=tiny)
    seen = client.run("go", mode="bypassPermissions").text
    assert "STRANGER" not in seen
    assert f"HOME={client.home}\n" in seen
    assert "Scratch <scratch@example.invalid>" in seen


def test_the_real_home_is_refused(scripted: Models, client_for: Clients) -> None:
    with pytest.raises(ValueError, match="real home"):
        client_for(scripted(), home=Path.home())


def test_the_terminal_reaches_its_prompt_and_answers(
    scripted: Models, client_for: Clients, terminal_for: Terminals, tiny: Path
) -> None:
    def coordinator(request: Request) -> Script:
        request = yield say("good evening")
        request = yield call("Bash", command="echo from-$((40 + 2))")
        yield say(f"the tool said {request.tool_results()[0].text}")

    model = scripted(coordinator=coordinator, plugin_dir=tiny)
    terminal = terminal_for(client_for(model, plugin_dir=tiny))
    terminal.wait_until_ready()
    terminal.type("good morning")
    terminal.wait_for("good evening")
    terminal.type("use a tool")
    terminal.wait_for("the tool said from-42")
    with pytest.raises(Overdue, match="never there"):
        terminal.wait_for("never there", timeout=0.1)
    terminal.type("/exit")
    terminal.wait_until(lambda screen: not terminal.running(), what="the end")


def test_a_terminal_can_be_killed_and_closed_twice(
    scripted: Models, client_for: Clients, terminal_for: Terminals, tiny: Path
) -> None:
    terminal = terminal_for(client_for(scripted(plugin_dir=tiny), plugin_dir=tiny))
    terminal.wait_until_ready()
    terminal.kill()
    assert not terminal.running()
    terminal.close()


def test_a_dialog_is_not_taken_for_the_prompt(
    scripted: Models, client_for: Clients, terminal_for: Terminals, tiny: Path
) -> None:
    client = client_for(scripted(plugin_dir=tiny), plugin_dir=tiny)
    configuration = client.configuration / ".claude.json"
    known = json.loads(configuration.read_text(encoding="utf-8"))
    configuration.write_text(json.dumps({**known, "projects": {}}), encoding="utf-8")
    terminal = terminal_for(client)
    terminal.wait_for("Yes, I trust this folder")
    with pytest.raises(Overdue, match="the prompt"):
        terminal.wait_until_ready(timeout=1.0)
