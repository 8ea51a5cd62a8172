"""The pages hold: links lead somewhere, tables are those of the code."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
from pathlib import Path

import document_commands
import document_state
import pages
import pytest
from batch_implement.commands.authorization import USER_COMMANDS
from pages import PAGES, REPOSITORY

# Whom a page may lead to; another is a decision, so it is named here first.
HOSTS = {
    "check-jsonschema.readthedocs.io", "code.claude.com", "distributed.dask.org", "ghuntley.com", "github.com",
    "jobqueue.dask.org", "keepachangelog.com", "kubernetes.dask.org", "paddo.dev", "pre-commit.com",
    "python-jsonschema.readthedocs.io", "semver.org", "spec.commonmark.org", "stevekinney.com", "www.rfc-editor.org",
}  # fmt: skip


def test_the_pages_are_all_that_the_repository_has() -> None:
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    corpora = [line for line in listed.stdout.splitlines() if line.startswith("tests/")]
    assert sorted(set(listed.stdout.splitlines()) - set(corpora) - set(map(pages.name, PAGES))) == []


def broken(page: Path, target: str) -> str:
    """What is wrong with a link of a page; empty when it leads somewhere."""
    if re.match(r"[a-z]+:", target):
        return outside(target)
    path, _, anchor = target.partition("#")
    linked = (page.parent / path).resolve() if path else page
    if REPOSITORY not in linked.parents or not linked.exists():
        return "there is no such file"
    return "" if not anchor or anchor in pages.anchors(linked) else "there is no such heading"


def outside(address: str) -> str:
    """What is wrong with an address in the world; that it answers is not looked at."""
    host = re.match(r"https://([a-z0-9.-]+)(/\S*)?$", address)
    if not host or address.endswith((".", ",", ":")):
        return "it is not of the form https://HOST/PATH"
    return "" if host[1] in HOSTS else "its host is not in HOSTS"


@pytest.mark.parametrize("page", PAGES, ids=pages.name)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    wrong = {target: broken(page, target) for target in pages.links(page)}
    assert {target: why for target, why in wrong.items() if why} == {}


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("docs/no.md", "no such file"), ("../..", "no such file"), ("#no-heading", "no such heading"),
        ("docs/state.md#no-heading", "no such heading"), ("http://pre-commit.com", "not of the form"),
        ("https://pre-commit.com/.", "not of the form"), ("https://example.invalid/", "not in HOSTS"),
    ],
)  # fmt: skip
def test_a_link_that_leads_nowhere_is_noticed(target: str, why: str) -> None:
    assert why in broken(REPOSITORY / "README.md", target)


def test_anchors_are_those_of_a_code_host(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A `b_c`: d, [e](f)\n## Twice\n## Twice\n```sh\n# no\n```\n[x](y)\n`[no](z)`\n", encoding="utf-8")
    assert pages.anchors(page) == {"a-b_c-d-e", "twice", "twice-1"}
    assert pages.links(page) == ["f", "y"]


def test_the_index_of_docs_has_every_page_once() -> None:
    index = [target for target in pages.links(REPOSITORY / "docs" / "README.md") if "/" not in target]
    assert sorted(index) == sorted({path.name for path in (REPOSITORY / "docs").glob("*.md")} - {"README.md"})


def test_the_sections_of_the_commands_page_are_those_of_parser_and_commands() -> None:
    text = document_commands.DOCUMENT.read_text(encoding="utf-8")
    assert document_commands.render_document(text) == text, "stale: run scripts/document_commands.py"


def test_every_command_of_the_plugin_has_a_section_and_every_command_one_group() -> None:
    assert set(document_commands.EXAMPLES) == {path.stem for path in (REPOSITORY / "commands").glob("*.md")}
    assert {*document_commands.command_parsers(), *document_commands.EXAMPLES} <= pages.anchors(
        document_commands.DOCUMENT
    )


def test_every_argument_says_what_it_means_and_what_it_is_without_being_given() -> None:
    for command, parser in document_commands.command_parsers().items():
        for action in parser._actions:
            assert action.help, f"{command}: {action.dest}"
            if action.default not in (None, False, argparse.SUPPRESS):
                assert f"({action.default})" in action.help, f"{command}: {action.dest}"


def test_the_tables_of_the_state_page_are_those_of_schema_and_migration() -> None:
    text = document_state.DOCUMENT.read_text(encoding="utf-8")
    assert document_state.render_document(text) == text, "stale: run scripts/document_state.py"


def test_every_top_level_field_has_a_row_in_the_state_page() -> None:
    fields = json.loads(document_state.SCHEMA.read_text(encoding="utf-8"))["properties"]
    rows = set(re.findall(r"^\| `([a-z_]+)` \|", document_state.DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE))
    assert rows >= set(fields)


def test_the_hooks_page_has_a_row_for_every_hook_and_no_other() -> None:
    declared = {
        (event, tool)
        for event, entries in json.loads((REPOSITORY / "hooks" / "hooks.json").read_text())["hooks"].items()
        for entry in entries
        for tool in matched(entry.get("matcher", "any"))
    }
    rows = re.findall(
        r"^\| (\w+(?:, \w+)*) \| ([^|]+) \|", (REPOSITORY / "docs" / "hooks.md").read_text("utf-8"), re.MULTILINE
    )
    described = {
        (event, tool) for events, tools in rows[1:] for event in events.split(", ") for tool in tools.split(", ")
    }
    assert described == declared


def matched(matcher: str) -> list[str]:
    """What a matcher lets through, as the page names it."""
    return ["our three commands"] if matcher.startswith("batch-implement:(") else matcher.split("|")


def test_the_security_page_names_the_persons_verbs_and_every_command_that_a_shell_runs() -> None:
    text = (REPOSITORY / "SECURITY.md").read_text(encoding="utf-8")
    listed = re.search(r"\*\*The person's verbs\.\*\* (.*?) are refused", text)
    assert listed and set(re.findall(r"`(\w+)`", listed[1])) == set(USER_COMMANDS)
    package = REPOSITORY / "lib" / "batch_implement"
    texts = {file.stem: file.read_text(encoding="utf-8") for file in package.rglob("*.py")}
    shells = {name for name, code in texts.items() if '["/bin/sh", "-c", ' in code}
    of_verify, of_notify, of_worker = {"subprocesses"}, {"notify"}, {"attempt"}
    assert shells == of_verify | of_notify | of_worker
    assert {name for name, code in texts.items() if " subprocesses.run_shell(" in code} == {"verify_command"}
    assert {name for name, code in texts.items() if " subprocesses.run_in_worktree(" in code} == {
        "attempt_verify",
        "merge_tips",
        "tree_setup",
        "verify_check",
    }
    assert all(f"`{option}`" in text for option in ("--notify", "--worker", "--setup"))
