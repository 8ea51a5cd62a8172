"""Every error names a topic, every topic has a section, and a person is told which one it is."""

from __future__ import annotations

import ast
import collections
import functools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from batch_implement.cli import batchctl, help_topics
from batch_implement.core import errors
from batch_implement.hooks import slash_commands

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = REPOSITORY / "docs" / "troubleshooting.md"
# What a person sees without an error: behaviour, notes of the store, tables of several verdicts.
SYMPTOMS_ONLY = {
    "second-window", "feature-repeats", "edit-adopted", "batch-withdrawn", "sidecar-rebuilt", "quarantine",
    "copy-not-written", "goes-on", "blocked-by-hook", "denied", "hooks-silent", "hook-trouble", "doctor", "run-waits",
    "validate-errors",
}  # fmt: skip
FIXED = {
    "GhError": "github-cli",
    "RemoteError": "git-trouble",
    "SetupFailed": "setup-failed",
    "DependencyError": "feature-order",
}  # the topic is named in __init__
BASES = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)}


@functools.cache
def parsed() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted((REPOSITORY / "lib").rglob("*.py"))}


def name_of(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def kinds(modules: dict[Path, ast.Module]) -> set[str]:
    """The names of BatchError and all that derive from it, directly or not."""
    known = set(BASES)
    classes = [node for tree in modules.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    while True:
        more = {node.name for node in classes if known & {name_of(base) for base in node.bases}} - known
        if not more:
            return known
        known |= more


def topics_named(modules: dict[Path, ast.Module]) -> Iterator[tuple[str, str | None]]:
    """The place of each error that is made, and the topic that it names; None where it is no literal."""
    errors_known = kinds(modules) - set(FIXED)
    for path, tree in modules.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and name_of(node.func) in errors_known:
                given = node.args[1] if len(node.args) > 1 else None
                literal = isinstance(given, ast.Constant) and isinstance(given.value, str)
                yield f"{path.name}:{node.lineno}", given.value if literal else None


def headings() -> list[str]:
    return re.findall(r"^### (.*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


def test_every_error_that_is_made_names_a_topic() -> None:
    named = list(topics_named(parsed()))
    assert len(named) > 200
    assert [place for place, topic in named if topic is None] == []


def test_an_error_without_a_topic_is_noticed() -> None:
    source = "class Late(RefusedError): pass\nraise Late('too late')\n"
    source += "raise errors.RefusedError('x', topic)\nLate('x', 'usage')"
    assert [topic for _, topic in topics_named({Path("m.py"): ast.parse(source)})] == [None, None, "usage"]


def test_each_topic_has_one_section_and_each_section_a_topic_or_a_symptom() -> None:
    named = {topic for _, topic in topics_named(parsed())} | set(FIXED.values())
    assert not named & SYMPTOMS_ONLY
    assert collections.Counter(headings()) == collections.Counter(named | SYMPTOMS_ONLY)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", topic) for topic in headings())


def test_a_section_says_why_and_what_to_do_and_the_table_leads_to_it() -> None:
    table = PAGE.read_text(encoding="utf-8").partition("\n## ")[0]
    for topic in headings():
        text = help_topics.read_topic(topic)
        assert "\nWhy: " in text and "\nWhat to do" in text, topic
        assert f"(#{topic})" in table, topic


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    for name in ("CLAUDECODE", "CLAUDE_CODE_SESSION_ID", "CLAUDE_PROJECT_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BATCH_IMPLEMENT_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        status = batchctl.main(words)
        return status, *capsys.readouterr()

    return run


def test_a_person_is_told_the_topic_and_the_model_is_not(typed, monkeypatch: pytest.MonkeyPatch) -> None:
    status, _, said = typed("status")
    assert (status, said.splitlines()[1:]) == (1, ["More: batchctl help no-batch"])
    monkeypatch.setenv("CLAUDECODE", "1")
    assert typed("status")[2] == said.splitlines()[0] + "\n"
    assert '"topic": "no-batch"' in typed("status", "--json")[1]


def test_a_slash_commands_refusal_names_the_topic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from batch_implement.base.project_paths import Project
    from batch_implement.hooks.dispatch import HookEvent

    monkeypatch.delenv("CLAUDE_CODE_SESSION_ID", raising=False)
    raw = b'{"command_name": "batch-implement:batchctl", "command_args": "pause", "session_id": "s"}'
    answer = slash_commands.handle_prompt_expansion(
        HookEvent("UserPromptExpansion", "", raw, Project(str(tmp_path)), None)
    )
    assert answer and answer["reason"].endswith("\nMore: /batchctl help no-batch")


def test_help_prints_a_topics_section_from_the_repository(tmp_path: Path) -> None:
    command = [sys.executable, str(REPOSITORY / "lib" / "batchctl.py"), "help", "lock-held"]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True).stdout
    assert said == help_topics.read_topic("lock-held") + "\n"
    assert said.startswith("### lock-held\n") and "###" not in said[3:]


def test_help_about_a_word_that_is_no_topic_names_what_was_meant(typed) -> None:
    status, _, said = typed("help", "lock-hold")
    assert status == 2 and "Did you mean `lock-held`?" in said
    assert "Did you mean `create`?" in typed("help", "creat")[2]
