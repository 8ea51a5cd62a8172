"""The front of batchctl: every command, every exit status, and no traceback whatever is typed."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys

import pytest
from batch_implement import __version__
from batch_implement.base.project_paths import Project
from batch_implement.cli import arguments, batchctl
from batch_implement.commands import authorization, feature_commands, verify_command
from batch_implement.commands.command import CommandContext
from batch_implement.core import lease as leases
from batch_implement.core.errors import UsageError
from batch_implement.store import serialization, sidecar
from batch_implement.store.store import Store
from batches import BATCHCTL, ROOT, commit, git, owner, run_program, state_on_disk

COMMANDS = sorted(batchctl.COMMANDS)
LISTING = "one\ntwo\nthree\n"


@pytest.fixture
def listed(repository):
    """A features file in the repository, committed."""
    (repository / "features.txt").write_text(LISTING)
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "List the features")
    return repository


@pytest.fixture
def running(listed, typed):
    """A batch of three features, created by a person at a terminal."""
    assert typed("create", "features.txt")[0] == 0
    return listed


def remove_backups(repository):
    """Remove every copy of the state but the state itself."""
    project = Project(str(repository))
    for path in (f"{project.private}/current.json", f"{project.private}/{sidecar.BACKUP}", project.second_backup):
        os.unlink(path)


def answered(result):
    """The JSON of a run that succeeded."""
    status, out, err = result
    assert status == 0, err
    return json.loads(out)


def test_a_log_that_says_nothing_says_where_it_is(typed, repository):
    status, out, err = typed("log")
    assert (status, err) == (0, "")
    folder = f"{repository}/.git/batch-implement"
    assert out == f"The log in {folder} has no entries. `batchctl status` shows which batch is here.\n"


# -- help, and what is used wrongly ------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example_and_its_options(typed, command):
    status, out, err = typed(command, "--help")
    assert (status, err) == (0, "")
    assert f"Example: batchctl {command}" in out
    assert f"usage: batchctl {command}" in out
    assert "--json" in out


def test_the_commands_are_all_listed_and_their_number_is_known(typed):
    _, out, _ = typed("--help")
    assert all(out.count(f"\n    {command} ") == 1 for command in COMMANDS)
    assert len(COMMANDS) >= 18


def test_the_commands_are_listed_by_who_may_run_them(typed):
    grouped = [command for _, commands in arguments.COMMAND_GROUPS for command in commands]
    assert sorted(grouped) == COMMANDS
    assert set(arguments.COMMAND_GROUPS[0][1]) == set(COMMANDS) & set(authorization.USER_COMMANDS)
    out = typed("--help")[1]
    assert max(map(len, out.splitlines())) <= 80


def test_help_is_a_word_too(typed):
    assert typed("help") == typed("--help")
    assert typed("help", "skip") == typed("skip", "--help")
    assert "Unknown command or topic 'dance'" in typed("help", "dance")[2]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["satus"], "Unknown command 'satus'. Did you mean `status`? Run `batchctl --help` for a list."),
        (["polka"], "Unknown command 'polka'. Run `batchctl --help` for a list."),
        (["--json", "satus"], "Did you mean `status`?"),
        (["create", "f.txt", "--verfy", "x"], "Unrecognized arguments: --verfy x. Did you mean `--verify`?"),
        (["create", "f.txt", "--verfy=x"], "Did you mean `--verify`?"),
        (["create", "f.txt", "--verfy", "x"], "`batchctl create --help` lists the options."),
        (["create", "f.txt", "more.txt"], "Unrecognized arguments: more.txt.\n`batchctl create --help` lists"),
        (
            ["skip", "1", "--zzz"],
            "Unrecognized arguments: --zzz.\nusage: batchctl skip [-h] [--json] [--reason TEXT] N",
        ),
        (["create", "f.txt", "--mode", "fast"], "`batchctl create --help` lists"),
        (["create"], "A features file is missing."),
        (["create", "f.txt", "--label", "x"], "in more than one way."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_typed_wrongly_says_what_was_probably_meant_in_a_line_or_two(typed, words, message):
    status, _, err = typed(*words)
    assert (status, message in err) == (2, True), err
    assert len(err.splitlines()) <= 3


def test_json_may_come_before_the_command(running, typed):
    assert answered(typed("--json", "status")) == answered(typed("status", "--json"))


def test_the_version_is_that_of_the_package(typed):
    assert typed("--version") == (0, f"batchctl {__version__}\n", "")


WRONG = [
    [], ["nonsense"], ["status", "--nonsense"], ["status", "extra"], ["--nonsense"], ["create"], ["skip"],
    ["skip", "x"], ["skip", "0"], ["skip", "-1"], ["skip", "1e3"], ["skip", "9" * 5000], ["retry", "1,2"], ["phase"],
    ["phase", "ponder"], ["fail"], ["decide", "one"], ["done", "--wait", "-1"], ["done", "--wait", "9" * 400],
    ["done", "--no-change"], ["create", "f.txt", "--mode", "fast"], ["create", "f.txt", "--verify-timeout", "0"],
    ["create", "f.txt", "--verif", "x"], ["create", "f.txt", "--max-retries", "many"], ["schema", "nonsense"],
    ["resume", "a", "b"], ["create", "gone.txt"], ["create", "."], ["create", "-"],
    ["create", "f.txt", "--verify", " "],
]  # fmt: skip


@pytest.mark.parametrize("words", WRONG, ids=lambda words: " ".join(words)[:40] or "nothing")
def test_what_is_used_wrongly_is_status_2_and_says_how_it_is_used(typed, repository, words):
    status, out, err = typed(*words)
    assert (status, out) == (2, "")
    assert err.startswith("batchctl: error: ")
    assert "Traceback" not in err
    assert "_natural" not in err and "_positive" not in err
    assert not (repository / ".git/batch-implement").exists()


@pytest.mark.parametrize("words", [words for words in WRONG if words], ids=lambda words: " ".join(words)[:40])
def test_with_json_it_is_an_object_on_standard_output(typed, words):
    status, out, _ = typed(*words, "--json")
    error = json.loads(out)["error"]
    assert (status, error["exit_code"]) == (2, 2)
    assert error["message"]


# -- exit status 1, 3 and 4 --------------------------------------------------------------------------------------------

NEEDS_A_BATCH = [
    ["start"], ["phase", "plan"], ["done"], ["fail", "--reason", "x"], ["decide", "q", "a"], ["status"], ["next"],
    ["brief"], ["skip", "1"], ["retry"], ["pause"], ["resume"], ["abort"],
]  # fmt: skip


@pytest.mark.parametrize("words", NEEDS_A_BATCH, ids=" ".join)
@pytest.mark.parametrize("as_json", [[], ["--json"]], ids=["text", "json"])
def test_without_a_batch_every_command_is_refused_with_status_1_and_the_way_to_one(typed, words, as_json):
    status, out, err = typed(*words, *as_json)
    assert status == 1
    assert "There is no batch in" in err
    assert "`/batch-implement FILE`" in err
    assert ("error" in json.loads(out)) if as_json else out == ""


def test_without_a_batch_there_is_no_state_to_validate(typed):
    status, _, err = typed("validate")
    assert (status, "There is no batch in" in err) == (1, True)


def test_a_batch_that_stands_in_the_way_is_refused_with_the_three_ways_on(running, typed):
    status, _, err = typed("create", "features.txt")
    assert status == 1
    assert all(way in err for way in ("--resume", "abort", "--replace"))
    assert typed("create", "features.txt", "--replace")[0] == 0


def test_outside_of_git_a_batch_is_refused(typed, tmp_path, monkeypatch):
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain/features.txt").write_text(LISTING)
    monkeypatch.chdir(tmp_path / "plain")
    status, _, err = typed("create", "features.txt")
    assert (status, "is not a git repository" in err) == (1, True)


def test_changed_tracked_files_are_refused_and_named(listed, typed):
    (listed / "README.md").write_text("changed")
    status, _, err = typed("create", "features.txt")
    assert (status, "README.md" in err, "git stash" in err) == (1, True, True)


@pytest.mark.parametrize("words", [["status"], ["start"], ["pause"], ["create", "features.txt"]], ids=" ".join)
def test_a_state_that_cannot_be_used_is_status_3_and_stays(running, typed, words):
    remove_backups(running)
    (running / ".claude/batch_state.json").write_text("{")
    status, out, err = typed(*words, "--json")
    assert (status, json.loads(out)["error"]["exit_code"]) == (3, 3)
    assert "was left as it is" in err
    assert (running / ".claude/batch_state.json").read_text() == "{"


def test_it_can_be_replaced_all_the_same(running, typed):
    remove_backups(running)
    (running / ".claude/batch_state.json").write_text("{")
    assert typed("create", "features.txt", "--replace")[0] == 0
    assert answered(typed("status", "--json"))["counts"]["total"] == 3


def test_a_verify_command_that_still_runs_is_status_4(running, typed, monkeypatch):
    def still_running(*arguments, **options):
        raise verify_command.StillRunning("call again", "verify-running")

    monkeypatch.setattr(feature_commands, "done", still_running)
    status, out, err = typed("done", "--json")
    assert (status, json.loads(out)["error"]["exit_code"], err) == (
        4, 4, "batchctl: call again\nMore: batchctl help verify-running\n",
    )  # fmt: skip


def test_what_the_system_does_not_allow_is_status_3_and_no_traceback(running, typed, monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device", "/some/file")

    monkeypatch.setattr(feature_commands, "phase", full)
    status, out, err = typed("phase", "plan", "--json")
    assert (status, json.loads(out)["error"]["exit_code"]) == (3, 3)
    assert "No space left on device: '/some/file'" in err


def test_a_working_directory_that_is_gone_is_status_3(typed, tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    status, _, err = typed("status")
    assert (status, "No such file or directory" in err) == (3, True)


def test_an_interrupted_command_is_status_130(running, typed, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(feature_commands, "done", interrupted)
    assert typed("done")[0] == 130


# -- the whole way, as a person at a terminal --------------------------------------------------------------------------


def test_a_batch_from_its_creation_to_its_end(running, typed):
    assert typed("status")[1].splitlines()[0].endswith("in progress, 0 of 3 done, 0 failed, 0 skipped")
    for number in (1, 2):
        assert f"Feature {number} of 3, attempt 1" in typed("start")[1]
        assert typed("phase", "implement") == (0, f"Feature {number}: implement.\n", "")
        made = commit(running, **{f"f{number}": "x"})
        assert f"Feature {number} of 3 is done (commit {made[:12]})" in typed("done")[1]
    typed("start")
    assert "is given up on" in typed("fail", "--reason", "no API", "--permanent")[1]
    shown = answered(typed("status", "--json"))
    assert (shown["status"], shown["counts"]["done"], shown["next"]) == ("completed", 2, None)
    assert [feature["status"] for feature in shown["features"]] == ["done", "done", "failed"]
    assert git(running, "status", "--porcelain") == ""


def test_the_answer_of_fail_offers_to_give_up_and_the_same_with_permanent_does(running, typed):
    typed("start")
    out = typed("fail", "--reason", "no account")[1]
    assert "Feature 1 of 3 is to be tried again (1 attempt used)." in out
    assert "If another attempt cannot help, run the same now with `--permanent`" in out
    assert "Feature 1 of 3 is given up on." in typed("fail", "--reason", "no account", "--permanent")[1]
    assert state_on_disk(running)["retry_attempts"] == {"0": 1}
    assert "Feature 2 of 3, attempt 1" in typed("start")[1]
    status, _, err = typed("done")
    assert status == 1 and "is given up" not in err


def test_starting_twice_shows_the_same_feature_and_changes_nothing(running, typed):
    first = typed("start")[1]
    revision = state_on_disk(running)["revision"]
    assert typed("start")[1] == first
    assert typed("brief")[1] == first
    assert state_on_disk(running)["revision"] == revision


def test_leftovers_of_a_failed_attempt_are_in_a_snapshot(running, typed):
    (running / "mine.txt").write_text("kept")
    typed("start")
    (running / "left.txt").write_text("x")
    out = typed("fail", "--reason", "no")[1]
    ref = f"refs/batch/{state_on_disk(running)['batch_id']}/1.1"
    assert f"Its uncommitted work is in `{ref}`: `git cherry-pick -n -m 1 {ref}` brings it back." in out
    assert git(running, "show", f"{ref}:left.txt") == "x" and git(running, "stash", "list") == ""
    assert not (running / "left.txt").exists()
    for _ in range(2):  # the other features come first
        typed("start")
        typed("fail", "--reason", "no", "--permanent")
    assert f"Its uncommitted work is in `{ref}`: `git cherry-pick" in typed("start")[1]


def test_the_commands_of_the_user_do_what_they_say(running, typed):
    assert "Feature 2 is skipped." in typed("skip", "2", "--reason", "later")[1]
    assert "Pending again: feature 2." in typed("retry", "2")[1]
    (running / "more.txt").write_text("four\n")
    assert "1 feature added" in typed("add", "more.txt")[1]
    assert "is paused" in typed("pause", "--reason", "lunch")[1]
    assert "lunch" in typed("start")[2]
    assert typed("resume")[0] == 0
    batch_id = state_on_disk(running)["batch_id"]
    assert typed("resume", batch_id)[0] == 0
    status, _, err = typed("resume", "another")
    assert (status, "is not known here" in err, batch_id in err) == (1, True, True)
    assert "is aborted and archived in" in typed("abort")[1]
    assert (running / f".git/batch-implement/archive/{batch_id}.json").exists()
    assert typed("status")[0] == 1


def test_the_next_feature_is_told_as_text_and_as_data(running, typed):
    assert "Feature 1 of 3 is next" in typed("next")[1]
    assert answered(typed("next", "--json"))["feature"] == {"number": 1, "text": "one", "status": "pending"}


def test_a_user_gets_the_next_step_and_never_the_instructions_for_the_model(running, typed):
    made = [typed("next")[1], typed("brief")[1], typed("status")[1], typed("next", "--json")[1]]
    assert all(
        "No process works on the batch. Resume it with `/batch-implement --resume` in Claude Code." in out
        for out in made
    )
    typed("start")
    made += [typed("fail", "--reason", "no line")[1], typed("next")[1]]
    typed("start")
    commit(running, f="x")
    made += [typed("done")[1], typed("pause")[1], typed("next")[1], typed("resume")[1]]
    assert "is done (commit" in made[6] and "Feature 3 of 3 is next. No process" in made[6]
    assert not [out for out in made if "Skill" in out or "Your part ends" in out or "tell the person" in out]


def test_a_batch_without_a_verify_command_says_so_when_it_is_created(listed, typed):
    message = "The batch has no verify command: only a commit is required."
    assert message in typed("create", "features.txt")[1]
    assert message not in typed("create", "features.txt", "--verify", "true", "--replace")[1]


def test_what_is_skipped_and_brought_back_is_named_by_its_numbers(listed, typed):
    (listed / "features.txt").write_text("one\ntwo (after: 1)\nthree (after: 2)\nfour\nfive (after: 4)\n")
    git(listed, "commit", "-qam", "Say what needs what")
    typed("create", "features.txt")
    assert "Feature 1 is skipped, and with it features 2, 3, which need it." in typed("skip", "1")[1]
    assert "Feature 4 is skipped, and with it feature 5, which needs it." in typed("skip", "4")[1]
    assert "Pending again: features 1, 2, 3. No process works on the batch. Resume it with" in typed("retry", "1")[1]


def test_a_second_pause_says_that_the_first_holds(running, typed):
    assert "is paused. Resume" in typed("pause", "--reason", "lunch.")[1]
    assert "is paused already: lunch. Resume" in typed("pause", "--reason", "tea")[1]
    typed("skip", "2")
    assert "Pending again: feature 2. Batch" in typed("retry", "2")[1]


def test_a_dry_run_says_what_would_refuse_the_start(listed, typed):
    assert typed("create", "features.txt", "--dry-run")[2] == ""
    (listed / "README.md").write_text("changed")
    status, out, err = typed("create", "features.txt", "--dry-run")
    assert (status, "3 features would be done" in out) == (1, True)
    assert err.startswith("Cannot start now: Tracked files are modified or staged: README.md.")
    git(listed, "checkout", "-q", "README.md")
    typed("create", "features.txt")
    status, _, err = typed("create", "features.txt", "--dry-run")
    assert (status, "Cannot start now: Batch" in err) == (1, True)
    assert typed("create", "features.txt", "--dry-run", "--replace")[::2] == (0, "")


def test_a_dry_run_shows_the_plan_and_writes_nothing(listed, typed):
    _, out, _ = typed("create", "features.txt", "--dry-run", "--verify", "make test")
    assert "3 features would be done" in out
    assert "`make test` must pass" in out
    assert not (listed / ".git/batch-implement").exists()


def test_the_options_of_a_batch_are_its_policy(listed, typed):
    words = ["--verify", "make test", "--verify-timeout", "9", "--review", "--max-retries", "0", "--mode", "direct"]
    typed("create", "features.txt", *words, "--unattended")
    state = state_on_disk(listed)
    asked = {name: state["policy"][name] for name in ("verify", "verify_timeout_s", "max_retries", "unattended")}
    assert asked == {"verify": "make test", "verify_timeout_s": 9, "max_retries": 0, "unattended": True}
    assert (state["policy"]["evidence"], state["workflow_mode"]) == (["commit", "verify", "review"], "direct")


def test_features_come_from_standard_input_too(listed, typed, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a\nb\n")))
    assert typed("create", "-")[0] == 0
    assert state_on_disk(listed)["features"] == ["a", "b"]


def test_a_batch_that_was_withdrawn_is_told_with_where_it_lies(running, typed):
    os.unlink(running / ".claude/batch_state.json")
    status, _, err = typed("status")
    assert (status, "counts as withdrawn" in err, "archive" in err) == (1, True, True)


def test_a_repair_is_reported_by_any_command(running, typed):
    (running / ".claude/batch_state.json").write_text("{")
    status, _, err = typed("start")
    assert (status, "Revision 1 was put back" in err) == (0, True)


# -- the model's own ---------------------------------------------------------------------------------------------------


@pytest.fixture
def by_model(running, typed, monkeypatch):
    """The same, run by the model in the session that holds the batch: this process's own parent."""
    lease = owner("s-1", os.getppid())
    Store(Project(str(running))).update(lambda state: {**state, "owner": lease})
    monkeypatch.setenv("CLAUDECODE", "1")
    monkeypatch.setenv("CLAUDE_CODE_SESSION_ID", "s-1")
    monkeypatch.setenv("CLAUDE_PID", str(os.getppid()))
    return typed


@pytest.mark.parametrize("command", sorted(set(authorization.USER_COMMANDS) & set(COMMANDS)))
def test_the_model_is_refused_a_command_of_the_user(by_model, running, command):
    words = {"create": ["features.txt", "--replace"], "add": ["features.txt"], "skip": ["1"]}.get(command, [])
    before = state_on_disk(running)
    status, _, err = by_model(command, *words)
    assert (status, "is for the user, not for the model" in err) == (1, True)
    assert state_on_disk(running) == before


def test_the_log_names_the_feature_that_done_was_refused_for(running, typed):
    assert typed("done")[0] == 1
    typed("start")
    assert typed("done")[0] == 1
    first, second = [line for line in typed("log")[1].splitlines() if "`batchctl done` refused" in line]
    assert "feature" not in first.split("`batchctl done`")[0]
    assert "  feature 1    `batchctl done` refused" in second


def test_a_reason_is_whole_in_the_log(running, typed):
    reason = "it needs a thing. " * 100 + "END"
    typed("start")
    typed("fail", "--reason", reason, "--permanent")
    assert len([line for line in typed("log")[1].splitlines() if "thing. END" in line]) == 2


def test_next_tells_a_worker_and_a_coordinator_what_each_does(by_model, running):
    store = Store(Project(str(running)))
    coordinator = "Call the Skill tool"
    by_model("start")
    assert coordinator in by_model("next")[1]  # no worker is at work: the conversation asks
    store.update(lambda state: leases.begin_worker_call(leases.record_prompt(state, "p"), "toolu_1", "p"))
    told = by_model("next")[1]
    assert "Feature 1 of 3 is still open" in told and coordinator not in told
    by_model("fail", "--reason", "no")
    for words in (["next"], ["brief"], ["done"]):
        told = "".join(map(str, by_model(*words)[1:]))
        assert "Your part ends here" in told and coordinator not in told and "/auto-implement" not in told
    store.update(leases.end_worker_call)
    assert coordinator in by_model("next")[1]


def test_the_model_works_on_its_batch_and_another_session_does_not(by_model, running, monkeypatch):
    assert by_model("start")[0] == 0
    assert by_model("decide", "Which port?", "8080")[1] == "Recorded; `batchctl log` shows it. Go on.\n"
    monkeypatch.setenv("CLAUDE_CODE_SESSION_ID", "s-2")
    monkeypatch.setenv("CLAUDE_PID", str(os.getpid()))
    status, _, err = by_model("phase", "plan")
    assert (status, "session s-1" in err) == (1, True)
    assert by_model("status")[0] == 0


@pytest.mark.parametrize(
    "words", [["fail", "--reason", " "], ["done", "--no-change", ""], ["decide", "", "a"], ["decide", "q", " \n"]]
)
def test_an_empty_reason_is_status_2(by_model, words):
    by_model("start")
    assert by_model(*words)[0] == 2


# -- hostile words -----------------------------------------------------------------------------------------------------

HOSTILE = [
    "", " ", "\n", "\t", "$(touch pwned)", "`touch pwned`", "; touch pwned", "'", '"', "--", "-", "-x", "--json=1",
    "%s%n", "{0.__class__}", "../../etc/passwd", "/dev/null", "/", "*", "é😀", "\udcff\udcfe", "\x1b[2J", "x" * 50_000,
    "1\n2", "\u202egnp.exe", "NaN", "1e999", "\uff11",
]  # fmt: skip
SHAPES = [
    ["{}"], ["status", "{}"], ["phase", "{}"], ["fail", "--reason", "{}"], ["done", "--no-change", "{}"],
    ["done", "--wait", "{}"], ["decide", "{}", "{}"], ["create", "{}"], ["add", "{}"], ["skip", "{}"],
    ["create", "features.txt", "--replace", "--verify", "{}"], ["skip", "1", "--reason", "{}"], ["retry", "{}"],
    ["pause", "--reason", "{}"], ["resume", "{}"], ["validate", "{}"], ["convert", "{}"], ["schema", "{}"],
    ["create", "features.txt", "--dry-run", "--mode", "{}"],
]  # fmt: skip


@pytest.mark.some(4)
@pytest.mark.parametrize("shape", SHAPES, ids=" ".join)
def test_no_words_whatever_end_in_a_traceback_or_run_anything(running, typed, shape):
    typed("start")
    for word in HOSTILE:
        status, _, _ = typed(*[part.replace("{}", word) for part in shape])
        assert status in (0, 1, 2, 3), (shape, word)
    left = running / ".claude/batch_state.json"
    assert not left.exists() or serialization.parse_valid_state(left.read_bytes())[1] == []
    assert not list(running.rglob("pwned"))


@pytest.mark.some(2)
@pytest.mark.parametrize("word", ["\udcff", "é😀", "$(touch pwned)", "a'b\"c", "\x1b[2J"])
def test_hostile_words_go_through_the_real_command_as_data(running, word, typed):
    typed("start")
    done = run_program(BATCHCTL, "fail", "--reason", word, "--json", cwd=running)
    assert (done.returncode, done.stderr) == (0, "")
    json.loads(done.stdout)
    again = run_program(BATCHCTL, "status", cwd=running)
    assert (again.returncode, again.stderr) == (0, "")


# -- the command itself ------------------------------------------------------------------------------------------------


def test_the_command_finds_its_library_through_links_and_from_anywhere(tmp_path):
    (tmp_path / "one").symlink_to(BATCHCTL)
    (tmp_path / "folder with blanks").mkdir()
    (tmp_path / "folder with blanks" / "batchctl").symlink_to("../one")
    for command in (BATCHCTL, str(tmp_path / "folder with blanks" / "batchctl")):
        assert run_program(command, "--version", cwd="/").stdout.startswith("batchctl ")
    result = run_program("sh", "-c", "cd bin && sh batchctl --version", cwd=ROOT)
    assert result.stdout.startswith("batchctl ")


def test_the_command_takes_the_interpreter_that_the_hooks_remembered(tmp_path):
    spy = tmp_path / "spy"
    spy.write_text(f'#!/bin/sh\necho spied >&2\nexec {sys.executable} "$@"\n')
    spy.chmod(0o755)
    (tmp_path / "python").write_text(f"{spy}\n")
    with_it = run_program(BATCHCTL, "--version", cwd=tmp_path, BATCH_IMPLEMENT_DATA=str(tmp_path))
    assert with_it.stderr == "spied\n"
    (tmp_path / "python").write_text("/gone/python\n")
    stale = run_program(BATCHCTL, "--version", cwd=tmp_path, BATCH_IMPLEMENT_DATA=str(tmp_path))
    assert (stale.returncode, stale.stderr) == (0, "")


def test_without_any_python_the_command_says_so(tmp_path):
    for name in ("sh", "readlink"):
        (tmp_path / name).symlink_to(f"/bin/{name}")
    done = run_program(BATCHCTL, "status", cwd=tmp_path, PATH=str(tmp_path))
    assert done.returncode == 3
    assert "Install Python 3.9 or newer" in done.stderr


def test_a_reader_that_goes_away_is_no_error(running):
    many = "".join(f"- [ ] Feature {number}: {'x' * 70}\n" for number in range(5000))
    (running / "many.md").write_text(many)
    created = run_program(BATCHCTL, "create", "many.md", "--replace", cwd=running)
    assert "has 5,000 features" in created.stdout, created.stderr
    shown = subprocess.Popen(
        [BATCHCTL, "status", "--json"], cwd=running, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert shown.stdout.read(1) == b"{"
    shown.stdout.close()
    assert shown.stderr.read() == b""
    assert shown.wait() == 141  # as a program that SIGPIPE ends


# Every kind of output: the result, an error as JSON, and what argparse prints.
PRINTING = [
    ["status"], ["status", "--json"], ["create", "features.txt", "--replace"], ["log"], ["next"], ["doctor"],
    ["run", "--resume", "--dry-run"], ["report", "--format", "html"], ["schema"], ["pause"], ["--help"], ["--version"],
    ["run", "--help"], ["help", "usage"], ["abort"],
]  # fmt: skip
FULL_PATH = "/dev/full"
CONTROLS = "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"


def run_through_shell(redirection, words, folder):
    command = ["/bin/sh", "-c", f'exec "$0" "$@" {redirection}', BATCHCTL, *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("words", PRINTING, ids=" ".join)
@pytest.mark.skipif(not os.path.exists(FULL_PATH), reason="this system has no /dev/full")
def test_output_that_cannot_be_written_is_one_line_and_a_failure(running, words):
    result = run_through_shell(f">{FULL_PATH}", words, running)
    cause = "standard output cannot be written: No space left on device."
    assert result.stderr.startswith(f"batchctl: error: {cause}"), result.stderr
    assert (len(result.stderr.splitlines()), result.returncode in (1, 3)) == (1, True)


@pytest.mark.parametrize("words", PRINTING[:3] + PRINTING[10:13], ids=" ".join)
def test_without_a_standard_output_a_command_does_its_work_silently(running, words):
    result = run_through_shell(">&-", words, running)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("words", PRINTING[:3] + PRINTING[10:13], ids=" ".join)
def test_a_reader_that_is_gone_ends_a_command_quietly(running, words):
    reading, writing = os.pipe()
    os.close(reading)
    result = subprocess.run([BATCHCTL, *words], cwd=running, stdout=writing, stderr=subprocess.PIPE, timeout=60)
    os.close(writing)
    assert (result.returncode, result.stderr) == (141, b"")


@pytest.mark.parametrize("redirection", [">&-", ">&- 2>&- <&-", f">{FULL_PATH} 2>{FULL_PATH}"])
def test_what_a_command_did_stays_done_when_its_output_is_lost(running, typed, redirection):
    if FULL_PATH in redirection and not os.path.exists(FULL_PATH):
        pytest.skip("this system has no /dev/full")
    result = run_through_shell(redirection, ["pause", "--reason", "lunch"], running)
    assert (result.returncode, result.stderr) == (3 if FULL_PATH in redirection else 0, "")
    assert answered(typed("status", "--json"))["pause"]["reason"] == "lunch"


def test_an_error_of_the_command_keeps_its_status_when_the_output_is_full(running):
    if not os.path.exists(FULL_PATH):
        pytest.skip("this system has no /dev/full")
    result = run_through_shell(f">{FULL_PATH}", ["skip", "9", "--json"], running)
    assert result.returncode == 1
    assert "there is no feature 9" in result.stderr.lower()


def test_no_text_of_others_reaches_the_terminal_with_control_characters(repository):
    hostile = "\x1b[2J\u202e\x9b31m\x07"
    name = f"list{hostile}.txt"
    (repository / name).write_text(f"one {hostile}\n")
    (repository / f"{name}.yaml").write_text("features: [1")
    git(repository, "checkout", "-qb", "b\u202eranch\x9b")
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "List")
    commands = [["create", name], ["create", f"gone{hostile}"], ["status"], ["status", "--json"], ["report"]]
    commands += [["skip", "1", "--reason", hostile], ["log"], [hostile], ["add", f"{name}.yaml"]]
    commands += [["validate", f"{name}.yaml", "--format", form] for form in ("text", "github", "junit", "json")]
    for words in commands:
        result = run_program(BATCHCTL, *words, cwd=repository)
        shown = result.stdout + result.stderr
        assert not re.search(CONTROLS, shown), words


def test_the_same_commands_answer_as_text_for_a_slash_command(running):
    context = CommandContext(Project(str(running)), authorization.Caller("s-1", 1, is_user=True))
    assert "0 of 3 done" in batchctl.run_command(["status"], context, str(running)).text
    with pytest.raises(UsageError):
        batchctl.run_command(["nonsense"], context, str(running))
