"""Every command line that a page shows is accounted for: run here, run by another test, or named with why it is not.

`HERE` is run by this file, each command in a scratch project of its own, after the lines that lead to a batch in which
it makes sense. `ELSEWHERE` names the test that runs it. `NOT_RUN` says why nothing does, and what is looked at instead.
A command in none of them fails the first test; put a new one into `HERE` when you can.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import document_commands
import pages
import pytest
from batch_implement.cli import arguments, batchctl
from batches import git
from gh_stand_in import URL, StandIn
from pages import PAGES, REPOSITORY

BEGIN = "batchctl create features.txt --verify 'make test'"
OPEN = (BEGIN, "batchctl start")
WORK = (*OPEN, "echo done > work.txt && git add work.txt && git commit -qm 'Do the work'")
ONE = "echo 'feature 1' > features.txt && git commit -qam 'One will do'"
OVER = (ONE, BEGIN, "batchctl skip 1")
OF_ISSUES = ("batchctl create --issues 72 --comment --close", "batchctl skip 1")
# Each command with what is typed before it.
HERE: dict[str, tuple[str, ...]] = {
    "batchctl create features.txt --verify 'make test'": (),
    "batchctl create --issues 72 73 '#74' --verify 'make test'": (),
    "batchctl create --label batch --comment --close": (),
    "batchctl run features.txt --verify 'make test' --dry-run": (),
    "batchctl run features.txt --verify 'make test'": (ONE,),
    "batchctl run features.txt --verify 'make test' --jobs 2": (ONE,),
    """batchctl run features.txt --notify 'printf "%s\\n" "$BATCH_SUMMARY" | mail -s "batch: $BATCH_EVENT" me'""": (
        ONE,
    ),
    "batchctl add more.txt": (BEGIN,),
    'batchctl skip 3 --reason "not wanted any more"': (BEGIN,),
    "batchctl retry 2 5": (BEGIN, "batchctl skip 2", "batchctl skip 5"),
    "batchctl pause": (BEGIN,),
    "batchctl resume": (BEGIN, "batchctl pause"),
    "batchctl abort": (BEGIN,),
    "batchctl issues": OF_ISSUES,
    "batchctl clean --merged": (),
    "batchctl status --watch": OVER,
    "batchctl status --json": (BEGIN,),
    "batchctl statusline": (BEGIN,),
    "batchctl next": (BEGIN,),
    "batchctl brief": OPEN,
    "batchctl log --feature 3": (BEGIN, "batchctl skip 3"),
    "batchctl report": OVER,
    "batchctl report --format html --output ../report.html": OVER,
    "batchctl validate .claude/batch_state.json": (BEGIN,),
    "batchctl validate features.txt .claude/batch_state.json": (BEGIN,),
    "batchctl convert features.txt --output features.yaml": (),
    "batchctl schema": (),
    "batchctl schema batch_state": (),
    "batchctl doctor": (),
    "batchctl start": (BEGIN,),
    "batchctl phase implement": OPEN,
    "batchctl done": WORK,
    'batchctl fail --reason "the API it needs does not exist"': OPEN,
    'batchctl decide "Which port?" "8080, as in the README"': OPEN,
    "batchctl help": (),
    "batchctl help create": (),
    "batchctl --version": (),
    "batchctl create features.txt --dry-run": (),
    "batchctl create features.txt --replace": (BEGIN,),
    "batchctl run features.txt --dry-run": (),
    'batchctl skip 3 --reason "too large"': (BEGIN,),
    "batchctl schema features": (),
    "batchctl validate features.yaml": ("echo '- feature 1' > features.yaml",),
    'git init && git add -A && git commit -m "Begin"': ("rm -rf .git",),
    "git remote add origin URL": ("git remote remove origin",),
    "git fetch && batchctl issues": (
        *OF_ISSUES,
        f'git config url."$PWD/.git".insteadOf {URL}.git',
    ),
    "python -c 'from batch_implement.base import project_paths; print(project_paths.plugin_root())'": (),
    'python3 todo.py add "buy milk"': (),
    "python3 todo.py list": ('python3 todo.py add "buy milk"',),
}
ALMOST_ANOTHER = {
    "batchctl run features.txt --verify 'make test'",
    "batchctl run features.txt --dry-run",
    "git fetch && batchctl issues",
    *(command for command in HERE if "--notify" in command),
}
# Of a page the commands that match, and the test that runs them.
ELSEWHERE = {
    (
        "README.md",
        r"batchctl (create .*unittest|skip|retry|next|pause|status|validate|abort)",
    ): "tests/docs/test_readme.py::test_the_session_at_a_terminal_is_as_shown",
    ("README.md", r"/plugin "): "tests/docs/test_install.py::test_the_install_lines_install_the_plugin",
    ("README.md", r"claude --plugin-dir "): "tests/docs/test_install.py::"
    "test_every_option_of_claude_that_is_shown_exists",
    ("README.md", r"make demo"): "tests/docs/test_demo.py::"
    "test_the_demo_completes_every_feature_with_evidence_and_a_commit",
    ("(README|docs/commands).md", r"/batch-implement "): "tests/client/test_batch.py::"
    "test_three_features_are_done_verified_and_committed_without_a_permission_asked",
    ("docs/commands.md", r"/auto-implement "): "tests/client/test_batch.py::"
    "test_a_typed_feature_without_a_batch_is_done_as_a_batch_of_one",
    ("docs/(commands|troubleshooting).md", r"/batchctl (status|pause)"): "tests/client/test_opening.py::"
    "test_verbs_that_inform_or_change_the_state_show_their_answer_and_cost_no_turn",
    ("docs/(install|troubleshooting).md", r"claude plugin "): "tests/client/test_installed.py::"
    "test_a_batch_that_one_version_began_is_ended_by_the_next",
    ("docs/start.md", r""): "tests/docs/test_start.py::"
    "test_the_commands_of_the_page_in_order_lead_to_a_batch_that_is_done",
    ("docs/migrating.md", r"batchctl |printf "): "tests/docs/test_migrating.py::"
    "test_the_sessions_are_as_shown_and_read_only",
    ("docs/(migrating|troubleshooting).md", r"/batch-implement --resume"): "tests/client/test_opening.py::"
    "test_resume_sets_a_paused_batch_going_again",
    ("docs/troubleshooting.md", r"batchctl run --resume$"): "tests/unit/runner/test_run.py::"
    "test_ctrl_c_twice_leaves_no_process_and_no_lock_and_resume_goes_on",
    ("docs/troubleshooting.md", r"git merge batch/"): "tests/client/test_overnight.py::"
    "test_what_a_run_began_goes_on_in_the_client_once_it_is_merged_and_the_other_way_round",
    ("docs/task-files.md", r"batchctl create "): "tests/docs/test_task_files.py::"
    "test_the_dry_run_of_the_list_of_each_tool_is_as_shown",
    ("docs/task-files.md", r"batchctl convert "): "tests/unit/commands/test_list_conversion.py::"
    "test_the_file_is_written_where_nothing_is",
    ("docs/validation.md", r"batchctl validate features.yaml"): "tests/docs/test_ci.py::"
    "test_the_session_that_is_shown_is_a_real_one",
}


def has_target(command: str) -> None:
    """`make` knows what to do for it."""
    subprocess.run(["make", "-n", *shlex.split(command)[1:]], cwd=REPOSITORY, check=True, capture_output=True)


def names_an_extra(command: str) -> None:
    """What is installed is this repository, with an extra that exists, if any."""
    package = re.search(r"batch-implement(?:\[(\w+)\])?['\"]?$", command)
    assert package
    text = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    assert package[1] is None or re.search(rf"^{package[1]} = \[", text, re.M)


def can_be_read(command: str) -> None:
    """The shell can read it; a batchctl in it has options that there are."""
    subprocess.run(["sh", "-n", "-c", command], check=True, capture_output=True)
    words = re.split(r"\bbatchctl(?:\.py)? ", command, maxsplit=1)
    assert len(words) == 1 or arguments.parse_command(shlex.split(words[1])).command


def names_a_program(command: str) -> None:
    """The script is there and has the options."""
    _, script, *words = shlex.split(command)
    text = (REPOSITORY / script).read_text(encoding="utf-8")
    assert all(f'"{word}"' in text for word in words if word.startswith("--"))


# Commands that match, why they are not run, and what is looked at instead.
NOT_RUN: dict[str, tuple[str, Callable[[str], None]]] = {
    r"make test$": ("it is what runs this", has_target),
    r"pipx? install ": ("it fetches from an index; test_wheel.py installs the wheel with pip", names_an_extra),
    r"pipx uninstall ": ("what it takes out was not installed by pipx here", can_be_read),
    r"(for host in|ssh|export DASK_)": ("it needs machines to log in to, or is for those", can_be_read),
    r".*batchctl(\.py)? run .* --cluster tls://": (
        "its scheduler is another machine; tests/cluster runs one here", can_be_read,
    ),
    r"batchctl run --resume --pr$": ("a run with --pr is tested from its beginning: test_run_command.py", can_be_read),
    r"gh (auth status|repo view)$": ("they ask GitHub; our gh knows only what batchctl asks it", can_be_read),
    r"while read -r feature; do\n  claude -p ": ("it is what others do, and asks a real model", can_be_read),
    r"\.venv/bin/python scripts/compare_speed\.py ": ("it measures for minutes", names_a_program),
}  # fmt: skip


def shown() -> Iterator[tuple[str, str]]:
    """Every command line of every page as (page, command)."""
    for page in PAGES:
        for command in pages.commands(page):
            yield pages.name(page), re.sub(r"\s+# .*$", "", command) if "\n" not in command else command


def accounts(page: str, command: str) -> list[object]:
    """The entries of the three tables that a command is in."""
    found: list[object] = [command] if command in HERE else []
    found += [key for key in ELSEWHERE if re.fullmatch(key[0], page) and re.match(key[1], command)]
    return found + [pattern for pattern in NOT_RUN if re.match(pattern, command)]


# -- blocks ------------------------------------------------------------------------------------------------------------


def test_every_command_line_of_every_page_is_accounted_for() -> None:
    assert [line for line in shown() if not accounts(*line)] == []


def test_nothing_is_accounted_for_that_no_page_shows() -> None:
    used = {account for line in shown() for account in accounts(*line)}
    assert {*HERE, *ELSEWHERE, *NOT_RUN} - used == set()


def test_a_command_that_no_test_knows_is_noticed() -> None:
    assert accounts("docs/new.md", "batchctl retry 7") == []
    assert accounts("docs/new.md", "make test-all") == []


@pytest.mark.parametrize("named", sorted(set(ELSEWHERE.values())))
def test_a_test_that_runs_a_command_elsewhere_is_there(named: str) -> None:
    file, _, function = named.partition("::")
    assert f"def {function}(" in (REPOSITORY / file).read_text(encoding="utf-8")


def test_what_is_not_run_could_be_as_far_as_can_be_seen_here() -> None:
    looked = [(pattern, command) for _, command in shown() for pattern in NOT_RUN if re.match(pattern, command)]
    for pattern, command in looked:
        NOT_RUN[pattern][1](command)
    assert {pattern for pattern, _ in looked} == set(NOT_RUN)


RESULT = '{"type": "result", "subtype": "success", "is_error": false, "num_turns": 1, "total_cost_usd": 0.01}'
# A client for `batchctl run`: it does the feature, as a worker would, and says the least that one says.
CLAUDE = """#!/bin/sh
case "$1 $2" in
"--version ") echo "2.1.330 (Claude Code)" ;;
"auth status") echo '{"loggedIn": true, "authMethod": "api_key"}' ;;
*)
  number=$(sed -n 's/^> feature \\([0-9]*\\).*/\\1/p' | head -1)
  { echo "$number" > "made-$number.txt" && git add . && git commit -qm "Make $number" && batchctl done; } >&2
  echo 'RESULT'
  ;;
esac
"""


class Person:
    """Somebody in a scratch project who types commands: lists of features, a `make test`, a GitHub, a client."""

    def __init__(self, project: Path, programs: Path) -> None:
        self.project, self.programs = project, programs
        (project / "features.txt").write_text("".join(f"feature {n}\n" for n in range(1, 6)), encoding="utf-8")
        (project / "more.txt").write_text("one more\n", encoding="utf-8")
        (project / "Makefile").write_text("test:\n\t@true\n", encoding="utf-8")
        shutil.copy(REPOSITORY / "examples" / "todo" / "todo.py", project)
        git(project, "remote", "add", "origin", f"{URL}.git")
        git(project, "add", "-A")
        git(project, "commit", "-qm", "List the features")
        programs.mkdir()
        (programs / "python").symlink_to(sys.executable)
        for name, text in (
            ("claude", CLAUDE.replace("RESULT", RESULT)),
            ("mail", f"#!/bin/sh\ncat > {programs}/mailed\n"),
        ):
            (programs / name).write_text(text, encoding="utf-8")
            (programs / name).chmod(0o755)

    def types(self, command: str) -> int:
        """Type it; the exit status, with what it said as pytest's output."""
        words = shlex.split(command)
        if words[0] == "batchctl" and words[1] != "run":
            with contextlib.redirect_stdout(io.StringIO()) as out:
                status = batchctl.main(words[1:])
            print(out.getvalue())
            return status
        done = subprocess.run(
            ["sh", "-c", command], cwd=self.project, check=False, text=True, capture_output=True, timeout=300
        )
        print(done.stdout, done.stderr)
        return done.returncode


@pytest.fixture
def person(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Person:
    """Somebody who is about to type."""
    github = StandIn(tmp_path / "github.json")
    github.on_path(monkeypatch)
    for number in (72, 73, 74):
        github.add(number, f"Mend {number}", labels=["batch"])
    monkeypatch.setenv(
        "PATH", os.pathsep.join([str(tmp_path / "programs"), str(REPOSITORY / "bin"), os.environ["PATH"]])
    )
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY / "lib"))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    monkeypatch.chdir(repository)
    return Person(repository, tmp_path / "programs")


def here() -> Iterator[object]:
    """The commands of HERE; what is almost another one of them is for `make long`."""
    for command in HERE:
        yield pytest.param(command, marks=pytest.mark.prove if command in ALMOST_ANOTHER else (), id=command[:60])


@pytest.mark.parametrize("command", list(here()))
def test_a_command_that_is_shown_does_what_it_should(person: Person, command: str) -> None:
    for before in HERE[command]:
        assert person.types(before) == 0
    assert person.types(command) == 0


def test_the_example_of_every_command_is_run_here() -> None:
    assert {document_commands.help_example(parser) for parser in document_commands.command_parsers().values()} <= set(
        HERE
    )
