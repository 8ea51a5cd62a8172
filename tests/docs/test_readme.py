"""The README's commands work as it shows them."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import document_commands
import pytest
from batch_implement.cli import arguments
from batch_implement.commands.authorization import USER_COMMANDS
from batch_implement.features import source_files

REPOSITORY = Path(__file__).resolve().parents[2]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def session() -> list[tuple[str, str]]:
    """The commands of the console blocks with what the README shows of their answers, in order."""
    parts = [part for block in blocks("console") for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]]
    return [(command, shown.rstrip("\n")) for command, _, shown in (part.partition("\n") for part in parts)]


def table(heading: str) -> list[list[str]]:
    """The cells of the table whose first column has this heading."""
    found = re.search(rf"^\| {heading} \|.*\n\| ---.*\n((?:\|.*\n)+)", README, re.MULTILINE)
    assert found, f"no table of {heading}s"
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in found.group(1).splitlines()]


def first_word(cell: str) -> str:
    return cell.strip("`").split()[0]


@pytest.fixture
def todo(tmp_path: Path) -> Path:
    """The example as a git repository of one commit."""
    project = tmp_path / "todo"
    shutil.copytree(REPOSITORY / "examples" / "todo", project)
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "start"]):
        subprocess.run(["git", *words], cwd=project, check=True)
    return project


def test_the_session_at_a_terminal_is_as_shown(todo: Path) -> None:
    environment = {**os.environ, "PATH": f"{REPOSITORY / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    assert len(session()) > 5
    for command, shown in session():
        done = subprocess.run(
            shlex.split(command), cwd=todo, env=environment, check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        pattern = ".*".join(map(re.escape, shown.split("...")))
        assert re.fullmatch(pattern, done.stdout.rstrip("\n"), re.DOTALL), f"{command} says:\n{done.stdout}"


def test_the_features_file_that_is_shown_can_be_read(tmp_path: Path) -> None:
    (shown,) = [block for block in blocks("text") if block.startswith("# features.txt")]
    (tmp_path / "features.txt").write_text(shown, encoding="utf-8")
    assert len(source_files.read_file(str(tmp_path / "features.txt")).features) == 2


def test_the_guide_of_runs_names_every_option_that_a_run_has_of_its_own() -> None:
    guide = (REPOSITORY / "docs" / "overnight.md").read_text(encoding="utf-8")
    parser = arguments.CommandParser(prog="run", add_help=False)
    arguments.add_run_options(parser)
    assert [name for name in parser._option_string_actions if f"{name}" not in guide] == []


def test_the_verb_table_names_only_verbs_and_all_that_a_person_steers_with() -> None:
    named = {first_word(word) for row in table("verb") for word in re.findall(r"`[^`]+`", row[0])}
    assert named <= set(document_commands.command_parsers())
    assert named >= set(USER_COMMANDS) - {"issues"}


def test_the_command_table_names_the_commands_that_there_are() -> None:
    named = {first_word(row[0]).lstrip("/") for row in table("command")}
    assert named == {path.stem for path in (REPOSITORY / "commands").glob("*.md")}


def test_the_permission_rule_that_is_shown_is_of_the_form_that_the_demo_uses() -> None:
    import json

    (shown,) = blocks("json")
    used = json.loads((REPOSITORY / "examples" / "todo" / ".claude" / "settings.json").read_text(encoding="utf-8"))
    assert json.loads(shown).keys() == used.keys()
    assert json.loads(shown)["permissions"].keys() == used["permissions"].keys()
