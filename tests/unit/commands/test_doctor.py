"""What doctor finds, with a fake `claude` on PATH."""

from __future__ import annotations

import json
import os
import shutil
import sys
from importlib.machinery import ModuleSpec

import pytest
from batch_implement.base.project_paths import Project
from batch_implement.cli import batchctl
from batch_implement.commands import doctor
from batch_implement.features.data_formats import yaml_support
from batch_implement.store.store import Store
from batches import git, new_batch
from gh_stand_in import URL, StandIn

HEALTHY = "2.1.330 (Claude Code)"


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Puts a program first on PATH: `fake("claude", "echo 2.1.330")`; its path."""
    folder = tmp_path / "fake programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def make(name, script):
        program = folder / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        return str(program)

    return make


@pytest.fixture
def examine(repository, fake):
    """What doctor says of one check: `examine("git")`, as (verdict, text) pairs; of a healthy machine by default."""
    fake("claude", f"echo '{HEALTHY}'")

    def look(check, root=None, plugin=batchctl.PLUGIN, **environ):
        results = doctor.run_checks(Project(str(root or repository)), {**os.environ, **environ}, plugin)
        return [(entry["verdict"], entry["text"]) for entry in results if entry["check"] == check]

    return look


def test_on_a_healthy_machine_nothing_is_bad_and_every_check_is_there(examine, repository):
    results = doctor.run_checks(Project(str(repository)), os.environ, batchctl.PLUGIN)
    assert [entry["check"] for entry in results if entry["verdict"] == "error"] == []
    assert {entry["check"] for entry in results} == {
        "python",
        "pyyaml",
        "git",
        "client",
        "hooks",
        "state",
        "permissions",
    }


def test_the_interpreter_is_named(examine):
    assert examine("python")[0] == (doctor.OK, f"Python {sys.version.split()[0]} at {sys.executable}")


def test_a_python_that_is_too_old_is_bad(examine, monkeypatch):
    monkeypatch.setattr(doctor, "OLDEST_PYTHON", (99, 0))
    assert [verdict for verdict, _ in examine("python")] == [doctor.ERROR]


def test_pyyaml_is_only_told_of(examine, monkeypatch):
    results = ModuleSpec("yaml", None, origin="/packages/yaml/__init__.py")
    monkeypatch.setattr(yaml_support, "find_pyyaml", lambda forbidden: (results, None))
    assert examine("pyyaml") == [(doctor.OK, "PyYAML in /packages/yaml")]
    monkeypatch.setattr(yaml_support, "find_pyyaml", lambda forbidden: (None, None))
    ((verdict, text),) = examine("pyyaml")
    assert (verdict, "only a list in YAML needs it" in text) == (doctor.OK, True)


def test_gh_is_looked_at_when_the_batch_is_made_of_issues(examine, repository, store, tmp_path, monkeypatch):
    github = StandIn(tmp_path / "github.json")
    github.on_path(monkeypatch)
    git(repository, "remote", "add", "origin", f"{URL}.git")
    assert examine("gh") == []
    store.create(new_batch(2))
    assert examine("gh") == []
    store.update(lambda state: {**state, "source_type": "issues", "issue_numbers": [72, 73]})
    assert examine("gh") == [(doctor.OK, f"gh reaches {URL}")]
    github.goes_wrong("*", "logged out")
    ((verdict, text),) = examine("gh")
    assert (verdict, "`gh auth login`" in text, "the batch continues" in text) == (doctor.WARNING, True, True)


def test_a_python3_that_is_a_version_managers_script_is_worth_a_look(examine, fake):
    shim = fake("python3", f'exec {sys.executable} "$@"')
    assert any(verdict == doctor.WARNING and shim in text for verdict, text in examine("python"))


# -- the client --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "verdict", "message"),
    [
        (f"echo '{HEALTHY}'", doctor.OK, "Claude Code 2.1.330 at "),
        ("echo '2.10.0 (Claude Code)'", doctor.OK, "Claude Code 2.10.0"),
        ("echo '2.1.99 (Claude Code)'", doctor.WARNING, "older than 2.1.330"),
        ("echo '1.9.999 (Claude Code)'", doctor.WARNING, "older than 2.1.330"),
        ("echo 'something else'", doctor.WARNING, "Unknown version"),
        ("exit 1", doctor.WARNING, "Unknown version"),
    ],
)
def test_the_clients_version_is_judged_by_its_numbers(examine, fake, script, verdict, message):
    fake("claude", script)
    ((actual, text),) = examine("client")
    assert (actual, message in text) == (verdict, True), text


def test_without_a_client_the_remedy_is_named(examine, monkeypatch, tmp_path):
    (tmp_path / "only git").mkdir()
    (tmp_path / "only git/git").symlink_to(shutil.which("git"))
    monkeypatch.setenv("PATH", str(tmp_path / "only git"))
    ((verdict, text),) = examine("client")
    assert (verdict, "install Claude Code" in text) == (doctor.ERROR, True)


def test_the_client_that_asks_says_itself_which_it_is(examine, tmp_path):
    other = tmp_path / "other claude"
    other.write_text("#!/bin/sh\necho '3.0.0 (Claude Code)'\n")
    other.chmod(0o755)
    assert str(other) in examine("client", CLAUDE_CODE_EXECPATH=str(other))[0][1]
    ((verdict, text),) = examine("client", CLAUDE_CODE_EXECPATH=str(tmp_path / "gone"))
    assert (verdict, "does not start" in text) == (doctor.ERROR, True)


# -- git ---------------------------------------------------------------------------------------------------------------


def test_a_folder_outside_of_git_is_bad_with_the_remedy(examine, tmp_path):
    (tmp_path / "plain").mkdir()
    assert any(verdict == doctor.ERROR and "`git init`" in text for verdict, text in examine("git", tmp_path / "plain"))


def test_what_a_batch_would_be_refused_for_is_worth_a_look(examine, repository):
    (repository / "README.md").write_text("changed")
    assert any(verdict == doctor.WARNING and "1 tracked file modified" in text for verdict, text in examine("git"))


def test_a_damaged_index_is_an_error_with_the_command_that_makes_it_new(examine, repository):
    (repository / ".git/index").write_bytes(b"garbage")
    assert any(
        verdict == doctor.ERROR and '`rm "$(git rev-parse --git-path index)" && git reset`' in text
        for verdict, text in examine("git")
    )


def test_a_repository_without_a_commit_or_a_name_for_its_committer_is_told(examine, tmp_path, monkeypatch):
    empty = tmp_path / "empty"
    empty.mkdir()
    git(empty, "init", "-q")
    git(empty, "config", "user.useConfigOnly", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    results = examine("git", empty)
    assert any(verdict == doctor.WARNING and "no commit yet" in text for verdict, text in results)
    assert any(verdict == doctor.ERROR and "user.name and user.email" in text for verdict, text in results)


def test_without_git_doctor_still_looks_at_the_rest(examine, fake, monkeypatch, tmp_path):
    (tmp_path / "no git").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path}/no git:{os.path.dirname(fake('claude', 'echo 2.1.330'))}")
    assert examine("git") == [
        (doctor.ERROR, "git was not found on PATH. Install it, or start from a shell that has it.")
    ]
    assert examine("state")


# -- hooks, state, permissions -----------------------------------------------------------------------------------------


@pytest.fixture
def plugin(tmp_path):
    """A copy of the plugin's hooks."""
    shutil.copytree(os.path.join(batchctl.PLUGIN, "hooks"), tmp_path / "plugin/hooks")
    return tmp_path / "plugin"


def test_hooks_that_are_whole_are_good(examine, plugin):
    assert examine("hooks", plugin=str(plugin)) == [(doctor.OK, f"hooks of {plugin}")]


def test_hooks_that_are_missing_not_executable_or_switched_off_are_bad(examine, plugin, monkeypatch):
    monkeypatch.setenv("BATCH_IMPLEMENT_DISABLED", "1")
    assert "Unset it" in examine("hooks", plugin=str(plugin))[0][1]
    monkeypatch.delenv("BATCH_IMPLEMENT_DISABLED")
    (plugin / "hooks/run").chmod(0o644)
    assert "`chmod +x`" in examine("hooks", plugin=str(plugin))[0][1]
    declared = json.loads((plugin / "hooks/hooks.json").read_text())
    del declared["hooks"]["Stop"]
    (plugin / "hooks/hooks.json").write_text(json.dumps(declared))
    assert "lacks Stop: install the plugin again" in examine("hooks", plugin=str(plugin))[0][1]
    (plugin / "hooks/hooks.json").write_text("{")
    assert examine("hooks", plugin=str(plugin))[0][0] == doctor.ERROR
    (plugin / "hooks/hooks.json").write_text('{"hooks": []}')
    assert examine("hooks", plugin=str(plugin))[0][0] == doctor.ERROR


def test_the_state_is_named_or_that_there_is_none(examine, repository, store):
    assert examine("state") == [(doctor.OK, f"no batch in {repository}")]
    store.create(new_batch(2))
    results = examine("state")
    assert "batch batch-1, revision 1, in progress" in results[0][1]
    assert (results[1][0], "--verify CMD" in results[1][1]) == (doctor.WARNING, True)


def test_a_state_that_was_changed_is_not_repaired_by_doctor(examine, repository, store):
    store.create(new_batch(2))
    (repository / ".claude/batch_state.json").write_text("{")
    assert "batch batch-1, revision 1, in progress" in examine("state")[0][1]
    assert (repository / ".claude/batch_state.json").read_text() == "{"


def test_a_state_that_cannot_be_used_is_bad_and_stays(examine, repository, store):
    (repository / ".claude").mkdir()
    (repository / ".claude/batch_state.json").write_text("{")
    ((verdict, text),) = examine("state")
    assert (verdict, "Corrupted batch state file" in text) == (doctor.ERROR, True)
    assert (repository / ".claude/batch_state.json").read_text() == "{"


@pytest.mark.parametrize("place", ["project", "project, local", "home", "configuration"])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"disableAllHooks": True}, "disableAllHooks"),
        ({"permissions": {"deny": ["Bash(git:*)"]}}, "deny Bash(git:*)"),
        ({"permissions": {"deny": ["Edit"]}}, "deny Edit"),
        ({"permissions": {"ask": ["Skill(auto-implement)"]}}, "ask Skill(auto-implement)"),
        ({"permissions": {"ask": ["Bash(batchctl:*)"]}}, "ask Bash(batchctl:*)"),
    ],
)
def test_settings_that_would_stop_a_night_are_bad_wherever_they_are(
    examine, repository, tmp_path, monkeypatch, place, settings, message
):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    places = {
        "project": repository / ".claude/settings.json",
        "project, local": repository / ".claude/settings.local.json",
        "home": tmp_path / "home/.claude/settings.json",
        "configuration": tmp_path / "configuration/settings.json",
    }
    environ = {"CLAUDE_CONFIG_DIR": str(tmp_path / "configuration")} if place == "configuration" else {}
    places[place].parent.mkdir(parents=True)
    places[place].write_text(json.dumps(settings))
    assert any(
        verdict == doctor.ERROR and message in text and str(places[place]) in text
        for verdict, text in examine("permissions", **environ)
    )


@pytest.mark.parametrize(
    "settings",
    ["{", "[]", '{"permissions": []}', '{"permissions": {"deny": "x"}}', '{"permissions": {"deny": ["WebFetch", 1]}}',
     '{"permissions": {"deny": ["Bash(curl:*)", "Write(/etc/**)"]}}', '{"disableAllHooks": false}'],
)  # fmt: skip
def test_other_settings_are_fine_however_odd(examine, repository, settings):
    (repository / ".claude").mkdir()
    (repository / ".claude/settings.json").write_text(settings)
    assert [verdict for verdict, _ in examine("permissions")] == [doctor.OK]


def test_what_a_project_that_is_not_trusted_allows_is_worth_a_look(examine, repository, tmp_path):
    (repository / ".claude").mkdir()
    (repository / ".claude/settings.json").write_text('{"permissions": {"allow": ["Bash(make:*)"]}}')
    verdict, text = examine("permissions", HOME=str(tmp_path / "home"))[1]
    assert verdict == doctor.WARNING
    assert f"because {repository} is not trusted: start `claude` there" in text


# -- the command -------------------------------------------------------------------------------------------------------


def test_doctor_exits_with_1_on_an_error_and_changes_nothing(examine, repository, monkeypatch, capsys):
    monkeypatch.chdir(repository)
    assert batchctl.main(["doctor", "--json"]) == 0
    assert {entry["verdict"] for entry in json.loads(capsys.readouterr().out)["checks"]} <= {"ok", "warn"}
    monkeypatch.setenv("BATCH_IMPLEMENT_DISABLED", "1")
    assert batchctl.main(["doctor"]) == 1
    assert "error  hooks" in capsys.readouterr().out
    assert git(repository, "status", "--porcelain") == ""
    assert not os.path.exists(Store(Project(str(repository))).project.private)


def test_doctor_derives_the_rule_that_lets_a_worker_run_the_verify_command(examine, repository):
    Store(Project(str(repository))).create(new_batch(1, verify="pytest -q"))
    [text] = [text for _, text in examine("permissions") if "default permission mode" in text]
    assert text.endswith('Allow it in .claude/settings.json: {"permissions": {"allow": ["Bash(pytest:*)"]}}.')
