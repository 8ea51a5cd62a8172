"""A whole batch in the real client: three features, twelve, one; in each mode, from each place, with each Python."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest
from client import Client, Result, Terminal, new_project
from scripted_model import REPOSITORY, Request, Script, ScriptedModel, call, calls, say

import scripts
from scripts import copy_of_plugin, git, in_terminal, list_features, state_of, turns

Models = Callable[..., ScriptedModel]
Clients = Callable[..., Client]
Terminals = Callable[..., Terminal]


def done(project: Path) -> list[int]:
    """The numbers of the features that are completed in a batch that is over."""
    state = state_of(project)
    assert state["status"] == "completed"
    return [index + 1 for index in state["completed_features"]]


def nothing_of_ours(project: Path) -> bool:
    """Whether the work tree is clean and no commit holds anything of the batch's."""
    committed = git(project, "log", "--all", "--name-only", "--format=")
    return git(project, "status", "--porcelain") == "" and ".claude" not in committed and "batch_state" not in committed


# -- the main job -----------------------------------------------------------------------------------------------------


def test_three_features_are_done_verified_and_committed_without_a_permission_asked(
    scripted: Models, client_for: Clients, project: Path
) -> None:
    list_features(project, "add one", "add two", "add three")
    start = git(project, "rev-parse", "HEAD").strip()
    model = scripted(coordinator=scripts.coordinator, worker=scripts.worker())
    result = client_for(model).run("/batch-implement features.txt --verify 'test -e feature-1.txt'")
    assert result.text == "All done."
    assert result.final["permission_denials"] == []
    assert not [r for request in model.requests for r in request.tool_results() if r.error]

    commits = git(project, "log", "--reverse", "--format=%H %s", f"{start}..").splitlines()
    assert [line.split(" ", 1)[1] for line in commits] == [f"Add feature-{number}.txt" for number in (1, 2, 3)]
    assert done(project) == [1, 2, 3]
    for index, line in enumerate(commits):
        proof = state_of(project)["evidence"][str(index)]
        assert proof["commit"] == line.split()[0] and proof["commits"] == [proof["commit"]]
        assert (proof["verify"]["command"], proof["verify"]["exit_code"]) == ("test -e feature-1.txt", 0)
        assert Path(proof["verify"]["log"]).with_name("dropped").read_text() == ""  # the client itself adds nothing
    assert nothing_of_ours(project)
    assert git(project, "stash", "list") == ""


@pytest.mark.prove
def test_the_coordinators_window_grows_by_a_few_lines_a_feature_and_each_worker_starts_fresh(
    scripted: Models, client_for: Clients, project: Path
) -> None:
    def talkative(request: Request) -> Script:
        while not scripts.OVER.search(request.last_text()):
            request = yield scripts.SKILL.with_text("The coordinator's own words.")
        yield say("All done.")

    list_features(project, *(f"add the file number {number}" for number in range(1, 13)))
    model = scripted(coordinator=talkative, worker=scripts.worker())
    client_for(model).run("/batch-implement features.txt")
    assert done(project) == list(range(1, 13))

    first, *_, last = [len(request.text()) for request in model.of("coordinator")]
    each = (last - first) / 12
    print(f"{each:.0f} characters a feature")
    assert each <= 600

    workers = model.conversations("worker")
    assert len(workers) == 12
    openings = [next(r for r in model.of("worker") if r.conversation == worker) for worker in workers]
    for number, opening in enumerate(openings, 1):
        assert scripts.feature_number(opening) == number
        assert not [m for m in opening.messages if m["role"] == "assistant"]
        for foreign in ("The coordinator's own words", "You run batch", f"add the file number {number % 12 + 1}\n"):
            assert foreign not in opening.text()


@pytest.mark.prove
def test_after_each_worker_the_coordinator_is_told_how_its_feature_ended(
    scripted: Models, client_for: Clients, project: Path
) -> None:
    tried: list[int] = []

    def fails_at_first(request: Request) -> Script:
        number = scripts.feature_number(request)
        tried.append(number)
        if number == 2 and tried.count(2) == 1:
            yield scripts.batchctl("fail", "--reason", "no-idea-how")
            yield say("I gave up.")
        else:
            yield from scripts.worker()(request)

    list_features(project, "add one", "add two", "add three")
    model = scripted(coordinator=scripts.coordinator, worker=fails_at_first)
    client_for(model).run("/batch-implement features.txt")
    assert tried == [1, 2, 3, 2]
    ends = (
        "Feature 1 is done. 1 of 3 done",
        "Feature 2 failed (attempt 1) and will be retried. 1 of 3 done",
        "Feature 3 is done. 2 of 3 done",
        "Feature 2 is done. Batch",
    )
    for request, end in zip(model.of("coordinator")[1:], ends):
        assert end in request.last_text()


def test_in_direct_mode_the_coordinator_does_each_feature_itself(
    scripted: Models, client_for: Clients, project: Path
) -> None:
    def alone(request: Request) -> Script:
        while not scripts.OVER.search(request.last_text()):
            assert "batchctl start" in request.last_text()
            request = yield scripts.batchctl("start")
            for turn in scripts.one_file(scripts.feature_number(request)):
                request = yield turn
            request = yield scripts.batchctl("done")
        yield say("All done.")

    list_features(project, "add one", "add two")
    model = scripted(coordinator=alone)
    prompt = "/batch-implement features.txt --mode direct --verify true"
    result = client_for(model).run(prompt)
    assert result.text == "All done." and result.final["permission_denials"] == []
    assert done(project) == [1, 2]
    assert set(turns(model)) == {"coordinator"}
    assert nothing_of_ours(project)


@pytest.mark.prove
def test_the_open_boxes_of_a_checklist_are_the_features(scripted: Models, client_for: Clients, project: Path) -> None:
    list_features(
        project, "# To do", "- [x] in already", "- [ ] add one", "", "Some words.", "", "- [ ] add two", name="todo.md"
    )
    model = scripted(coordinator=scripts.coordinator, worker=scripts.worker())
    client_for(model).run("/batch-implement todo.md")
    assert state_of(project)["features"] == ["add one", "add two"]
    assert done(project) == [1, 2]


# -- the commands' names ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "skill"),
    [
        ("/batch-implement", "batch-implement:auto-implement"),
        ("/batch-implement:batch-implement", "auto-implement"),
        pytest.param("/batch-implement", "auto-implement", marks=pytest.mark.prove),
        pytest.param("/batch-implement:batch-implement", "batch-implement:auto-implement", marks=pytest.mark.prove),
    ],
)
def test_the_commands_are_found_by_their_bare_and_their_full_names(
    scripted: Models, client_for: Clients, project: Path, command: str, skill: str
) -> None:
    def coordinator(request: Request) -> Script:
        request = yield call("Skill", skill=skill)
        assert "Batch" in request.last_text() and "is over" in request.last_text()
        yield say("All done.")

    list_features(project, "add one")
    model = scripted(coordinator=coordinator, worker=scripts.worker())
    assert client_for(model).run(f"{command} features.txt").text == "All done."
    assert done(project) == [1]


@pytest.mark.parametrize(
    "command", ["/auto-implement", pytest.param("/batch-implement:auto-implement", marks=pytest.mark.prove)]
)
def test_a_typed_feature_without_a_batch_is_done_as_a_batch_of_one(
    scripted: Models, client_for: Clients, project: Path, command: str
) -> None:
    model = scripted(coordinator=scripts.worker())  # A fork that was typed speaks in the main thread's name.
    result = client_for(model).run(f"{command} add one, with 'quotes' and a #hash")
    assert result.final["permission_denials"] == []
    assert state_of(project)["features"] == ["add one, with 'quotes' and a #hash"]
    assert done(project) == [1]
    assert all("You implement one feature of a batch" in request.system_text() for request in model.of("coordinator"))
    assert nothing_of_ours(project)


def test_a_typed_feature_during_a_batch_is_refused_without_a_model_turn(
    scripted: Models, client_for: Clients, terminal_for: Terminals, project: Path
) -> None:
    def hesitant(request: Request) -> Script:
        yield call("Bash", command="batchctl next")
        yield say("never said").after(60)

    list_features(project, "add one", "add two")
    model = scripted(coordinator=hesitant)
    terminal = terminal_for(client_for(model), mode="default")
    terminal.wait_until_ready()
    terminal.type("/batch-implement features.txt")
    model.wait_for(lambda model: len(turns(model)) == 2)
    terminal.keys("Escape")
    terminal.wait_for("Interrupted")
    terminal.type("/auto-implement something else")
    terminal.wait_for("this is not its open feature")
    assert turns(model) == ["coordinator", "coordinator"]
    assert state_of(project)["features"] == ["add one", "add two"]


def test_workers_that_cannot_be_started_pause_the_batch_instead_of_being_called_for_ever(
    scripted: Models, client_for: Clients, project: Path, tmp_path: Path
) -> None:
    plugin = copy_of_plugin(tmp_path / "plugin")
    (plugin / "bin" / "batchctl").write_text("#!/bin/sh\necho out of order >&2\nexit 7\n", encoding="utf-8")
    list_features(project, "add one", "add two")
    model = scripted(coordinator=scripts.coordinator, plugin_dir=plugin)
    assert client_for(model, plugin_dir=plugin).run("/batch-implement features.txt").text == "All done."
    state = state_of(project)
    assert state["status"] == "paused" and "out of order" in state["pause"]["reason"]
    assert (state["active"], state["retry_attempts"]) == (None, {})
    assert len(model.of("coordinator")) <= 5


@pytest.mark.prove
def test_two_workers_called_in_one_turn_never_close_each_others_feature(
    scripted: Models, client_for: Clients, project: Path
) -> None:
    def eager(request: Request) -> Script:
        while not scripts.OVER.search(request.text()):
            request = yield calls(*scripts.SKILL.tools, *scripts.SKILL.tools)
        yield say("All done.")

    list_features(project, "add one", "add two", "add three")
    model = scripted(coordinator=eager, worker=scripts.worker())
    assert client_for(model).run("/batch-implement features.txt").text == "All done."
    assert done(project) == [1, 2, 3]
    for index in range(3):
        (commit,) = state_of(project)["evidence"][str(index)]["commits"]
        assert git(project, "show", "--format=", "--name-only", commit).split() == [f"feature-{index + 1}.txt"]


# -- which Python, and when -------------------------------------------------------------------------------------------


class Interpreters:
    """A folder of programs that comes first on PATH, whose `python3` and `python` note each start of theirs."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "starts"
        self.programs = folder / "bin"
        self.programs.mkdir(parents=True)
        real = os.path.realpath(sys.executable)
        for name in ("python3", "python"):
            path = self.programs / name
            path.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >>"{self.log}"\nexec "{real}" "$@"\n', encoding="utf-8")
            path.chmod(0o755)

    @property
    def environment(self) -> dict[str, str]:
        """What puts them first on a client's PATH."""
        return {"PATH": f"{self.programs}:{os.environ['PATH']}"}

    def starts(self) -> list[str]:
        """The arguments of each start so far, the mere question for the version left out."""
        lines = self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []
        return [line for line in lines if "version_info" not in line]


@pytest.fixture
def interpreters(tmp_path: Path) -> Interpreters:
    return Interpreters(tmp_path / "interpreters")


def remembered(client: Client) -> list[Path]:
    """The file in the plugin's data folder that names an interpreter; none before one was remembered."""
    return sorted((client.configuration / "plugins" / "data").glob("*/python"))


def busy(request: Request) -> Script:
    """A conversation that touches every kind of tool our hooks listen to, our skill and a failing call included."""
    yield call("Bash", command="echo hello")
    yield call("Bash", command="exit 3")
    yield call("Write", file_path="scratch.txt", content="one\n")
    yield call("Edit", file_path="scratch.txt", old_string="one", new_string="two")
    yield call("Read", file_path="README.md")
    yield call("Agent", description="look", prompt="look", subagent_type="general-purpose", run_in_background=False)
    yield call("Skill", skill="batch-implement:nothing-like-that")
    yield say("That was all.")


def glance(request: Request) -> Script:
    yield call("Bash", command="ls")
    yield say("Nothing to see.")


def test_without_a_batch_no_hook_starts_python(
    scripted: Models, client_for: Clients, project: Path, interpreters: Interpreters
) -> None:
    client = client_for(scripted(coordinator=busy, other=glance))
    assert client.run("be busy", mode="bypassPermissions", env=interpreters.environment).text == "That was all."
    assert interpreters.starts() == []
    client.run("/batchctl status", env=interpreters.environment)
    assert "hook.py UserPromptExpansion" in " ".join(interpreters.starts())


def test_with_a_batch_that_is_over_no_hook_starts_python(
    scripted: Models, client_for: Clients, project: Path, interpreters: Interpreters, tmp_path: Path
) -> None:
    list_features(project, "add one")
    client_for(scripted(coordinator=scripts.coordinator, worker=scripts.worker())).run("/batch-implement features.txt")
    assert done(project) == [1]
    later = client_for(scripted(coordinator=busy, other=glance), home=tmp_path / "another-home")
    assert later.run("be busy", mode="bypassPermissions", env=interpreters.environment).text == "That was all."
    assert interpreters.starts() == [] and remembered(later) == []


def test_the_first_hook_that_starts_python_remembers_it_for_all_that_follow(
    scripted: Models, client_for: Clients, project: Path, interpreters: Interpreters
) -> None:
    list_features(project, "add one")
    client = client_for(scripted(coordinator=scripts.coordinator, worker=scripts.worker()))
    client.run("/batch-implement features.txt", env=interpreters.environment)
    assert done(project) == [1]
    [start] = interpreters.starts()
    assert start.endswith("hook.py UserPromptExpansion")
    [path] = remembered(client)
    assert path.read_text(encoding="utf-8").strip() == os.path.realpath(sys.executable)


@pytest.mark.prove
def test_a_remembered_interpreter_that_is_gone_falls_back_to_the_one_on_the_path(
    scripted: Models, client_for: Clients, project: Path, interpreters: Interpreters
) -> None:
    client = client_for(scripted(coordinator=scripts.coordinator, worker=scripts.worker()))
    client.run("/batchctl status")
    [path] = remembered(client)
    path.write_text("/nowhere/python3\n", encoding="utf-8")
    list_features(project, "add one")
    client.run("/batch-implement features.txt", env=interpreters.environment)
    assert done(project) == [1]
    assert len(interpreters.starts()) == 1
    assert path.read_text(encoding="utf-8").strip() == os.path.realpath(sys.executable)


def test_without_any_python_the_hooks_say_so_once_and_the_work_goes_on(
    scripted: Models, client_for: Clients, project: Path, tmp_path: Path
) -> None:
    programs = tmp_path / "no-python"
    programs.mkdir()
    for name in ("sh", "bash", "env", "git", "cat", "ls", "mkdir", "rm", "mv", "cp", "sed", "grep", "uname", "dirname"):
        (programs / name).symlink_to(shutil.which(name) or "/bin/false")
    client = client_for(scripted(coordinator=busy, other=glance))
    list_features(project, "add one")
    in_terminal(client, "create", "features.txt")
    result = client.run("be busy", mode="bypassPermissions", env={"PATH": str(programs)})
    assert result.text == "That was all."
    assert (project / "scratch.txt").read_text(encoding="utf-8") == "two\n"
    told = [hook.answer()["systemMessage"] for hook in result.hooks() if hook.stdout.strip()]
    assert len(told) == 1 and "no Python 3.9 or newer was found" in told[0]
    assert {hook.exit_code for hook in result.hooks()} == {0}


# -- where it is started ----------------------------------------------------------------------------------------------


@pytest.fixture
def run_in(scripted: Models, tmp_path: Path) -> Iterator[Callable[..., Result]]:
    """Runs a batch of one from a folder: `run_in(folder, plugin_dir=...)`."""
    clients: list[Client] = []

    def run(folder: Path, **options: Any) -> Result:
        model = scripted(coordinator=scripts.coordinator, worker=scripts.worker())
        clients.append(Client(folder, model, options.get("plugin_dir", REPOSITORY), tmp_path / "home"))
        return clients[-1].run("/batch-implement features.txt --verify 'test -e feature-1.txt'")

    yield run
    for client in clients:
        client.close()


@pytest.mark.parametrize(
    "odd",
    [pytest.param("a b", marks=pytest.mark.prove), 'it\'s $HOME `b` "c"'],
    ids=["spaces", "quotes"],
)
def test_a_plugin_and_a_project_with_odd_paths(run_in: Callable[..., Result], tmp_path: Path, odd: str) -> None:
    project = new_project(tmp_path / f"project {odd}")
    list_features(project, "add one")
    result = run_in(project, plugin_dir=copy_of_plugin(tmp_path / f"plugin {odd}"))
    assert done(project) == [1] and nothing_of_ours(project)
    assert not [hook for hook in result.hooks() if hook.exit_code or hook.stderr]


@pytest.mark.prove
def test_a_session_in_a_sub_directory_works_on_the_whole_project(run_in: Callable[..., Result], project: Path) -> None:
    (project / "deep" / "down").mkdir(parents=True)
    list_features(project, "add one", name="deep/down/features.txt")
    (project / "feature-1.txt").write_text("for the verify command, which runs in the root\n", encoding="utf-8")
    git(project, "add", ".")
    git(project, "commit", "-qm", "Prepare")
    run_in(project / "deep" / "down")
    assert done(project) == [1] and nothing_of_ours(project)
    assert (project / "deep" / "down" / "feature-1.txt").exists()
    assert not (project / "deep" / "down" / ".claude").exists()


@pytest.mark.prove
def test_a_linked_worktree_has_a_batch_of_its_own(run_in: Callable[..., Result], project: Path, tmp_path: Path) -> None:
    list_features(project, "add one")
    tree = (tmp_path / "tree").resolve()
    git(project, "worktree", "add", "-q", "-b", "side", str(tree))
    run_in(tree)
    assert done(tree) == [1] and nothing_of_ours(tree)
    assert git(tree, "log", "-1", "--format=%s").strip() == "Add feature-1.txt"
    assert git(project, "log", "-1", "--format=%s").strip() == "List the features"
    assert not (project / ".claude").exists() and not (project / ".git" / "batch-implement").exists()
